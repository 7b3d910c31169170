"""``jdd distill`` from beginning to end, on a network of four channels and two classes of digits."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jdd import DistilledSet, augment
from jdd.evaluate import PROTOCOLS, dsa_protocol
from tests.cli.conftest import QUICK, TINY, Run, files, records

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


def test_a_run_directory_holds_everything(dc_run: Run):
    out, outcome = dc_run.path, dc_run.outcome
    config = json.loads((out / "config.json").read_text())
    configuration = config["configuration"]
    recipe = {
        "name": "dc",
        "ipc": 2,
        "objective": {"choice": "class_gradients", "distance": None, "strategy": None},
        "optimizer": {"choice": "sgd", "learning_rate": 0.1, "momentum": 0.5},
        "protocol": PROTOCOLS["dc"].to_json(),
        "synthetic": {"choice": "pixels"},
        "initial": {"choice": "from_noise"},
        "sampler": {"choice": "uniform", "n": 8},
        "augment": {"choice": "no_augmentation"},
        "networks": 3,
        "updates": 2,
        "pool": "S",
    }
    assert recipe.items() <= configuration["recipe"].items()
    motion = {"choice": "on_synthetic", "epochs": 1}
    assert motion.items() <= configuration["recipe"]["motion"].items()
    data = configuration["data"]
    assert (data["name"], data["classes"]) == ("digits", ["0", "1"])
    assert len(data["fingerprint"]) == 16
    network = {"architecture": "convnet", "width": 4, "depth": 1, "norm": "instance"}
    assert network.items() <= configuration["network"].items()
    plan = {"networks": 2, "every": 1, "epochs": 2, "norm": None, "random": True, "whole": "yes"}
    assert configuration["evaluation"] == plan and configuration["seed"] == 3
    assert config["device"]["platform"] and config["versions"]["jax"]
    assert config["command"] == " ".join(["jdd", *dc_run.arguments, "--out", str(out)])

    metrics = records(out / "metrics.jsonl")
    losses = [record for record in metrics if "loss" in record]
    assert [r["step"] for r in metrics if "accuracy" in r] == [2, 4, 6]
    assert losses[-1]["step"] == 6 and all(r["seconds"] > 0 for r in losses)

    distilled = DistilledSet.load(out / "set.safetensors")
    assert distilled.images.shape == (4, 8, 8, 1) and distilled.labels.tolist() == [0, 0, 1, 1]
    metadata = distilled.metadata
    assert (metadata.method, metadata.dataset, metadata.seed) == ("dc", "digits", 3)
    assert metadata.evaluation_protocol() == PROTOCOLS["dc"] and metadata.augmentation().is_none
    assert metadata.class_names == ("0", "1") and metadata.space == "normalised"
    assert metadata.configuration == configuration and metadata.results["step"] == 6

    result = json.loads((out / "result.json").read_text())
    names = ["distilled images", "random real images", "whole training set"]
    assert [score["images"] for score in result["scores"]] == names
    assert [len(score["accuracies"]) for score in result["scores"]] == [2, 2, 1]
    assert list(metadata.results) == ["step", *names]
    first = result["scores"][0]
    assert first["protocol"] == "dc, 2 epochs" and "3 epochs of SGD" in first["recipe"]
    assert first["mean"] == pytest.approx(np.mean(first["accuracies"]))
    assert result["updates"] == 6 and result["peak_memory_mb"]["host"] > 0
    assert result["num_floats"] == 4 * 64 and result["command"] == config["command"]
    assert result["network"] == result["eval_network"] == first["network"] == "ConvNet-1 (width 4)"
    for picture in ("grid.png", "curve.png"):
        Image.open(out / picture).verify()

    for word in (
        "digits: 2 classes",
        "ConvNet-1",
        "3 networks x 2 updates",
        "compiled in",
        "dc, 2 stored per class, pixels() from_noise(), no_augmentation()",
        "class_gradients(), uniform(8)",
        *names,
    ):
        assert word in outcome.out, word
    assert "update 6/6" in outcome.err and "loss" in outcome.err


def test_a_finished_run_is_not_run_again(dc_run: Run, cli, refused):
    before = files(dc_run.path)
    again = cli("distill", "dc", *TINY, "--out", dc_run.path)
    assert refused(again, "already exists", "--out")
    other = cli("distill", "dc", *TINY, "--out", dc_run.path, "--resume")
    assert refused(other, "ipc 2, not 1", "--ipc")
    done = cli(*dc_run.arguments, "--out", dc_run.path, "--resume")
    assert done.code == 0 and "is complete" in done.out and "whole training set" in done.out
    assert files(dc_run.path) == before


def test_damaged_metrics_of_a_finished_run_are_one_line(dc_run: Run, cli, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(dc_run.path, out)
    text = (out / "metrics.jsonl").read_text().replace('"protocol"', '"protocl"')
    (out / "metrics.jsonl").write_text(text)
    outcome = cli(*dc_run.arguments, "--out", out, "--resume")
    (line,) = outcome.err.splitlines()
    assert outcome.code == 1 and line.startswith("jdd: error: a score must have images, ")


def test_a_run_that_diverges_keeps_the_last_good_set(cli, out):
    # The loss of step 1 is fine; the images that it leaves are not.
    command = ["distill", "dc", *TINY, "--learning-rate", "1e38", "--out", out]
    outcome = cli(*command)
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    assert (
        last.startswith("jdd: error: the synthetic set is not finite at step ") and str(out) in last
    )
    distilled = DistilledSet.load(out / "set.safetensors")
    assert np.isfinite(distilled.images).all()
    results = distilled.metadata.results
    assert f"at step {results['diverged_at']}: the set of step {results['step']}," in last
    assert results["step"] < results["diverged_at"]
    assert all(np.isfinite(record["loss"]) for record in records(out / "metrics.jsonl"))
    # Another start leads there again, and leaves everything as it was.
    kept = (out / "set.safetensors").read_bytes()
    again = cli(*command, "--resume")
    assert again.code == 1 and again.err.splitlines()[-1] == last
    assert (out / "set.safetensors").read_bytes() == kept
    assert all(np.isfinite(record["loss"]) for record in records(out / "metrics.jsonl"))


@pytest.mark.slow
def test_dsa_stores_what_to_augment_with(cli, out):
    outcome = cli(
        *["distill", "dsa", *TINY, "--eval-every", 0, "--whole", "no", "--strategy", "crop"],
        *["--distance", "squared-error", "--over-classes", "2", "--out", out],
    )
    assert outcome.code == 0, outcome.err
    metadata = DistilledSet.load(out / "set.safetensors").metadata
    assert metadata.augmentation() == augment.dsa_augmentation("crop")
    assert metadata.evaluation_protocol() == dsa_protocol("crop")
    assert metadata.protocol["name"] == "dsa, crop"
    recipe = metadata.configuration["recipe"]
    assert recipe["initial"] == {"choice": "from_real", "repeat": False}
    assert recipe["objective"]["distance"] == {"choice": "squared_error"}
    assert recipe["over_classes"] == 2
    assert [r["step"] for r in records(out / "metrics.jsonl") if "accuracy" in r] == [3]
    assert "whole training set" not in outcome.out


@pytest.mark.slow
def test_another_network_can_be_distilled_on_and_evaluates_the_set(cli, refused, out):
    tiny = "--classes 0 1 --real-batch 8 --networks 1".split()
    command = ["distill", "dc", *tiny, *QUICK, "--out", out]
    outcome = cli(*command, "--model", "mlp")
    assert outcome.code == 0, outcome.err
    assert "MLP, " in outcome.out and "over networks: MLP." in outcome.out
    metadata = DistilledSet.load(out / "set.safetensors").metadata
    assert metadata.configuration["network"] == {"architecture": "mlp"}
    assert metadata.configuration["recipe"]["optimizer"]["learning_rate"] == 0.01
    assert refused(cli(*command, "--resume"), 'architecture "mlp", not "convnet"', "--model")
    again = cli("evaluate", out, "--networks", 1, "--eval-epochs", 1, "--baseline", "none")
    assert again.code == 0 and "over networks: MLP." in again.out


def save_npz(path, shape, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (20, *shape), dtype=np.uint8)
    labels = np.arange(20) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6])
    return f"npz:{path}"


SHORT = [*"--width 2 --depth 1 --real-batch 4 --networks 1".split(), *QUICK]


@pytest.mark.slow
def test_images_of_four_channels_are_distilled_drawn_and_evaluated(cli, out, tmp_path):
    data = save_npz(tmp_path / "rgba.npz", (8, 8, 4))
    outcome = cli("distill", "dc", *SHORT, "--data", data, "--norm", "batch", "--out", out)
    assert outcome.code == 0, outcome.err
    Image.open(out / "grid.png").verify()
    result = json.loads((out / "result.json").read_text())
    assert (result["network"], result["eval_network"]) == (
        "ConvNet-1 (width 2, norm batch)",
        "ConvNet-1 (width 2)",
    )
    assert {score["network"] for score in result["scores"]} == {"ConvNet-1 (width 2)"}
    assert "evaluation" in outcome.out and "over networks: ConvNet-1 (width 2)." in outcome.out
    # The set is evaluated as it was in its run; another norm of the network is another protocol.
    quick = ["--networks", "1", "--eval-epochs", "1", "--baseline", "none"]
    again = cli("evaluate", out, *quick)
    assert again.code == 0 and "norm batch" not in again.out and "dc, 1 epochs" in again.out
    other = cli("evaluate", out, *quick, "--norm", "batch")
    assert other.code == 0 and "norm batch" in other.out
    assert "dc-crop-noise, 1 epochs" in other.out


@pytest.mark.slow
def test_oblong_images_without_augmentation(cli, out, tmp_path):
    data = save_npz(tmp_path / "oblong.npz", (8, 6))
    outcome = cli("distill", "dsa", *SHORT, "--data", data, "--strategy", "", "--out", out)
    assert outcome.code == 0, outcome.err
    distilled = DistilledSet.load(out / "set.safetensors")
    assert distilled.image_shape == (8, 6, 1) and distilled.metadata.augmentation().is_none


@pytest.mark.slow
def test_more_images_per_class_than_the_rarest_class_has(cli, out, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    labels = np.array([0] * 7 + [1] * 2)
    file = tmp_path / "rare.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    command = ["distill", "dc", *SHORT, "--data", f"npz:{file}", "--ipc", 3, "--random", "yes"]
    outcome = cli(*command, "--out", out)  # from noise
    assert outcome.code == 0, outcome.err
    assert "random real images, repeated" in outcome.out
    again = cli(*command, "--initial", "from_real(repeat=True)", "--out", tmp_path / "repeated")
    assert again.code == 0, again.err
    assert DistilledSet.load(tmp_path / "repeated" / "set.safetensors").images.shape[0] == 6


WRONG = [
    (["--ipc", "0"], ["at least 1", "--ipc"]),
    (["--ipc", "1000"], ["(140), got 1000", "--ipc"]),
    (["--data", "digit"], ["did you mean 'digits'", "--data"]),
    (["--data", "npz:nowhere.npz"], ["nowhere.npz", "--data"]),
    (["--classes", "zero"], ["unknown class 'zero'", "--classes"]),
    (["--classes", "1"], ["at least 2 classes", "--classes"]),
    (["--networks", "0"], ["at least 1", "--networks"]),
    (["--updates", "-1"], ["at least 1", "--updates"]),
    (["--net-epochs", "-1"], ["at least 0", "--net-epochs"]),
    (["--learning-rate", "-0.1"], ["above 0", "--learning-rate"]),
    (["--learning-rate", "nan"], ["above 0", "--learning-rate"]),
    (["--momentum", "1"], ["below 1", "--momentum"]),
    (["--real-batch", "0"], ["at least 1", "--real-batch"]),
    (["--initial", "from_reel"], ["did you mean 'from_real'", "--initial"]),
    (["--initial", "from_k_center"], ["did you mean 'from_k_centre'", "--initial"]),
    (["--initial", "from_real(epochs=3)"], ["no argument 'epochs'", "--initial"]),
    (["--initial", "from_herding(0)"], ["epochs must be at least 1", "--initial"]),
    (["--strategy", "croop"], ["did you mean 'crop'", "--strategy"]),
    (["--distance", "cosine"], ["'cosine'", "'layerwise-cosine'", "--distance"]),
    (["--over-classes", "0"], ["at least 1", "--over-classes"]),
    (["--over-classes", "vamp"], ["'map', 'vmap' or a number", "'vamp'", "--over-classes"]),
    (["--over-classes", "a number"], ["a number of at least 1, got 'a number'", "--over-classes"]),
    (["--over-classes", "--5"], ["--over-classes"]),
    (["--over-classes=--5"], ["'--5'", "--over-classes"]),
    (["--over-classes", "-5"], ["--over-classes"]),
    (["--eval-norm", "batsch"], ["did you mean 'batch'", "--eval-norm"]),
    (["--width", "0"], ["at least 1", "--width"]),
    (["--depth", "9"], ["at most", "--depth"]),
    (["--norm", "instanc"], ["did you mean 'instance'", "--norm"]),
    (["--model", "resnet"], ["did you mean 'resnet18'", "(option --model)"]),
    (["--model", "lenet", "--norm", "batch"], ["lenet has no norm", "(option --norm)"]),
    (["--model", "vgg11bn", "--norm", "none"], ["has norm batch, not none", "(option --norm)"]),
    (["--model", "convnetd4"], ["at most 3", "(option --model)"]),
    (["--model", "mlp", "--eval-norm", "batch"], ["mlp has no norm", "(option --eval-norm)"]),
    (["--downsampling", "avg_pool"], ["has no downsampling", "(option --downsampling)"]),
    (
        ["--norm-policy", "freeze"],
        ["allowed: frozen_statistics, batch_statistics", "--norm-policy"],
    ),
    (["--activation", "rely"], ["did you mean 'relu'", "--activation"]),
    (["--pooling", "average"], ["unknown pooling", "--pooling"]),
    (["--eval-networks", "0"], ["at least 1", "--eval-networks"]),
    (["--eval-every", "-1"], ["at least 0", "--eval-every"]),
    (["--eval-epochs", "0"], ["at least 1", "--eval-epochs"]),
    (["--save-every", "-1"], ["at least 0", "--save-every"]),
    (["--seed", "-1"], ["at least 0, got -1", "--seed"]),
    (["--resume"], ["no run in", "--resume"]),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=[" ".join(w) for w, _ in WRONG])
def test_a_wrong_value_is_one_line_and_writes_nothing(cli, refused, out, wrong, words):
    outcome = cli("distill", "dsa", *wrong, "--out", out)
    assert refused(outcome, *words), outcome
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dsac", "dm"])
def test_other_methods_from_the_command_line(method, cli, tmp_path):
    out = tmp_path / method
    more = ["--strategy", "crop", *(["--updates", "1"] if method == "dsac" else [])]
    outcome = cli("distill", method, *TINY, *more, "--random", "no", "--out", out)
    assert outcome.code == 0, outcome.err
    rows = json.loads((out / "result.json").read_text())["scores"]
    assert "random real images" not in [row["images"] for row in rows] and len(rows) >= 1
    distilled = DistilledSet.load(out / "set.safetensors")
    assert distilled.metadata.method == method and np.isfinite(distilled.images).all()
    assert distilled.metadata.protocol["name"].startswith("dsa, crop")
