"""The experiment behind the usual noise of a query, on the digits."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from jdd import DistilledSet, data, datasets
from jdd.artefact import Metadata


@pytest.fixture
def experiment(load_script):
    return load_script("query_noise")


def saved(tmp_path, classes):
    """A set of the first classes of the digits."""
    dataset = datasets.load_dataset("digits")
    names = tuple(dataset.class_names[:classes])
    first = [int(np.argmax(dataset.train.labels == c)) for c in range(classes)]
    images = np.asarray(data.normalise(dataset.train.images[first], dataset.mean, dataset.std))
    metadata = Metadata("dc", "digits", names, 1, "normalised", dataset.mean, dataset.std)
    DistilledSet(images, np.arange(classes, dtype=np.int32), metadata).save(
        tmp_path / "set.safetensors"
    )


def test_writes_the_variance_of_a_query(experiment, tmp_path, monkeypatch):
    saved(tmp_path, 10)
    words = [str(tmp_path), "--data", "digits", "--query", "20", "--epochs", "40", "--every", "20"]
    monkeypatch.setattr(sys, "argv", ["query_noise.py", *words, "--networks", "1", "--width", "32"])
    assert experiment.main() == 0
    report = json.loads((tmp_path / "query_noise" / "digits.json").read_text())
    assert "--epochs 40 --every 20 --query 20 --networks 1" in report["command"]
    assert 0 < report["variance"] < report["variance_if_classes_were_alike"] <= 0.25
    assert len(report["accuracy_at_each_query"]) == len(report["variance_at_each_query"]) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [((), "not of the classes"), (("--query", "0"), "--query must be at least 1")],
)
def test_refusals(experiment, tmp_path, monkeypatch, capsys, words, says):
    saved(tmp_path, 3)
    command = ["query_noise.py", str(tmp_path), "--data", "digits", *words]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        experiment.main()
    assert ended.value.code == 2 and says in capsys.readouterr().err
