"""``jdd distill mtt``: from experts to a set with its learning rate; resumed, repeated, refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from jdd.artefact import DistilledSet
from tests.cli.conftest import QUICK, Outcome, called, files, records

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

NETWORK = "--classes 0 1 --width 4 --depth 1".split()
MTT = "--ipc 2 --steps 3 --max-start-epoch 2 --strategy crop --iterations 6".split()


class Made(NamedTuple):
    """Experts, and a run with them.

    Attributes:
      experts: their folder.
      path: of the run.
      arguments: of its command, without ``--out``.
      outcome: of its command.
    """

    experts: Path
    path: Path
    arguments: list[str]
    outcome: Outcome


@pytest.fixture(scope="module")
def experts(tmp_path_factory) -> Path:
    """Two whitened experts of three epochs."""
    folder = tmp_path_factory.mktemp("experts") / "store"
    words = "--experts 2 --epochs 3 --batch-size 64 --augment no_augmentation --normalisation zca"
    outcome = called("experts", *NETWORK, *words.split(), "--out", folder)
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture(scope="module")
def made(experts, tmp_path_factory) -> Made:
    path = tmp_path_factory.mktemp("mtt") / "run"
    arguments = ["distill", "mtt", *NETWORK, *MTT, *QUICK, "--experts", str(experts)]
    outcome = called(*arguments, "--out", path)
    assert outcome.code == 0, outcome.err
    return Made(experts, path, arguments, outcome)


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["configuration"]


def test_a_run_leaves_a_set_with_its_learning_rate_and_experts(made):
    distilled = DistilledSet.load(made.path / "set.safetensors")
    metadata = distilled.metadata
    assert metadata.method == "mtt" and distilled.images.shape == (4, 8, 8, 1)
    rate = metadata.learning_rate
    assert rate is not None and rate > 0 and rate != 0.03
    fingerprint = config_of(made.path)["experts"]["fingerprint"]
    assert re.fullmatch(r"[0-9a-f]{32}", fingerprint)
    assert metadata.configuration["experts"]["fingerprint"] == fingerprint
    assert "6 iterations; students start at uniform_epochs(2)" in made.outcome.out
    assert f"2 from {made.experts}, up to epoch 3" in made.outcome.out
    assert "step size" in made.outcome.out
    score = next(r for r in records(made.path / "metrics.jsonl") if "accuracy" in r)["score"]
    assert f"learning rate {rate}" in score["recipe"]


def test_a_whitened_set_carries_its_whitening(made, cli, tmp_path):
    distilled = DistilledSet.load(made.path / "set.safetensors")
    whitening = distilled.whitening
    assert whitening is not None and whitening.matrix.shape == (64, 64)
    np.testing.assert_allclose(whitening.matrix @ whitening.inverse, np.eye(64), atol=1e-4)
    assert distilled.metadata.mean == (0.0,) and distilled.metadata.std == (1.0,)
    # The start, real images, is still to be seen.
    assert 10 < distilled.pixels().mean() < 200
    assert "ZCA" in distilled.describe()["whitening"]
    assert (made.path / "grid.png").is_file()
    outcome = cli("evaluate", made.path, "--networks", 1, "--eval-epochs", 1, "--baseline", "none")
    assert outcome.code == 0, outcome.err
    assert f"learning rate {distilled.metadata.learning_rate}" in outcome.out
    again = distilled.save(tmp_path / "again.safetensors")
    assert again.read_bytes() == (made.path / "set.safetensors").read_bytes()


def test_a_stopped_run_ends_with_the_same_bits(made, tmp_path):
    path = tmp_path / "run"
    shorter = [word if word != "6" else "4" for word in made.arguments]
    assert called(*shorter, "--out", path).code == 0
    outcome = called(*made.arguments, "--out", path, "--resume")
    assert outcome.code == 0, outcome.err
    for name in ("set.safetensors", "set.json"):
        got, want = ((each / name).read_bytes() for each in (path, made.path))
        assert got == want, name


def test_the_same_experts_in_another_folder(made, tmp_path):
    moved = shutil.copytree(made.experts, tmp_path / "moved")
    arguments = [word if word != str(made.experts) else str(moved) for word in made.arguments]
    before = files(made.path)
    outcome = called(*arguments, "--out", made.path, "--resume")
    assert outcome.code == 0 and "is complete" in outcome.out, outcome.err
    assert files(made.path) == before
    repeat = ["distill", "--config", str(made.path), "--experts", str(moved)]
    assert called(*repeat, "--out", tmp_path / "repeated").code == 0
    paths = (made.path, tmp_path / "repeated")
    first, second = (DistilledSet.load(path / "set.safetensors") for path in paths)
    np.testing.assert_array_equal(first.images, second.images)


def test_without_experts_a_run_names_the_command_that_makes_them(
    cli, refused, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    outcome = cli("distill", "mtt", *NETWORK, *MTT)
    assert refused(
        outcome, "`jdd experts --data digits --classes 0 1 --width 4 --depth 1", "--experts"
    )
    assert "--epochs 3" in outcome.err and re.search(
        r"about \d:\d\d:\d\d on this machine", outcome.err
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        ("--width 8", ["have network.width 4, this run has 8", "jdd experts", "--width 8"]),
        ("--classes 1 2", ["have data.classes", "jdd experts"]),
        ("--max-start-epoch 3", ["have epochs 3, this run has 4", "--epochs 4"]),
        ("--expert-epochs 3", ["have epochs 3, this run has 4"]),
        ("--norm batch", ["norm", "BatchNorm", "--norm"]),
        ("--steps 0", ["steps must be at least 1, got 0", "--steps"]),
        ("--iterations 0", ["iterations must be at least 1, got 0", "--iterations"]),
        ("--step-size sgd(0.1)", ["of kind Optimizer, not StepSize", "--step-size"]),
        ("--labels hard", ["unknown choice 'hard'", "hard_labels", "--labels"]),
        ("--ipc 999", ["ipc", "smallest class", "--ipc"]),
        ("--synthetic multi_formation", ["pixels in [0, 1]", "zca", "--synthetic"]),
        ("--objective unroll(3)", ["must end in a scalar", "--objective"]),
        ("--networks 3", ["--networks"]),
    ],
)
def test_what_a_run_cannot_have_is_one_line(cli, refused, made, tmp_path, words, reasons):
    more = words.split()
    arguments = list(made.arguments)
    if more[0] in arguments:  # an option is given once
        at = arguments.index(more[0])
        arguments = arguments[:at] + arguments[at + len(more) :]
    arguments = [*arguments[:2], *more, *arguments[2:]]
    outcome = cli(*arguments, "--out", tmp_path / "run")
    assert refused(outcome, *reasons), outcome
    assert not (tmp_path / "run").exists()


def test_damaged_and_missing_experts_are_one_line(cli, refused, made, tmp_path):
    cut = shutil.copytree(made.experts, tmp_path / "cut")
    snapshots = cut / "snapshots.f32"
    snapshots.write_bytes(snapshots.read_bytes()[:-100])
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = made.arguments[:-1]
    for folder, words in (
        (cut, ["is cut", "jdd experts"]),
        (empty, ["there are no experts", "jdd experts"]),
        (tmp_path / "none", ["there are none", "jdd experts", "about"]),
    ):
        outcome = cli(*arguments, folder, "--out", tmp_path / "run")
        assert refused(outcome, *words, "--experts"), outcome


def test_another_methods_experts_are_refused(cli, refused, made):
    assert refused(cli("distill", "dm", *NETWORK, "--experts", made.experts), "--experts")


def test_a_run_that_explodes_keeps_its_last_good_set(made, tmp_path):
    more = ["--step-size", "raw_step_size(0.01)", "--step-size-rate", "1e+8"]
    outcome = called(*made.arguments, *more, "--out", tmp_path / "run")
    assert outcome.code == 1, outcome.err
    last = outcome.err.splitlines()[-1]
    assert "not finite" in last and "the last finite one, is in" in last
    distilled = DistilledSet.load(tmp_path / "run" / "set.safetensors")
    assert np.isfinite(distilled.images).all() and distilled.metadata.learning_rate is not None
