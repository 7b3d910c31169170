"""``jdd show`` and ``jdd methods``."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from jdd import DistilledSet
from jdd.artefact import Augmentation, Metadata


@pytest.fixture
def saved(tmp_path):
    results = {"distilled images": {"mean": 0.75, "std": 0.01, "networks": 4, "protocol": "dsa"}}
    metadata = Metadata(
        *("dsa", "toy", ("cat", "dog"), 1, "normalised", (0.5,), (0.25,)),
        augmentation=Augmentation("dsa", "crop"),
        protocol="dsa",
        recipe={"epochs": 1000, "learning_rate": 0.01, "decay": {"after": 502}},
        seed=7,
        results=results,
    )
    images = np.zeros((2, 8, 8, 1), np.float32)
    return DistilledSet(images, np.arange(2), metadata).save(tmp_path / "toy.safetensors")


def test_show(cli, refused, saved, tmp_path):
    outcome = cli("show", saved)
    assert outcome.code == 0 and not outcome.err
    for words in (
        "dsa crop",
        "2 of 8x8x1, 1 per class (128 numbers)",
        "75.00 +- 1.00 %",
        "4 networks",
        "epochs 1000, learning_rate 0.01, decay after 502",
    ):
        assert words in outcome.out
    picture = tmp_path / "toy.png"
    Image.open(picture).verify()
    picture.write_text("mine")
    assert refused(cli("show", saved, "--out", picture), "already exists", "--out")
    assert refused(cli("show", saved), "already exists", "--out")
    assert picture.read_text() == "mine"
    assert cli("show", saved, "--overwrite").code == 0
    Image.open(picture).verify()


def test_show_a_run_directory(cli, saved, tmp_path):
    saved.rename(tmp_path / "set.safetensors")
    assert cli("show", tmp_path).code == 0
    before = (tmp_path / "grid.png").stat().st_mtime_ns
    assert "grid.png" in cli("show", tmp_path).out
    assert (tmp_path / "grid.png").stat().st_mtime_ns == before
    assert cli("show", tmp_path, "--out", tmp_path / "other.png").code == 0


def test_what_is_no_set(cli, refused, saved, tmp_path):
    assert refused(cli("show", tmp_path / "none.safetensors"), "no such file", "SET")
    assert refused(cli("show", tmp_path), "no set.safetensors", "SET")
    assert refused(cli("show", saved.with_suffix(".json")), "not a whole safetensors", "SET")
    assert refused(cli("show", saved, "--out", tmp_path / "no" / "a.png"), "no folder", "--out")


def test_methods(cli):
    outcome = cli("methods")
    assert outcome.code == 0
    for words in (
        "dsa",
        "dc",
        "ICLR 2021",
        "1001 epochs",
        "crop_scale_rotate",
        "uniform, per class",
        "pixels",
        "resnet18bn_ap    resnet18, norm batch, downsampling avg_pool",
        "mlp, convnet, lenet, alexnet, vgg11, resnet18",
    ):
        assert words in outcome.out
