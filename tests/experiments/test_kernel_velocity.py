"""The kernel-velocity experiment, from a set to its files, on the digits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jdd import DistilledSet, datasets
from jdd.artefact import Metadata


@pytest.fixture(scope="module")
def run(load_script):
    """``run(words)``: the exit code of the experiment."""
    experiment, script = load_script("kernel_velocity"), load_script("benchmarks/script")
    return lambda words: script.main(
        experiment.__file__, "", experiment.Options, experiment.experiment, words
    )


@pytest.fixture
def noise(tmp_path):
    """A set of noise for three classes of the digits."""
    dataset = datasets.load_dataset("digits")
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    names, mean, std = tuple(dataset.class_names[:3]), dataset.mean, dataset.std
    metadata = Metadata("dc", "digits", names, 1, "normalised", mean, std)
    distilled = DistilledSet.from_images(images, np.arange(3, dtype=np.int32), metadata)
    return distilled.save(tmp_path / "set.safetensors")


def test_writes_velocities_and_a_picture(run, noise, tmp_path):
    words = [f"noise={noise}", "--data", "digits", "--probe", "4", "--width", "4", "--steps", "6"]
    words += ["--every", "2", "--networks", "2", "--data-dir", str(tmp_path)]
    assert run([*words, "--results", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "kernel_velocity" / "digits.json").read_text())
    assert content["command"] == (
        "python experiments/kernel_velocity.py noise=FOLDER --data digits --probe 4 --width 4 --steps 6 "
        "--every 2 --networks 2 --data-dir FOLDER --results FOLDER"
    )
    assert {"seconds", "device", "versions"} <= set(content)
    velocity = np.array(content["velocity"]["noise"])
    assert velocity.shape == (2, 3) and (velocity > 0).all() and content["steps"] == [0, 2, 4]
    assert (tmp_path / "kernel_velocity" / "digits.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "a set is missing: NAME=SET"),
        ("set.safetensors", "a set must be written as NAME=SET, got 'set.safetensors'"),
        ("a=set --steps 7 --every 2", "--steps must be a multiple of --every, got 7 and 2"),
        ("a=set --probe 1", "--probe must be at least 2, got 1"),
        ("a=set --probe 1000", "--probe must be at most the 355 test images"),
        ("a=set --networks 0", "--networks must be at least 1, got 0"),
        ("a=nowhere.safetensors", "nowhere.safetensors"),
    ],
)
def test_refusals(run, tmp_path, capsys, words, message):
    command = [*words.split(), "--data", "digits", "--results", str(tmp_path)]
    assert run(command) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kernel_velocity.py: ") and message in line
    assert list(tmp_path.iterdir()) == []
