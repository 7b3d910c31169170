"""Same seed, same bytes, for every command: in another process too, and however a run was dispatched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jdd
from jdd.runs import loop

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

TINY = (
    "distill dsa --classes 0 1 --ipc 2 --width 4 --depth 1 --real-batch 8 --networks 4 --updates 2 "
    "--net-epochs 1 --eval-networks 2 --eval-epochs 1 --eval-every 2 --whole yes"
).split()
FILES = ("set.safetensors", "set.json", "grid.png")


def scores(folder: Path) -> list[dict[str, Any]]:
    content = json.loads((folder / "result.json").read_text())
    return [{k: v for k, v in score.items() if k != "seconds"} for score in content["scores"]]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, made by a process of its own whose hashes are others."""
    out = tmp_path_factory.mktemp("elsewhere") / "run"
    root = str(Path(jdd.__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    program = "from jdd.cli import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, *TINY, "--out", str(out)],
        env=os.environ
        | {"PYTHONHASHSEED": "1", "PYTHONPATH": path, "XDG_CACHE_HOME": str(out.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_distill(cli, elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.Pace, "next", lambda self, limit: 1)
    assert cli(*TINY, "--out", tmp_path / "here").code == 0
    for name in FILES:
        assert (tmp_path / "here" / name).read_bytes() == (elsewhere / name).read_bytes(), name
    assert scores(tmp_path / "here") == scores(elsewhere)
    assert cli(*TINY, "--seed", 1, "--out", tmp_path / "other").code == 0
    assert (tmp_path / "other" / FILES[0]).read_bytes() != (elsewhere / FILES[0]).read_bytes()


@pytest.mark.slow
def test_evaluate(cli, elsewhere, tmp_path):
    accuracies = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        quick = ["--networks", 2, "--eval-epochs", 1, "--seed", seed]
        assert cli("evaluate", elsewhere, *quick, "--out", tmp_path / name).code == 0
        content = json.loads((tmp_path / name).read_text())
        accuracies.append([score["accuracies"] for score in content["scores"]])
    assert accuracies[0] == accuracies[1] != accuracies[2]


def test_show_and_methods(cli, dc_run, tmp_path):
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for picture in pictures:
        assert cli("show", dc_run.path, "--out", picture).code == 0
        assert picture.read_bytes() == (dc_run.path / "grid.png").read_bytes()
    assert cli("methods") == cli("methods")
