"""``jdd distill`` from beginning to end, on a network of four channels and two classes of digits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from jdd import DistilledSet
from jdd.artefact import Augmentation
from jdd.evaluate import PROTOCOLS

TINY = (
    "--classes 0 1 --width 4 --depth 1 --real-batch 8 --networks 3 --eval-networks 2 --eval-epochs 2"
).split()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def run(cli, out):
    """One finished run of DC with two images per class and two updates per network."""
    more = "--ipc 2 --updates 2 --net-epochs 1 --eval-every 1 --whole yes --seed 3".split()
    outcome = cli("distill", "dc", *TINY, *more, "--out", out)
    assert outcome.code == 0, outcome.err
    return outcome


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_directory_holds_everything(run, out, cli, refused):
    config = json.loads((out / "config.json").read_text())
    expected = {
        "method": "dc",
        "data": "digits",
        "classes": ["0", "1"],
        "ipc": 2,
        "seed": 3,
        "init": "noise",
        "networks": 3,
        "updates": 2,
        "net_epochs": 1,
        "learning_rate": 0.1,
        "momentum": 0.5,
        "real_batch": 8,
        "distance": "layerwise-cosine",
        "width": 4,
        "norm": "instance",
        "eval_networks": 2,
        "eval_every": 1,
    }
    assert expected.items() <= config["options"].items()
    assert config["device"]["platform"] and config["versions"]["jax"]

    metrics = lines(out / "metrics.jsonl")
    losses = [record for record in metrics if "loss" in record]
    assert [r["step"] for r in metrics if "accuracy" in r] == [2, 4, 6]
    assert losses[-1]["step"] == 6 and all(r["seconds"] > 0 for r in losses)

    distilled = DistilledSet.load(out / "set.safetensors")
    assert distilled.images.shape == (4, 8, 8, 1) and distilled.labels.tolist() == [0, 0, 1, 1]
    metadata = distilled.metadata
    assert (metadata.method, metadata.dataset, metadata.seed) == ("dc", "digits", 3)
    assert (metadata.protocol, metadata.augmentation) == ("dc", None)
    assert metadata.recipe == PROTOCOLS["dc"].record()
    assert metadata.class_names == ("0", "1") and metadata.space == "normalised"
    assert metadata.options == config["options"] and metadata.results["step"] == 6

    result = json.loads((out / "result.json").read_text())
    names = ["distilled images", "random real images", "whole training set"]
    assert [score["images"] for score in result["scores"]] == names
    assert [len(score["accuracies"]) for score in result["scores"]] == [2, 2, 1]
    first = result["scores"][0]
    assert first["protocol"] == "dc, 2 epochs" and "3 epochs of SGD" in first["recipe"]
    assert first["mean"] == pytest.approx(np.mean(first["accuracies"]))
    assert result["updates"] == 6 and result["peak_memory_mb"]["host"] > 0
    for picture in ("grid.png", "curve.png"):
        Image.open(out / picture).verify()

    assert result["network"] == result["eval_network"] == first["network"] == "ConvNet-1 (width 4)"

    for word in ("digits: 2 classes", "ConvNet-1", "3 networks x 2 image updates", "compiled in"):
        assert word in run.out
    for name in names:
        assert name in run.out
    assert "update 6/6" in run.err and "loss" in run.err

    kept = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    again = cli("distill", "dc", *TINY, "--out", out)
    assert refused(again, "already exists", "--out")
    finished = "--ipc 2 --updates 2 --net-epochs 1 --eval-every 1 --whole yes --seed 3".split()
    assert refused(cli("distill", "dc", *TINY, "--out", out, "--resume"), "ipc 2, not 1", "--ipc")
    done = cli("distill", "dc", *TINY, *finished, "--out", out, "--resume")
    assert done.code == 0 and "is complete" in done.out and names[2] in done.out
    assert kept == {path: path.read_bytes() for path in out.iterdir() if path.is_file()}


def test_a_run_that_diverges_keeps_the_last_good_set(cli, out):
    # The loss of step 1 is fine; the images that it leaves are not.
    command = ["distill", "dc", *TINY, "--learning-rate", "1e38", "--out", out]
    outcome = cli(*command)
    assert outcome.code == 1
    last = outcome.err.splitlines()[-1]
    assert last.startswith("jdd: error: the loss is not finite at step ") and str(out) in last
    distilled = DistilledSet.load(out / "set.safetensors")
    assert np.isfinite(distilled.images).all()
    results = distilled.metadata.results
    assert f"at step {results['diverged_at']}: the set of step {results['step']}," in last
    assert results["step"] < results["diverged_at"]
    assert all(np.isfinite(record["loss"]) for record in lines(out / "metrics.jsonl"))
    # Going on leads there again, and leaves everything as it was.
    kept = (out / "set.safetensors").read_bytes()
    again = cli(*command, "--resume")
    assert again.code == 1 and again.err.splitlines()[-1] == last
    assert (out / "set.safetensors").read_bytes() == kept
    assert all(np.isfinite(record["loss"]) for record in lines(out / "metrics.jsonl"))


def test_dsa_says_what_to_augment_with(cli, out):
    outcome = cli(
        *["distill", "dsa", *TINY, "--eval-every", 0, "--whole", "no", "--strategy", "crop"],
        *["--distance", "squared-error", "--over-classes", "2", "--out", out],
    )
    assert outcome.code == 0, outcome.err
    metadata = DistilledSet.load(out / "set.safetensors").metadata
    assert metadata.augmentation == Augmentation("dsa", "crop")
    assert metadata.protocol == "dsa, crop" and metadata.options["init"] == "real"
    assert metadata.recipe == PROTOCOLS["dsa"].record() | {"augmentation": "crop"}
    assert [r["step"] for r in lines(out / "metrics.jsonl") if "accuracy" in r] == [3]
    assert "whole training set" not in outcome.out


def test_another_network_can_be_distilled_on_and_is_found_again(cli, refused, out):
    tiny = "--classes 0 1 --real-batch 8 --networks 1 --eval-networks 1 --eval-epochs 1".split()
    command = ["distill", "dc", *tiny, "--whole", "no", "--out", out]
    outcome = cli(*command, "--model", "mlp")
    assert outcome.code == 0, outcome.err
    assert "MLP, " in outcome.out and "over networks: MLP." in outcome.out
    options = DistilledSet.load(out / "set.safetensors").metadata.options
    assert options["model"] == "mlp" and options["learning_rate"] == 0.01
    assert refused(cli(*command, "--resume"), 'model "mlp", not "convnet"', "--model")
    again = cli("evaluate", out, "--networks", 1, "--eval-epochs", 1, "--baseline", "none")
    assert again.code == 0 and "over networks: MLP." in again.out


def save_npz(path, shape, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (20, *shape), dtype=np.uint8)
    labels = np.arange(20) % 2
    np.savez(path, x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6])
    return f"npz:{path}"


SHORT = (
    "--width 2 --depth 1 --real-batch 4 --networks 1 --eval-networks 1 --eval-epochs 1 --whole no"
).split()


def test_images_of_four_channels_are_distilled_drawn_and_evaluated(cli, out, tmp_path):
    given = save_npz(tmp_path / "rgba.npz", (8, 8, 4))
    outcome = cli("distill", "dc", *SHORT, "--data", given, "--norm", "batch", "--out", out)
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


def test_oblong_images_and_a_square_augmentation(cli, refused, out, tmp_path):
    given = save_npz(tmp_path / "oblong.npz", (8, 6))
    wrong = cli("distill", "dsa", *SHORT, "--data", given, "--out", out)
    assert refused(wrong, "square", "8x6", "--strategy")
    wrong = cli("distill", "dc", *SHORT, "--data", given, "--eval-norm", "batch", "--out", out)
    assert refused(wrong, "square", "8x6", "dc-crop-noise", "--eval-norm")
    assert not out.exists()
    wrong = cli("evaluate", "random", "--data", given, "--protocol", "dsa")
    assert refused(wrong, "square", "8x6", "--protocol")
    right = cli("distill", "dsa", *SHORT, "--data", given, "--strategy", "", "--out", out)
    assert right.code == 0, right.err
    assert DistilledSet.load(out / "set.safetensors").metadata.options["strategy"] == "none"


def test_other_images_under_the_same_name_are_not_resumed(cli, refused, out, tmp_path):
    command = ["distill", "dc", *SHORT, "--out", out, "--data"]
    given = save_npz(tmp_path / "mine.npz", (8, 8))
    assert cli(*command, given).code == 0
    assert cli(*command, given, "--resume").code == 0
    save_npz(tmp_path / "mine.npz", (8, 8), seed=1)
    assert refused(cli(*command, given, "--resume"), "train_split", "--data")


WRONG = [
    (["--ipc", "0"], ["at least 1", "--ipc"]),
    (["--ipc", "1000"], ["from 1 to", "--ipc"]),
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
    (["--init", "reel"], ["did you mean 'real'", "--init"]),
    (["--init", "k-center"], ["did you mean 'k-centre'", "--init"]),
    (["--coreset-epochs", "3"], ["herding and k-centre only", "--coreset-epochs"]),
    (["--init", "herding", "--coreset-epochs", "0"], ["at least 1", "--coreset-epochs"]),
    (["--strategy", "croop"], ["did you mean 'crop'", "--strategy"]),
    (["--distance", "cosine"], ["did you mean", "--distance"]),
    (["--over-classes", "0"], ["at least 1", "--over-classes"]),
    (["--over-classes", "vamp"], ["did you mean 'vmap'", "--over-classes"]),
    (["--over-classes", "a number"], ["a whole number of at least 1", "--over-classes"]),
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
    (["--norm-policy", "freeze"], ["did you mean 'frozen'", "--norm-policy"]),
    (["--activation", "rely"], ["did you mean 'relu'", "--activation"]),
    (["--pooling", "average"], ["unknown pooling", "--pooling"]),
    (["--eval-networks", "0"], ["at least 1", "--eval-networks"]),
    (["--eval-every", "-1"], ["at least 0", "--eval-every"]),
    (["--eval-epochs", "0"], ["at least 1", "--eval-epochs"]),
    (["--save-every", "-1"], ["at least 0", "--save-every"]),
    (["--seed", "-1"], ["from 0 to", "--seed"]),
    (["--resume"], ["no run in", "--resume"]),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=[" ".join(w) for w, _ in WRONG])
def test_a_wrong_value_is_one_line_and_writes_nothing(cli, refused, out, wrong, words):
    outcome = cli("distill", "dsa", *wrong, "--out", out)
    assert refused(outcome, *words), outcome
    assert not out.exists()


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
    assert distilled.metadata.protocol.startswith("dsa, crop")
