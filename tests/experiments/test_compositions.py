"""Compositions: what each cell replaces in its preset, and the table of finished cells."""

from __future__ import annotations

import json

import pytest

from jdd.data import representative, uniform
from jdd.methods import PRESETS, sgd
from jdd.runs import Score
from jdd.synthetic import from_real, multi_formation, pixels

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

STD = (0.2, 0.4)


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("compositions")


@pytest.fixture(scope="module")
def options(options_of, script):
    return lambda words="": options_of(script, f"fashion_mnist {words}")


def test_a_base_as_it_is(script, options):
    made = script.recipe(options(), "dm", 1, "uniform", STD)
    base = PRESETS["dm"].recipe(1, data="fashion_mnist")
    assert made.networks == script.BUDGETS["dm"]["networks"] != base.networks
    assert (made.synthetic, made.sampler, made.optimizer) == (pixels, uniform(256), base.optimizer)


def test_tiles_and_representative_images(script, options):
    made = script.recipe(options("--networks 7"), "dsa", 2, "representative", STD)
    assert made.synthetic == multi_formation(2) and made.sampler == representative()
    # The rate of normalised pixels times the mean of std**2.
    assert made.optimizer == sgd(0.1 * 0.1, momentum=0.5) and made.networks == 7
    assert made.protocol == PRESETS["dsa"].recipe(1, data="fashion_mnist").protocol


def test_the_warm_up_of_dcc_follows_the_budget(script, options):
    made = script.recipe(options("--networks 8"), "dcc", 1, "uniform", STD)
    assert made.objective == PRESETS["dcc"].recipe(1, data="fashion_mnist", networks=8).objective


@pytest.mark.parametrize("factor", [1, 2])
def test_dream_plus_with_random_images(script, options, factor):
    made = script.recipe(options(), "dream-plus", factor, "uniform", STD)
    assert made.sampler == uniform(128) and made.initial == from_real()
    base = PRESETS["dream-plus"].recipe(1, data="fashion_mnist", factor=factor)
    assert made.synthetic == multi_formation(factor) and made.optimizer == base.optimizer
    assert (
        script.recipe(options(), "dream-plus", factor, "representative", STD).initial
        == base.initial
    )


def test_a_cell_and_its_row(script, tmp_path, monkeypatch, capsys):
    words = "digits --methods dm --factors 2 --samplers uniform --networks 1 --eval-networks 1 --eval-epochs 1"
    folders = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    arguments = [*words.split(), *folders]
    run = script.cells.main
    assert run(script.__file__, "", script.Options, script.table, arguments) == 0
    (folder,) = (tmp_path / "results" / "compositions").iterdir()
    assert folder.name == "digits-dm-factor2-uniform-ipc1-networks1-seed0"
    score = Score.read(json.loads((folder / "idc.json").read_text())["score"])
    assert score.protocol == "idc-no-flip, 1 epochs" and len(score.accuracies) == 1
    assert f"| {folder.name} | " in capsys.readouterr().out
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert run(script.__file__, "", script.Options, script.table, arguments) == 0
    assert before == {file: file.stat().st_mtime_ns for file in folder.iterdir()}
