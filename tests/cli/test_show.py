"""``jdd show`` and ``jdd methods``."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

import jdd
from jdd import DistilledSet, artefact, evaluate
from jdd.artefact import Metadata
from jdd.choice import FACTORIES
from jdd.cli.configure import factories_of
from jdd.configuration import Configuration
from jdd.data import Sampler
from jdd.methods import CHOICES, TRAJECTORY_CHOICES, Motion
from tests.cli.conftest import Run


@pytest.fixture
def saved(tmp_path):
    results = {"distilled images": {"mean": 0.75, "std": 0.01, "networks": 4, "protocol": "dsa"}}
    metadata = Metadata(
        *("dsa", "toy", ("cat", "dog"), 1, "normalised", (0.5,), (0.25,)),
        protocol=evaluate.dsa_protocol("crop").to_json(),
        configuration=Configuration(jdd.dsa(1, strategy="crop")).record(),
        seed=7,
        results=results,
    )
    images = np.zeros((2, 8, 8, 1), np.float32)
    return DistilledSet.from_images(images, np.arange(2), metadata).save(
        tmp_path / "toy.safetensors"
    )


def test_show(cli, refused, saved, tmp_path):
    outcome = cli("show", saved)
    assert outcome.code == 0 and not outcome.err
    for words in (
        "DSA augmentation crop",
        "2 of 8x8x1 (128 numbers stored)",
        "toy, 2 classes: cat, dog",
        "1 per class",
        "75.00 +- 1.00 %",
        "4 networks",
        "dsa, crop: 1001 epochs of SGD (learning rate 0.01",
        "class_gradients(distance=None, strategy=None)",
        "run: network",
        "toy.png",
    ):
        assert words in outcome.out, words
    picture = tmp_path / "toy.png"
    Image.open(picture).verify()
    picture.write_text("mine")
    assert refused(cli("show", saved, "--out", picture), "already exists", "--out")
    assert refused(cli("show", saved), "already exists", "--out")
    assert picture.read_text() == "mine"
    assert cli("show", saved, "--overwrite").code == 0
    Image.open(picture).verify()


def test_show_a_run_directory(cli, dc_run: Run, tmp_path):
    before = (dc_run.path / "grid.png").stat().st_mtime_ns
    outcome = cli("show", dc_run.path)
    assert outcome.code == 0 and "grid.png" in outcome.out
    assert "result: whole training set" in outcome.out and "run: motion" in outcome.out
    assert (dc_run.path / "grid.png").stat().st_mtime_ns == before
    assert cli("show", dc_run.path, "--out", tmp_path / "other.png").code == 0
    Image.open(tmp_path / "other.png").verify()


def test_show_a_run_directory_without_its_picture(cli, saved, tmp_path):
    saved.rename(tmp_path / "set.safetensors")
    assert cli("show", tmp_path).code == 0
    before = (tmp_path / "grid.png").stat().st_mtime_ns
    assert "grid.png" in cli("show", tmp_path).out
    assert (tmp_path / "grid.png").stat().st_mtime_ns == before


def test_show_a_set_that_cannot_be_decoded_here(cli, saved, tmp_path):
    """Everything else is described, and the line that explains it names what helps."""
    plain = DistilledSet.load(saved)
    unknown = dataclasses.replace(plain.metadata, synthetic={"choice": "by_somebody", "factor": 2})
    file = artefact.DistilledSet(plain.stored, plain.labels, unknown).save(
        tmp_path / "b.safetensors"
    )
    outcome = cli("show", file)
    assert outcome.code == 0, outcome
    assert "by_somebody(factor=2)" in outcome.out and "toy, 2 classes" in outcome.out
    assert "not drawn" in outcome.out and "JDD_IMPORT" in outcome.out
    assert not (tmp_path / "b.png").exists()


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
        "1000 networks x 1 updates at IPC 1",
        "5000 iterations at IPC 1",
        "warmed_up_gradients(after_warm_up(250, updates=10, updates_per_network=10))",
        "--sampler       uniform",
        "resnet18bn_ap    resnet18, norm batch, downsampling avg_pool",
        "mlp, convnet, lenet, alexnet, vgg11, resnet18",
    ):
        assert words in outcome.out, words
    assert all(name in outcome.out for name in FACTORIES)
    assert all(
        f"--{field.replace('_', '-')} " in outcome.out for field in CHOICES | TRAJECTORY_CHOICES
    )


def test_the_factories_of_a_kind():
    assert "uniform" in factories_of(Sampler) and "never" not in factories_of(Sampler)
    assert {"never", "on_synthetic", "on_real", "by_queries"} <= set(factories_of(Motion))
