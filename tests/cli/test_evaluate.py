"""``jdd evaluate``: the set says what it is meant for, and random real images need no set."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jdd import DistilledSet, evaluate
from jdd.artefact import Augmentation, Metadata
from jdd.datasets import load_dataset

QUICK = "--networks 2 --eval-epochs 1".split()


def save(
    path,
    protocol="dc",
    *,
    augmentation=None,
    recipe=(),
    ipc=1,
    classes=("0", "1"),
    size=8,
    wrong=(),
    **options,
):
    digits = load_dataset("digits", classes=classes)
    images = np.random.default_rng(0).normal(size=(ipc * len(classes), size, size, 1))
    metadata = Metadata(
        method="dc",
        dataset="digits",
        class_names=digits.class_names,
        ipc=ipc,
        space="normalised",
        mean=digits.mean,
        std=digits.std,
        protocol=protocol,
        recipe=dict(recipe),
        augmentation=augmentation,
        options={"data": "digits", "classes": list(classes), "width": 4, "depth": 1}
        | options
        | dict(wrong),
    )
    labels = np.repeat(np.arange(len(classes)), ipc)
    return DistilledSet(images.astype(np.float32), labels, metadata).save(path / "a.safetensors")


def test_a_set_by_what_it_says(cli, refused, tmp_path):
    file = save(tmp_path, ipc=2, norm="none")
    result = tmp_path / "result.json"
    outcome = cli("evaluate", file, *QUICK, "--out", result)
    assert outcome.code == 0, outcome.err
    content = json.loads(result.read_text())
    options = {"width": 4, "depth": 1, "norm": "none", "activation": "relu", "pooling": "avg"}
    assert content["networks"] == [{"model": "convnet"} | options]
    assert content["complete"] is True
    assert [score["protocol"] for score in content["scores"]] == ["dc, 1 epochs"] * 2
    assert [len(score["accuracies"]) for score in content["scores"]] == [2, 2]
    titles = [score["images"] for score in content["scores"]]
    assert titles == ["distilled images, 2 per class", "random real images, 2 per class, 2 sets"]
    assert "dc, 1 epochs" in outcome.out and titles[0] in outcome.out
    before = result.read_bytes()
    assert refused(cli("evaluate", file, *QUICK, "--out", result), "already exists", "--out")
    assert result.read_bytes() == before


DC = evaluate.PROTOCOLS["dc"]
CROP = dataclasses.replace(evaluate.PROTOCOLS["dsa"], augmentation="crop")
SLOW = {"learning_rate": 0.0025}


@pytest.mark.parametrize(
    ("name", "recipe", "options", "protocol", "rate"),
    [
        ("dc", DC.record(), [], "dc", 0.01),
        ("dc", DC.record() | SLOW, [], "dc, recipe of the set", 0.0025),
        ("dc", DC.record() | SLOW, ["--protocol", "dc"], "dc", 0.01),
        ("dsa, crop", CROP.record(), [], "dsa, crop", 0.01),
        ("dsa, crop", CROP.record() | SLOW, [], "dsa, crop, recipe of the set", 0.0025),
        ("of tomorrow", DC.record() | SLOW, [], "of tomorrow", 0.0025),
    ],
)
def test_the_recipe_of_a_set(cli, tmp_path, monkeypatch, name, recipe, options, protocol, rate):
    """A protocol of this name that has changed since is not what the set was meant for."""

    def training(key, model, images, labels, test, protocol, **options):
        return evaluate.Evaluation(np.array([0.5]), protocol, model.name)

    monkeypatch.setattr(evaluate, "evaluate", training)
    crop = Augmentation("dsa", "crop") if "crop" in name else None
    file, result = save(tmp_path, name, augmentation=crop, recipe=recipe), tmp_path / "result.json"
    quick = ["--eval-epochs", "7", "--baseline", "none", "--out", result]
    outcome = cli("evaluate", file, *quick, *options)
    assert outcome.code == 0, outcome.err
    (score,) = json.loads(result.read_text())["scores"]
    assert score["protocol"] == f"{protocol}, 7 epochs"
    assert f"learning rate {rate}," in score["recipe"] and "8 epochs" in score["recipe"]
    assert ("DSA augmentation crop" in score["recipe"]) == ("crop" in name)


def test_a_recipe_that_cannot_be_followed(cli, refused, tmp_path):
    file = save(tmp_path, recipe=DC.record() | {"label_smoothing": 0.1})
    assert refused(cli("evaluate", file), "dc has label_smoothing 0.1", "--protocol")


def test_options_override_the_set(cli, tmp_path):
    file = save(tmp_path, protocol="dsa, crop", augmentation=Augmentation("dsa", "crop"))
    outcome = cli("evaluate", file, *QUICK, "--baseline", "none", "--width", 3, "--norm", "layer")
    assert outcome.code == 0, outcome.err
    assert "dsa, crop, 1 epochs" in outcome.out and "DSA augmentation crop" in outcome.out
    assert "ConvNet-1 (width 3, norm layer)" in outcome.out
    assert "random real" not in outcome.out


def test_the_cross_architecture_table(cli, tmp_path):
    file, result = save(tmp_path, ipc=2), tmp_path / "result.json"
    outcome = cli(*["evaluate", file, *QUICK, "--models", "S,MLP,lenet", "--out", result])
    assert outcome.code == 0, outcome.err
    content = json.loads(result.read_text())
    assert [each["model"] for each in content["networks"]] == ["convnet", "mlp", "lenet"]
    names = ["ConvNet-1 (width 4)", "MLP", "LeNet"]
    scores = content["scores"]
    assert [score["network"] for score in scores] == [name for name in names for _ in range(2)]
    lines = outcome.out.splitlines()
    for name, distilled, random in zip(names, scores[::2], scores[1::2], strict=True):
        (line,) = [line for line in lines if line.startswith(f" {name}  ")]
        for score in (distilled, random):
            assert f"{100 * score['mean']:.2f} +- {100 * score['std']:.2f} %" in line
    assert "\ndc, 1 epochs: 2 epochs of SGD" in outcome.out
    # Networks do not depend on which others are asked for.
    alone = cli(*["evaluate", file, *QUICK, "--models", "mlp", "--out", tmp_path / "alone.json"])
    assert alone.code == 0, alone.err
    assert [
        s["accuracies"] for s in json.loads((tmp_path / "alone.json").read_text())["scores"]
    ] == [score["accuracies"] for score in scores[2:4]]


def test_the_networks_of_a_set(cli, tmp_path):
    """S is without BatchNorm, SS as it was distilled on, and DC augments for ConvNetBN only."""
    file, result = save(tmp_path, norm="batch"), tmp_path / "result.json"
    quick = ["--networks", "1", "--eval-epochs", "1", "--baseline", "none"]
    outcome = cli(*["evaluate", file, *quick, "--models", "S,SS,alexnetbn", "--out", result])
    assert outcome.code == 0, outcome.err
    assert [
        (score["network"], score["protocol"]) for score in json.loads(result.read_text())["scores"]
    ] == [
        ("ConvNet-1 (width 4)", "dc, 1 epochs"),
        ("ConvNet-1 (width 4, norm batch)", "dc-crop-noise, 1 epochs"),
        ("AlexNet (norm batch)", "dc, 1 epochs"),
    ]
    assert "\nConvNet-1 (width 4), AlexNet (norm batch): dc, 1 epochs: " in outcome.out


def test_random_real_images_need_no_set(cli, tmp_path):
    result = tmp_path / "result.json"
    arguments = "evaluate random --classes 0 1 --ipc 3 --sets 2 --width 4 --depth 1".split()
    first = cli(*arguments, *QUICK, "--out", result)
    assert first.code == 0, first.err
    (score,) = json.loads(result.read_text())["scores"]
    assert score["protocol"] == "dc, 1 epochs" and len(score["accuracies"]) == 4
    again = cli(*arguments, *QUICK, "--out", tmp_path / "again.json")
    assert again.code == 0
    (same,) = json.loads((tmp_path / "again.json").read_text())["scores"]
    assert same["accuracies"] == score["accuracies"]


@pytest.mark.parametrize(
    ("end", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "jdd: stopped; the scores so far are in {file}"),
        (jax.errors.JaxRuntimeError("INTERNAL: no\nwhere"), 1, "jdd: error: INTERNAL: no"),
    ],
    ids=["Ctrl-C", "a network that fails"],
)
def test_a_bad_end_leaves_the_scores_before_it(cli, tmp_path, monkeypatch, end, code, line):
    file, found = tmp_path / "result.json", []

    def training(key, model, images, labels, test, protocol, **options):
        found.append(json.loads(file.read_text()) if file.exists() else None)
        if model.name == "LeNet":
            raise end
        return evaluate.Evaluation(np.array([0.5, 0.75]), protocol, model.name)

    monkeypatch.setattr(evaluate, "evaluate", training)
    three = ["--models", "S,mlp,lenet", "--baseline", "none"]
    outcome = cli("evaluate", save(tmp_path), *QUICK, *three, "--out", file)
    assert outcome.code == code and "Traceback" not in outcome.err, outcome
    assert outcome.err.splitlines()[-1] == line.format(file=file)
    content = json.loads(file.read_text())
    assert found[0] is None and [len(each["scores"]) for each in found[1:]] == [1, 2]
    assert content == found[-1] and content["complete"] is False
    assert [each["model"] for each in content["networks"]] == ["convnet", "mlp", "lenet"]
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


def test_chosen_real_images(cli, tmp_path):
    result = tmp_path / "result.json"
    chosen = ["--ipc", 3, "--coreset-epochs", 1, "--protocol", "dsa-no-flip"]
    outcome = cli("evaluate", "herding", *SMALL, *QUICK, *chosen, "--out", result)
    assert outcome.code == 0, outcome.err
    assert "herding: each set is chosen by a network trained on all images (1 epoch)" in outcome.err
    content = json.loads(result.read_text())
    (score,) = content["scores"]
    assert content["set"] == "herding"
    assert score["images"] == "real images by herding, 3 per class, 1 set"
    assert score["protocol"] == "dsa-no-flip, 1 epochs" and "DSA augmentation" in score["recipe"]
    assert len(score["accuracies"]) == 2


def test_the_whole_set(cli, tmp_path):
    result = tmp_path / "result.json"
    outcome = cli("evaluate", "whole", *SMALL, "--eval-epochs", 1, "--out", result)
    assert outcome.code == 0, outcome.err
    (score,) = json.loads(result.read_text())["scores"]
    assert score["images"] == "whole training set" and len(score["accuracies"]) == 1
    assert score["protocol"] == "whole set, 1 epochs"


def test_a_distilled_set_beside_chosen_images(cli, tmp_path):
    file = save(tmp_path, ipc=2)
    outcome = cli("evaluate", file, *QUICK, "--baseline", "k-centre", "--coreset-epochs", 1)
    assert outcome.code == 0, outcome.err
    assert "real images by k-centre, 2 per class, 1 set" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["herdin"], ["no such file", "did you mean 'herding'", "SET"]),
        (["k-center"], ["did you mean 'k-centre'", "SET"]),
        (["random", "--coreset-epochs", "3"], ["herding and k-centre only", "--coreset-epochs"]),
        (["herding", "--coreset-epochs", "0"], ["at least 1", "--coreset-epochs"]),
        (["herding", "--ipc", "0"], ["from 1 to", "--ipc"]),
        (["whole", "--ipc", "1"], ["does not go with whole", "--ipc"]),
        (["whole", "--sets", "2"], ["does not go with whole", "--sets"]),
        (["whole", "--protocol", "dcc"], ["did you mean 'dc'", "--protocol"]),
        (["x", "--coreset-epochs", "3"], ["herding and k-centre only", "--coreset-epochs"]),
        (["none.safetensors"], ["no such file", "SET"]),
        (["random", "--protocol", "dcc"], ["did you mean 'dc'", "--protocol"]),
        (["random", "--ipc", "0"], ["from 1 to", "--ipc"]),
        (["random", "--ipc", "1000"], ["from 1 to", "--ipc"]),
        (["random", "--data", "nmist"], ["did you mean 'mnist'", "--data"]),
        (["random", "--networks", "0"], ["at least 1", "--networks"]),
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
    "wrong",
    [
        *[{"classes": None}, {"classes": [0, 1]}, {"width": "8"}, {"depth": True}, {"norm": 3}],
        {"model": 3},
    ],
    ids=str,
)
def test_a_hand_made_set_with_wrong_options(cli, refused, tmp_path, wrong):
    file = save(tmp_path, wrong=wrong)
    (name,) = wrong
    assert refused(cli("evaluate", file), f"{name} is", "not a", "SET")


def test_a_hand_made_set_of_an_unknown_network(cli, refused, tmp_path):
    assert refused(cli("evaluate", save(tmp_path, model="alxnet")), "'alexnet'", "SET")
    (tmp_path / "mlp").mkdir()
    refusal = cli("evaluate", save(tmp_path / "mlp", model="mlp"))
    assert refused(refusal, "mlp has no width", "SET")


def test_a_hand_made_set_with_a_wrong_augmentation(cli, refused, tmp_path):
    file = save(tmp_path, protocol="dsa, croop", augmentation=Augmentation("dsa", "croop"))
    assert refused(cli("evaluate", file), "did you mean 'crop'", "SET")


@pytest.mark.parametrize(
    ("options", "network"),
    [
        ({"norm": "batch"}, "ConvNet-1 (width 4)"),
        ({"norm": "batch", "eval_norm": "batch"}, "ConvNet-1 (width 4, norm batch)"),
        ({"norm": "none", "eval_norm": "layer"}, "ConvNet-1 (width 4, norm layer)"),
    ],
    ids=str,
)
def test_the_norm_of_evaluation_comes_with_the_set(cli, tmp_path, options, network):
    file = save(tmp_path, **options)
    quick = ["--networks", "1", "--eval-epochs", "1", "--baseline", "none"]
    outcome = cli("evaluate", file, *quick)
    assert outcome.code == 0 and network in outcome.out, outcome


def test_a_set_that_does_not_fit(cli, refused, tmp_path):
    file = save(tmp_path, protocol="of tomorrow")
    assert refused(cli("evaluate", file), "'of tomorrow'", "--protocol")
    assert refused(cli("evaluate", file, "--ipc", 2), "goes with real images only", "--ipc")
    (tmp_path / "odd").mkdir()
    odd = save(tmp_path / "odd", size=9)
    assert refused(cli("evaluate", odd), "(9, 9, 1)", "--data")
    (tmp_path / "other").mkdir()
    other = save(tmp_path / "other", classes=("2", "3"))
    data = tmp_path / "own.npz"
    digits = load_dataset("digits", classes=["4", "5"])
    np.savez(
        data,
        x_train=digits.train.images,
        y_train=digits.train.labels,
        x_test=digits.test.images,
        y_test=digits.test.labels,
    )
    outcome = cli("evaluate", other, "--data", f"npz:{data}")
    assert refused(outcome, "--data") or refused(outcome, "--classes"), outcome
