"""The experiment behind the usual noise of a query, on the digits."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jdd import DistilledSet, data, datasets
from jdd.artefact import Metadata


@pytest.fixture(scope="module")
def run(load_script):
    """``run(words)``: the exit code of the experiment."""
    experiment, script = load_script("query_noise"), load_script("benchmarks/script")
    return lambda words: script.main(
        experiment.__file__, "", experiment.Options, experiment.experiment, words
    )


def saved(tmp_path, classes):
    """A set of the first classes of the digits."""
    dataset = datasets.load_dataset("digits")
    names = tuple(dataset.class_names[:classes])
    first = [int(np.argmax(dataset.train.labels == c)) for c in range(classes)]
    images = np.asarray(data.normalise(dataset.train.images[first], dataset.mean, dataset.std))
    metadata = Metadata("dc", "digits", names, 1, "normalised", dataset.mean, dataset.std)
    labels = np.arange(classes, dtype=np.int32)
    DistilledSet.from_images(images, labels, metadata).save(tmp_path / "set.safetensors")


def test_writes_the_variance_of_a_query(run, tmp_path):
    saved(tmp_path, 10)
    words = [str(tmp_path), "--data", "digits", "--query", "20", "--epochs", "40", "--every", "20"]
    assert run([*words, "--networks", "1", "--width", "32", "--results", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "query_noise" / "digits.json").read_text())
    assert "FOLDER --data digits --query 20 --epochs 40 --every 20" in content["command"]
    assert {"seconds", "device", "versions"} <= set(content)
    assert 0 < content["variance"] < content["variance_if_classes_were_alike"] <= 0.25
    assert len(content["accuracy_at_each_query"]) == len(content["variance_at_each_query"]) == 2
    assert content["accuracy"] > 0.15, "networks that train on the set beat chance"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "is not of the classes of digits"),
        (("--query", "0"), "--query must be at least 1, got 0"),
        (("--epochs", "10"), "--epochs must be at least the 15 of --every, got 10"),
    ],
)
def test_refusals(run, tmp_path, capsys, words, message):
    saved(tmp_path, 3)
    results = tmp_path / "results"
    assert run([str(tmp_path), "--data", "digits", *words, "--results", str(results)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("query_noise.py: error: ") and message in line
    assert not results.exists()
