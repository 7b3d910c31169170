"""The experiment on two tiny cells: what it writes, and that a cell is not run twice."""

from __future__ import annotations

import dataclasses
import json

import pytest

from jdd import evaluate


@pytest.fixture
def coresets(load_script, monkeypatch):
    quick = dataclasses.replace(evaluate.PROTOCOLS["dc"], epochs=1)
    monkeypatch.setitem(evaluate.PROTOCOLS, "dc", quick)
    return load_script("coresets")


def test_cells_are_written_once(coresets, tmp_path, capsys):
    tiny = (
        "--data digits --ipc 2 --sets 1 --networks 2 --epochs 1 --width 2 --depth 1 --protocol dc"
    )
    command = [*tiny.split(), "--out", str(tmp_path)]
    assert coresets.main(command) == 0
    (file,) = tmp_path.iterdir()
    assert file.name == "digits-ipc2-dc.json"
    content = json.loads(file.read_text())
    titles = [
        "random, 2 per class, 2 sets",
        *(f"{w}, 2 per class, 1 set" for w in ("herding", "k-centre")),
    ]
    assert [score["images"] for score in content["scores"]] == titles
    assert all(len(score["accuracies"]) == 2 for score in content["scores"])
    assert [chooser["epochs"] for chooser in content["choosers"]] == [1]
    assert all(0 <= chooser["accuracy"] <= 1 for chooser in content["choosers"])
    before = file.read_bytes()
    capsys.readouterr()
    assert coresets.main(command) == 0
    assert "already: skipped" in capsys.readouterr().out and file.read_bytes() == before
