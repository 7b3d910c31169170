"""A method and parametrisations from outside, from the command line."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from jdd.artefact import DistilledSet
from tests import parametrisations
from tests.cli.conftest import QUICK
from tests.cli.subprocesses import in_one_process

EXTENSIONS = Path(__file__).with_name("extensions")
SMALL = "--classes 0 1 --ipc 2 --width 4 --depth 1 --real-batch 6".split()


def test_the_method_is_short():
    assert len((EXTENSIONS / "own_method.py").read_text().splitlines()) < 40


@pytest.mark.slow
def test_a_method_from_outside_distils_evaluates_and_resumes(tmp_path):
    shutil.copy(EXTENSIONS / "own_method.py", tmp_path)
    distil = ["distill", "own", *SMALL, *QUICK, "--weight", 3, "--learning-rate", 0.01]
    quick = ["--networks", 1, "--eval-epochs", 1, "--baseline", "none"]
    help_, methods, wrong, first, shorter, longer, complete, evaluated, repeated = in_one_process(
        [
            ["distill", "own", "--help"],
            ["methods"],
            ["distill", "own", *SMALL, "--weight", "x"],
            [*distil, "--out", "run"],
            [*distil, "--networks", 1, "--out", "run", "--resume"],
            [*distil, "--networks", 3, "--out", "run", "--resume"],
            [*distil, "--networks", 3, "--out", "run", "--resume"],
            ["evaluate", "run", *quick],
            ["distill", "--config", "run", "--out", "again"],
        ],
        {"JDD_IMPORT": " own_method ,"},
        tmp_path,
    )
    assert help_.code == 0 and "--weight X" in help_.out and "Adam, networks that" in help_.out
    assert "own  A method of one's own" in methods.out and "root_embeddings" in methods.out
    assert wrong.code == 2 and "--weight: must be a number, got 'x'" in wrong.err
    assert first.code == 0 and "own, 2 stored per class" in first.out, first
    assert "root_embeddings(3.0)" in first.out and "2 networks x 2 updates" in first.out
    assert shorter.code == 2 and "recipe.networks 2, not 1" in shorter.err
    assert longer.code == 0 and "from update 4" in longer.out and "update 6/6" in longer.err
    assert complete.code == 0 and "is complete" in complete.out
    assert evaluated.code == 0 and "dsa, crop, 1 epochs" in evaluated.out
    assert repeated.code == 0, repeated.err
    recipe = json.loads((tmp_path / "run" / "config.json").read_text())["configuration"]["recipe"]
    assert recipe["objective"] == {"choice": "root_embeddings", "weight": 3.0}
    assert recipe["optimizer"]["learning_rate"] == 0.01
    sets = [(tmp_path / name / "set.safetensors").read_bytes() for name in ("run", "again")]
    assert sets[0] == sets[1]
    # Without its module: the set is evaluated, because it is pixels; the run cannot be repeated.
    shown, evaluated, repeated, unknown = in_one_process(
        [
            ["show", "run", "--out", "a.png"],
            ["evaluate", "run", *quick],
            ["distill", "--config", "run", "--out", "third"],
            ["distill", "own"],
        ],
        {"JDD_IMPORT": ""},
        tmp_path,
    )
    assert shown.code == 0 and "root_embeddings(weight=3.0)" in shown.out
    assert evaluated.code == 0, evaluated.err
    assert repeated.code == 2 and len(repeated.err.splitlines()) == 1
    assert "'root_embeddings'" in repeated.err and "JDD_IMPORT" in repeated.err
    assert unknown.code == 2 and "unknown method 'own'" in unknown.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["cannot import mine", "ModuleNotFoundError"]),
        ("import nothing_of_this_name", ["cannot import mine", "nothing_of_this_name"]),
        ("1 / 0", ["cannot import mine", "ZeroDivisionError"]),
        ("def f(:", ["cannot import mine", "SyntaxError"]),
        ("import jdd\njdd.register(lambda: 1, 'uniform')", ["'uniform' is taken by a factory of"]),
    ],
    ids=["no module", "an import", "an error", "syntax", "a name that is taken"],
)
def test_a_module_that_cannot_be_imported_is_one_line(
    cli, refused, tmp_path, monkeypatch, content, words
):
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setenv("JDD_IMPORT", "mine")
    outcome = cli("methods")
    assert refused(outcome, "JDD_IMPORT: ", *words), outcome


@pytest.mark.slow
@pytest.mark.parametrize("synthetic", ["mosaic(2)", "tinted(variants=3)"])
@pytest.mark.parametrize("method", ["dm", "dsa"])
def test_a_parametrisation_from_outside(cli, tmp_path, method, synthetic):
    """It distils, is saved, shown, evaluated and continued from its checkpoint, bit for bit."""
    command = ["distill", method, *SMALL, *QUICK, "--strategy", "crop", "--synthetic", synthetic]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert cli(*command, "--networks", 3, "--out", whole).code == 0
    assert cli(*command, "--networks", 2, "--out", parts).code == 0
    resumed = cli(*command, "--networks", 3, "--out", parts, "--resume")
    began = {"dm": 2, "dsa": 4}[method]  # two updates on each network at IPC 2
    assert resumed.code == 0 and f"from update {began}" in resumed.out, resumed
    for name in ("set.safetensors", "set.json", "grid.png"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name
    distilled = DistilledSet.load(whole / "set.safetensors")
    assert distilled.stored["images"].shape == (2, 2, 8, 8, 1)
    if method == "dm" and "mosaic" in synthetic:
        assert distilled.synthetic == parametrisations.mosaic()
    shape = {"mosaic(2)": (16, 8, 8, 1), "tinted(variants=3)": (4, 3, 8, 8, 1)}[synthetic]
    assert distilled.images.shape == shape and np.isfinite(distilled.images).all()
    space = "raw01" if "mosaic" in synthetic else "normalised"
    assert distilled.metadata.space == space
    shown = cli("show", whole, "--out", tmp_path / "picture.png")
    assert shown.code == 0 and synthetic.partition("(")[0] in shown.out, shown
    assert (tmp_path / "picture.png").read_bytes() == (whole / "grid.png").read_bytes()
    quick = ["--networks", 1, "--eval-epochs", 1, "--baseline", "random"]
    evaluated = cli("evaluate", whole, *quick)
    assert evaluated.code == 0 and "distilled images, 2 per class" in evaluated.out, evaluated
