"""``jdd evaluate``: the set holds its data, network and protocol; real images need no set."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from jdd import DistilledSet, evaluate, nn
from jdd.artefact import Metadata
from jdd.datasets import load_dataset
from jdd.evaluate import PROTOCOLS, dsa_protocol
from tests.cli.conftest import Run, save_digits

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

QUICK = "--networks 2 --eval-epochs 1".split()
DC, CROP = PROTOCOLS["dc"].to_json(), dsa_protocol("crop").to_json()
SLOW = {"learning_rate": 0.0025}


def save(
    path,
    protocol=DC,
    *,
    ipc=1,
    classes=("0", "1"),
    size=8,
    norm="instance",
    configuration=(),
    soft=False,
    **metadata,
):
    """A set of noise for some digits, matched on a ConvNet of width 4 and depth 1."""
    digits = load_dataset("digits", classes=classes)
    images = np.random.default_rng(0).normal(size=(ipc * len(classes), size, size, 1))
    usual = {
        "data": {"name": "digits", "classes": list(classes), "fingerprint": digits.fingerprint},
        "network": nn.network("convnet", width=4, depth=1, norm=norm).to_json(),
    }
    labels = np.repeat(np.arange(len(classes)), ipc)
    if soft:
        labels = np.eye(len(classes), dtype=np.float32)[labels] * 0.8 + 0.1
    content = Metadata(
        method="dc",
        dataset="digits",
        class_names=digits.class_names,
        ipc=ipc,
        space="normalised",
        mean=digits.mean,
        std=digits.std,
        protocol=protocol,
        configuration=usual | dict(configuration),
        **metadata,
    )
    path.mkdir(exist_ok=True)
    distilled = DistilledSet.from_images(images.astype(np.float32), labels, content)
    return distilled.save(path / "a.safetensors")


@pytest.fixture
def trained(monkeypatch):
    """The evaluations that a command asks for, in place of their training: their arguments in a list."""
    calls = []

    def training(key, model, images, labels, test, protocol, **options):
        calls.append(
            {"model": model, "images": images, "labels": labels, "protocol": protocol, **options}
        )
        return evaluate.Evaluation(np.array([0.5, 0.75]), protocol, model.name)

    monkeypatch.setattr(evaluate, "evaluate", training)
    return calls


def scores(file):
    return json.loads(file.read_text())["scores"]


def test_a_set_by_what_it_holds(cli, refused, tmp_path):
    file = save(tmp_path, ipc=2, norm="none")
    result = tmp_path / "result.json"
    outcome = cli("evaluate", file, *QUICK, "--out", result)
    assert outcome.code == 0 and "warning" not in outcome.err, outcome.err
    content = json.loads(result.read_text())
    options = {"width": 4, "depth": 1, "norm": "none", "activation": "relu", "pooling": "avg"}
    assert content["networks"] == [{"architecture": "convnet"} | options]
    assert content["complete"] is True
    assert [score["protocol"] for score in content["scores"]] == ["dc, 1 epochs"] * 2
    assert [len(score["accuracies"]) for score in content["scores"]] == [2, 2]
    titles = [score["images"] for score in content["scores"]]
    assert titles == ["distilled images, 2 per class", "random real images, 2 per class, 2 sets"]
    assert "dc, 1 epochs" in outcome.out and titles[0] in outcome.out
    before = result.read_bytes()
    assert refused(cli("evaluate", file, *QUICK, "--out", result), "already exists", "--out")
    assert result.read_bytes() == before


@pytest.mark.parametrize(
    ("protocol", "options", "name", "rate"),
    [
        (DC, [], "dc", 0.01),
        (DC | SLOW, [], "dc, as the set states it", 0.0025),
        (DC | SLOW, ["--protocol", "dc"], "dc", 0.01),
        (CROP, [], "dsa, crop", 0.01),
        (CROP | SLOW, [], "dsa, crop", 0.0025),
        (DC | SLOW | {"name": "of tomorrow"}, [], "of tomorrow", 0.0025),
    ],
    ids=["dc", "changed", "another", "crop", "crop, changed", "unknown"],
)
def test_the_protocol_of_a_set(cli, tmp_path, trained, protocol, options, name, rate):
    """A protocol of this name that has changed since is not that of the set."""
    file, result = save(tmp_path, protocol), tmp_path / "result.json"
    quick = ["--eval-epochs", "7", "--baseline", "none", "--out", result]
    outcome = cli("evaluate", file, *quick, *options)
    assert outcome.code == 0, outcome.err
    (score,) = scores(result)
    assert score["protocol"] == f"{name}, 7 epochs"
    assert f"learning rate {rate}," in score["recipe"] and "8 epochs" in score["recipe"]
    assert ("DSA augmentation crop" in score["recipe"]) == ("crop" in name)
    (call,) = trained
    assert (call["protocol"].learning_rate, call["protocol"].epochs) == (rate, 7)


def test_a_protocol_that_cannot_be_followed(cli, refused, tmp_path):
    file = save(tmp_path, DC | {"label_smoothing": 0.1})
    words = ["label_smoothing 0.1", "choose one of dc, ", "--protocol"]
    assert refused(cli("evaluate", file), *words)
    own = DC | {"augment": {"choice": "by_somebody"}}
    outcome = cli("evaluate", save(tmp_path / "own", own))
    assert refused(outcome, "'by_somebody'", "JDD_IMPORT", "choose one of", "--protocol")
    named = cli("evaluate", save(tmp_path / "named", {"name": "of tomorrow"}))
    assert refused(named, "'of tomorrow'", "--protocol")


def test_soft_labels_and_a_learned_rate_are_obeyed(cli, tmp_path, trained):
    file = save(tmp_path, ipc=2, soft=True, learning_rate=0.125)
    outcome = cli("evaluate", file, *QUICK, "--baseline", "none")
    assert outcome.code == 0, outcome.err
    (call,) = trained
    assert call["learning_rate"] == 0.125
    np.testing.assert_allclose(call["labels"][0], [0.9, 0.1], rtol=1e-6)
    assert cli("evaluate", save(tmp_path / "plain"), *QUICK, "--baseline", "none").code == 0
    assert trained[1]["learning_rate"] is None and trained[1]["labels"].tolist() == [0, 1]


def test_options_override_the_set(cli, tmp_path):
    file = save(tmp_path, CROP)
    outcome = cli("evaluate", file, *QUICK, "--baseline", "none", "--width", 3, "--norm", "layer")
    assert outcome.code == 0, outcome.err
    assert "dsa, crop, 1 epochs" in outcome.out and "DSA augmentation crop" in outcome.out
    assert "ConvNet-1 (width 3, norm layer)" in outcome.out
    assert "random real" not in outcome.out


@pytest.mark.slow
def test_the_cross_architecture_table(cli, tmp_path):
    file, result = save(tmp_path, ipc=2), tmp_path / "result.json"
    outcome = cli(*["evaluate", file, *QUICK, "--models", "S,MLP,lenet", "--out", result])
    assert outcome.code == 0, outcome.err
    content = json.loads(result.read_text())
    assert [each["architecture"] for each in content["networks"]] == ["convnet", "mlp", "lenet"]
    names = ["ConvNet-1 (width 4)", "MLP", "LeNet"]
    every = content["scores"]
    assert [score["network"] for score in every] == [name for name in names for _ in range(2)]
    lines = outcome.out.splitlines()
    for name, distilled, random in zip(names, every[::2], every[1::2], strict=True):
        (line,) = [line for line in lines if line.startswith(f" {name}  ")]
        for score in (distilled, random):
            assert f"{100 * score['mean']:.2f} +- {100 * score['std']:.2f} %" in line
    assert "\ndc, 1 epochs: 2 epochs of SGD" in outcome.out
    # Networks do not depend on which others are evaluated.
    alone = cli(*["evaluate", file, *QUICK, "--models", "mlp", "--out", tmp_path / "alone.json"])
    assert alone.code == 0, alone.err
    accuracies = [score["accuracies"] for score in scores(tmp_path / "alone.json")]
    assert accuracies == [score["accuracies"] for score in every[2:4]]


def test_the_networks_of_a_set(cli, tmp_path, trained):
    """S is without BatchNorm, SS as it was distilled on, and DC augments for ConvNetBN only."""
    file, result = save(tmp_path, norm="batch"), tmp_path / "result.json"
    quick = ["--networks", "1", "--eval-epochs", "1", "--baseline", "none"]
    outcome = cli(*["evaluate", file, *quick, "--models", "S,SS,alexnetbn", "--out", result])
    assert outcome.code == 0, outcome.err
    assert [(score["network"], score["protocol"]) for score in scores(result)] == [
        ("ConvNet-1 (width 4)", "dc, 1 epochs"),
        ("ConvNet-1 (width 4, norm batch)", "dc-crop-noise, 1 epochs"),
        ("AlexNet (norm batch)", "dc, 1 epochs"),
    ]
    assert "\nConvNet-1 (width 4), AlexNet (norm batch): dc, 1 epochs: " in outcome.out
    augmented = [call["protocol"].augment.name for call in trained]
    assert augmented == ["none", "dc", "none"]


def test_random_real_images_need_no_set(cli, tmp_path):
    result = tmp_path / "result.json"
    arguments = "evaluate random --classes 0 1 --ipc 3 --sets 2 --width 4 --depth 1".split()
    first = cli(*arguments, *QUICK, "--out", result)
    assert first.code == 0, first.err
    (score,) = scores(result)
    assert score["protocol"] == "dc, 1 epochs" and len(score["accuracies"]) == 4
    again = cli(*arguments, *QUICK, "--out", tmp_path / "again.json")
    assert again.code == 0
    assert scores(tmp_path / "again.json")[0]["accuracies"] == score["accuracies"]


@pytest.mark.parametrize(
    ("end", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "jdd: stopped; the scores so far are in {file}"),
        (jax.errors.JaxRuntimeError("INTERNAL: no\nwhere"), 1, "jdd: error: JAX failed while it"),
    ],
    ids=["Ctrl-C", "a network that fails"],
)
def test_a_bad_end_leaves_the_scores_before_it(cli, tmp_path, monkeypatch, end, code, line):
    file, contents = tmp_path / "result.json", []

    def training(key, model, images, labels, test, protocol, **options):
        contents.append(json.loads(file.read_text()) if file.exists() else None)
        if model.name == "LeNet":
            raise end
        return evaluate.Evaluation(np.array([0.5, 0.75]), protocol, model.name)

    monkeypatch.setattr(evaluate, "evaluate", training)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    three = ["--models", "S,mlp,lenet", "--baseline", "none"]
    outcome = cli("evaluate", save(tmp_path), *QUICK, *three, "--out", file)
    assert outcome.code == code and "Traceback" not in outcome.err, outcome
    assert outcome.err.splitlines()[-1].startswith(line.format(file=file))
    content = json.loads(file.read_text())
    assert contents[0] is None and [len(each["scores"]) for each in contents[1:]] == [1, 2]
    assert content == contents[-1] and content["complete"] is False
    assert [each["architecture"] for each in content["networks"]] == ["convnet", "mlp", "lenet"]
    assert [(s["network"], s["mean"]) for s in content["scores"]] == [
        ("ConvNet-1 (width 4)", 0.625),
        ("MLP", 0.625),
    ]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.parametrize("out", [[], ["--out", "result.json"]], ids=["none", "a file"])
def test_an_interrupt_before_the_first_score(cli, tmp_path, monkeypatch, out):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "evaluate", stopped)
    outcome = cli("evaluate", save(tmp_path), *QUICK, *out)
    assert (outcome.code, outcome.err) == (130, "jdd: stopped\n")
    assert not Path("result.json").exists()


SMALL = "--classes 0 1 --width 4 --depth 1".split()


@pytest.mark.slow
def test_chosen_real_images(cli, tmp_path):
    result = tmp_path / "result.json"
    chosen = ["--ipc", 3, "--protocol", "dsa-no-flip"]
    outcome = cli("evaluate", "from_herding(1)", *SMALL, *QUICK, *chosen, "--out", result)
    assert outcome.code == 0, outcome.err
    content = json.loads(result.read_text())
    (score,) = content["scores"]
    assert content["set"] == "from_herding(1)"
    assert score["images"] == "real images by from_herding(1), 3 per class, 1 set"
    assert score["protocol"] == "dsa-no-flip, 1 epochs" and "DSA augmentation" in score["recipe"]
    assert len(score["accuracies"]) == 2


@pytest.mark.slow
def test_the_whole_set(cli, tmp_path):
    result = tmp_path / "result.json"
    outcome = cli("evaluate", "whole", *SMALL, "--eval-epochs", 1, "--out", result)
    assert outcome.code == 0, outcome.err
    (score,) = scores(result)
    assert score["images"] == "whole training set" and len(score["accuracies"]) == 1
    assert score["protocol"] == "whole set, 1 epochs"


@pytest.mark.slow
def test_a_distilled_set_beside_chosen_images(cli, tmp_path):
    file = save(tmp_path, ipc=2)
    outcome = cli("evaluate", file, *QUICK, "--baseline", "k-centre")
    assert outcome.code == 0, outcome.err
    assert "real images by k-centre, 2 per class, 1 set" in outcome.out
    outcome = cli("evaluate", file, *QUICK, "--baseline", "from_k_centre(epochs=1)")
    assert outcome.code == 0, outcome.err
    assert "real images by from_k_centre(1), 2 per class, 1 set" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["herdin"], ["no such file", "did you mean 'herding'", "SET"]),
        (["k-center"], ["did you mean 'k-centre'", "SET"]),
        (["from_herding(epoch=3)"], ["no argument 'epoch'", "did you mean 'epochs'", "SET"]),
        (["from_herding(0)"], ["at least 1", "SET"]),
        (["from_herdin(3)"], ["did you mean 'from_herding'", "SET"]),
        (["herding", "--ipc", "0"], ["from 1 to", "--ipc"]),
        (["whole", "--ipc", "1"], ["does not go with whole", "--ipc"]),
        (["whole", "--sets", "2"], ["does not go with whole", "--sets"]),
        (["whole", "--protocol", "dcc"], ["did you mean 'dc'", "--protocol"]),
        (["none.safetensors"], ["no such file", "SET"]),
        (["random", "--protocol", "dcc"], ["did you mean 'dc'", "--protocol"]),
        (["random", "--ipc", "0"], ["from 1 to", "--ipc"]),
        (["random", "--ipc", "1000"], ["from 1 to", "--ipc"]),
        (["random", "--data", "nmist"], ["did you mean 'mnist'", "--data"]),
        (["random", "--classes", "0", "no"], ["unknown class 'no'", "(option --classes)"]),
        (["random", "--networks", "0"], ["at least 1", "--networks"]),
        (["random", "--networks", "x"], ["--networks: must be a whole number, got 'x'"]),
        (["random", "--sets", "0"], ["at least 1", "--sets"]),
        (["random", "--eval-epochs", "0"], ["at least 1", "--eval-epochs"]),
        (["random", "--norm", "x"], ["unknown norm", "(option --norm)"]),
        (["random", "--models", "convnet,alxnet"], ["did you mean 'alexnet'", "(option --models)"]),
        (["random", "--models", "m"], ["unknown network 'm'", "(option --models)"]),
        (
            ["random", "--models", "mlp", "--norm", "batch"],
            ["norm can be chosen", "(option --norm)"],
        ),
        (["random", "--models", "D"], ["at most 3", "(option --models)"]),
        (["random", "--depth", "9"], ["at most 3", "(option --depth)"]),
        (["random", "--downsampling", "avg_pool"], ["chosen for none", "(option --downsampling)"]),
        (["random", "--out", "no/such/folder.json"], ["no folder", "--out"]),
    ],
)
def test_a_wrong_value_is_one_line(cli, refused, arguments, words):
    outcome = cli("evaluate", *arguments)
    assert refused(outcome, *words), outcome


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"data": {"classes": 3}}, "classes is 3, not a list"),
        ({"data": {"name": 3}}, "name is 3, not a string"),
        ({"data": {"test_share": "a"}}, "test_share is 'a', not a number"),
        ({"data": 3}, "data is 3, not a mapping"),
        ({"network": 3}, "network is 3, not a mapping"),
        ({"network": {"architecture": "alxnet"}}, "did you mean 'alexnet'"),
        ({"network": {"architecture": "mlp", "width": 4}}, "mlp has no width"),
        ({"network": {"architecture": "convnet", "width": [8]}}, "width must be"),
        ({"evaluation": {"norm": 3}}, "norm is 3, not a string"),
        ({"evaluation": {"norm": "bach"}}, "unknown norm 'bach'"),
    ],
    ids=str,
)
def test_a_hand_made_set_with_a_wrong_configuration(cli, refused, tmp_path, wrong, words):
    outcome = cli("evaluate", save(tmp_path, configuration=wrong))
    assert refused(outcome, words), outcome
    assert "SET" in outcome.err or "--models" in outcome.err, outcome


def test_a_hand_made_set_with_a_wrong_augmentation(cli, refused, tmp_path):
    wrong = CROP | {"augment": {"choice": "dsa_augmentation", "strategy": "croop"}}
    assert refused(cli("evaluate", save(tmp_path, wrong)), "did you mean 'crop'", "--protocol")


@pytest.mark.parametrize(
    ("norm", "configuration", "network"),
    [
        ("batch", {}, "ConvNet-1 (width 4)"),
        ("batch", {"evaluation": {"norm": "batch"}}, "ConvNet-1 (width 4, norm batch)"),
        ("batch", {"recipe": {"pool": "SS"}}, "ConvNet-1 (width 4, norm batch)"),
        ("none", {"evaluation": {"norm": "layer"}}, "ConvNet-1 (width 4, norm layer)"),
    ],
    ids=str,
)
def test_the_norm_of_evaluation_comes_with_the_set(
    cli, tmp_path, trained, norm, configuration, network
):
    file = save(tmp_path, norm=norm, configuration=configuration)
    outcome = cli("evaluate", file, *QUICK, "--baseline", "none")
    assert outcome.code == 0 and network in outcome.out, outcome
    assert [call["model"].name for call in trained] == [network]


def test_a_set_that_does_not_fit(cli, refused, tmp_path):
    file = save(tmp_path)
    assert refused(cli("evaluate", file, "--ipc", 2), "goes with real images only", "--ipc")
    odd = save(tmp_path / "odd", size=9)
    assert refused(cli("evaluate", odd), "(9, 9, 1)", "(8, 8, 1)", "--data")
    other = save(tmp_path / "other", classes=("2", "3"))
    data = save_digits(tmp_path / "own.npz", ("4", "5"))
    outcome = cli("evaluate", other, "--data", f"npz:{data}")
    assert refused(outcome, "the set has the classes 2, 3, npz:", "has 0, 1 (option --data)")


def test_sets_of_class_increments_that_were_joined(cli, tmp_path, trained):
    """One run for each pair of classes; their images in one set are tested on all four classes."""
    parts = [
        DistilledSet.load(save(tmp_path / name, classes=classes))
        for name, classes in (("a", ("0", "1")), ("b", ("2", "3")))
    ]
    names = parts[0].metadata.class_names + parts[1].metadata.class_names
    for name, changes in (("kept", {}), ("without", {"configuration": {}})):
        metadata = dataclasses.replace(parts[0].metadata, class_names=names, **changes)
        images = np.concatenate([part.images for part in parts])
        joined = DistilledSet.from_images(images, np.arange(4), metadata)
        file = joined.save(tmp_path / f"{name}.safetensors")
        outcome = cli("evaluate", file, *QUICK, "--baseline", "none")
        assert outcome.code == 0 and "warning" not in outcome.err, outcome.err
        assert "digits: 4 classes" in outcome.out
        assert trained[-1]["labels"].tolist() == [0, 1, 2, 3]


QUICKEST = ["--networks", "1", "--eval-epochs", "1", "--baseline", "none"]


def test_a_set_of_a_relative_path_is_evaluated_there_and_elsewhere_with_its_data(
    cli, refused, tmp_path, monkeypatch, npz_run: Run, trained
):
    """The data of a run are ``npz:mine.npz``; the run is moved, and so are the data."""
    moved = tmp_path / "moved"
    shutil.copytree(npz_run.path, moved)
    monkeypatch.chdir(npz_run.path.parent)
    assert cli("evaluate", moved, *QUICKEST).code == 0
    monkeypatch.chdir(tmp_path)
    elsewhere = cli("evaluate", moved, *QUICKEST)
    assert refused(elsewhere, "npz:mine.npz", "no such file", "(option --data)")
    shutil.copy(npz_run.path.parent / "mine.npz", tmp_path / "other-name.npz")
    outcome = cli("evaluate", "moved", *QUICKEST, "--data", "npz:other-name.npz")
    assert outcome.code == 0 and "warning" not in outcome.err, outcome.err
    assert len(trained) == 2


def test_other_training_images_are_warned_of(cli, tmp_path, npz_run: Run, trained):
    with np.load(npz_run.path.parent / "mine.npz") as content:
        arrays = dict(content)
    arrays["x_train"][0, 0, 0, 0] ^= 1
    np.savez(tmp_path / "changed.npz", **arrays)
    data = f"npz:{tmp_path / 'changed.npz'}"
    outcome = cli("evaluate", npz_run.path, *QUICKEST, "--data", data)
    assert outcome.code == 0 and len(trained) == 1
    (line,) = [line for line in outcome.err.splitlines() if "warning" in line]
    fingerprints = json.loads((npz_run.path / "config.json").read_text())["configuration"]["data"]
    assert line.startswith("jdd: warning: the set was distilled from other training images")
    assert fingerprints["fingerprint"] in line
