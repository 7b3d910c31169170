"""A run again by ``--config``, and a run that is continued: as another path, name or length."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jdd.artefact import DistilledSet
from tests.cli.conftest import Run, files

SETS = ("set.safetensors", "set.json", "grid.png")


@pytest.fixture
def world(tmp_path, monkeypatch, npz_run: Run) -> Path:
    """Another folder, with the run as ``run`` and its data as ``other.npz``."""
    shutil.copytree(npz_run.path, tmp_path / "run")
    shutil.copy(npz_run.path.parent / "mine.npz", tmp_path / "other.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_option(arguments: list[str], name: str, value: object) -> list[str]:
    """The arguments of a command with another value of an option."""
    i = arguments.index(name)
    return [*arguments[: i + 1], str(value), *arguments[i + 2 :]]


# Again by its config.json.


@pytest.mark.parametrize("place", ["run/config.json", "run"])
def test_a_run_is_repeated_from_its_config(cli, npz_run: Run, tmp_path, monkeypatch, place):
    monkeypatch.chdir(npz_run.path.parent)
    outcome = cli("distill", "--config", place, "--out", tmp_path / "again")
    assert outcome.code == 0, outcome.err
    for name in SETS:
        assert (tmp_path / "again" / name).read_bytes() == (npz_run.path / name).read_bytes(), name
    first, second = (
        json.loads((path / "config.json").read_text())
        for path in (npz_run.path, tmp_path / "again")
    )
    assert first["configuration"] == second["configuration"]
    assert second["command"] == f"jdd distill --config {place} --out {tmp_path / 'again'}"


def test_a_run_is_repeated_with_data_that_were_moved(cli, refused, world, npz_run: Run):
    absent = cli("distill", "--config", "run", "--out", "again")
    assert refused(absent, "npz:mine.npz: no such file", "(option --data)")
    assert not (world / "again").exists()
    outcome = cli("distill", "--config", "run", "--data", "npz:other.npz", "--out", "again")
    assert outcome.code == 0, outcome.err
    sets = [DistilledSet.load(path / SETS[0]) for path in (world / "again", npz_run.path)]
    assert sets[0].images.tobytes() == sets[1].images.tobytes()
    scores = [
        [
            {**score, "seconds": 0}
            for score in json.loads((path / "result.json").read_text())["scores"]
        ]
        for path in (world / "again", npz_run.path)
    ]
    assert scores[0] == scores[1]


def test_a_run_is_repeated_with_another_seed(cli, npz_run: Run, tmp_path, monkeypatch):
    monkeypatch.chdir(npz_run.path.parent)
    outcome = cli("distill", "--config", "run", "--seed", 1, "--out", tmp_path / "again")
    assert outcome.code == 0, outcome.err
    other = DistilledSet.load(tmp_path / "again" / SETS[0])
    assert other.metadata.seed == 1
    assert not np.array_equal(other.images, DistilledSet.load(npz_run.path / SETS[0]).images)


def test_a_finished_run_is_not_run_again_by_its_config(cli, refused, world):
    assert refused(cli("distill", "--config", "run", "--out", "run"), "already exists", "--out")
    before = files(world)
    data = ["--data", "npz:other.npz"]
    outcome = cli("distill", "--config", "run", *data, "--out", "run", "--resume")
    assert outcome.code == 0 and "is complete" in outcome.out
    other = cli("distill", "--config", "run", *data, "--out", "run", "--resume", "--seed", 2)
    assert refused(other, "has seed 0, not 2", "(option --config)")
    assert files(world) == before


def test_other_data_under_the_name_of_a_config_are_refused(cli, refused, world):
    with np.load("other.npz") as content:
        arrays = dict(content)
    arrays["x_train"][0, 0, 0, 0] ^= 1
    np.savez("mine.npz", **arrays)
    saved = json.loads((world / "run" / "config.json").read_text())
    outcome = cli("distill", "--config", "run", "--out", "again")
    assert refused(outcome, saved["configuration"]["data"]["fingerprint"], "differ", "--data")


# Continued.


@pytest.mark.parametrize("path", ["npz:other.npz", "npz:{world}/other.npz", "npz:./other.npz"])
def test_the_same_data_under_another_path_are_the_same_run(cli, world, npz_run: Run, path):
    before = files(world)
    arguments = with_option(npz_run.arguments, "--data", path.format(world=world))
    outcome = cli(*arguments, "--out", "run", "--resume")
    assert outcome.code == 0 and "is complete" in outcome.out, outcome
    assert files(world) == before


def test_other_data_under_the_same_name_are_another_run(cli, refused, world, npz_run: Run):
    with np.load("other.npz") as content:
        arrays = dict(content)
    arrays["x_train"][0, 0, 0, 0] ^= 1
    np.savez("mine.npz", **arrays)
    before = files(world)
    outcome = cli(*npz_run.arguments, "--out", "run", "--resume")
    assert refused(outcome, "has data.fingerprint", ", not ", "(option --data)"), outcome
    assert files(world) == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--classes", "1", "0"], ['data.classes [], not ["1", "0"]', "(option --classes)"]),
        (["--real-batch", "9"], ["recipe.sampler.n 8, not 9", "(option --real-batch)"]),
        (["--optimizer", "adam(1)"], ['optimizer "sgd", not "adam"', "(option --optimizer)"]),
        (["--strategy", "crop"], ['"no_augmentation", not "dsa_', "(option --augment)"]),
        (["--motion", "never()", "--updates", "2"], ["updates 1, not 2", "(option --updates)"]),
        (["--networks", "1"], ["recipe.networks 2, not 1", "(option --networks)"]),
        (["--eval-networks", "2"], ["evaluation.networks 1, not 2", "(option --eval-networks)"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_another_option_is_another_run(cli, refused, world, npz_run: Run, more, words):
    before = files(world)
    arguments = with_option(npz_run.arguments, "--data", "npz:other.npz")
    outcome = cli(*arguments, *more, "--out", "run", "--resume")
    assert refused(outcome, *words), outcome
    assert files(world) == before


def test_the_same_choices_in_other_words_are_the_same_run(cli, refused, world, npz_run: Run):
    arguments = with_option(npz_run.arguments, "--data", "npz:other.npz")
    i = arguments.index("--real-batch")
    words = ["--augment", "no_augmentation", "--sampler", "uniform(n=8)", "--real-batch", "8"]
    words += ["--optimizer", "sgd(1.0, 0.5)", "--initial", "from_real(repeat=False)"]
    same = [*arguments[:i], *arguments[i + 2 :], *words, "--strategy", ""]
    outcome = cli(*same, "--out", "run", "--resume")
    assert outcome.code == 0 and "is complete" in outcome.out, outcome
    # The protocol of the evaluation belongs to the strategy.
    outcome = cli(*same, "--strategy", "crop", "--out", "run", "--resume")
    assert refused(outcome, 'protocol.name "dsa, none", not "dsa, crop"', "(option --strategy)")


def test_a_finished_run_is_continued_with_more_networks(cli, world, npz_run: Run):
    arguments = with_option(npz_run.arguments, "--data", "npz:other.npz")
    longer = with_option(arguments, "--networks", 4)
    outcome = cli(*longer, "--out", "run", "--resume")
    assert outcome.code == 0 and "from update 2" in outcome.out, outcome
    assert "update 4/4" in outcome.err
    assert cli(*longer, "--out", "whole").code == 0
    for name in SETS:
        assert (world / "run" / name).read_bytes() == (world / "whole" / name).read_bytes(), name
    assert "is complete" in cli(*longer, "--out", "run", "--resume").out


@pytest.mark.parametrize("options", ["", ', "data": "mnist", "networks": 2'])
def test_a_run_begun_by_version_0_1_is_refused_with_that_reason(
    cli, refused, world, npz_run: Run, options
):
    config = f'{{"options": {{"method": "dm"{options}}}, "versions": {{"jdd": "0.1.0"}}}}'
    (world / "run" / "config.json").write_text(config)
    arguments = with_option(npz_run.arguments, "--data", "npz:other.npz")
    for command, option in (
        ([*arguments, "--out", "run", "--resume"], "--resume"),
        (["distill", "--config", "run", "--out", "again"], "--config"),
    ):
        outcome = cli(*command)
        assert refused(outcome, "run/config.json", "jdd 0.1", "cannot continue", option), outcome
    # Its set is still read.
    assert cli("show", "run").code == 0
