"""The kernel-velocity experiment, from a set to its files, on the digits."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from jdd import DistilledSet, datasets
from jdd.artefact import Metadata


@pytest.fixture
def experiment(load_script):
    return load_script("kernel_velocity")


def test_writes_velocities_and_a_picture(experiment, tmp_path, monkeypatch):
    dataset = datasets.load_dataset("digits")
    names = dataset.class_names[:3]
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    mean, std = dataset.mean, dataset.std
    metadata = Metadata("dc", "digits", tuple(names), 1, "normalised", mean, std)
    path = tmp_path / "set.safetensors"
    DistilledSet(images, np.arange(3, dtype=np.int32), metadata).save(path)
    words = [f"noise={path}", "--data", "digits", "--probe", "4", "--width", "4"]
    words += ["--steps", "6", "--every", "2", "--networks", "2", "--data-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["kernel_velocity.py", *words])
    assert experiment.main() == 0
    report = json.loads((tmp_path / "kernel_velocity" / "digits.json").read_text())
    assert "--data digits --data-dir FOLDER --probe 4 --steps 6" in report["command"]
    velocity = np.array(report["velocity"]["noise"])
    assert velocity.shape == (2, 3) and (velocity > 0).all() and report["steps"] == [0, 2, 4]
    assert (tmp_path / "kernel_velocity" / "digits.png").stat().st_size > 1000
