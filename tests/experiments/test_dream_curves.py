"""Curves of samplers: a run on the digits, and what is computed from its points."""

from __future__ import annotations

import json

import pytest

from jdd.data import boundary, central, representative, uniform
from jdd.methods import from_clusters
from jdd.synthetic import from_real

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("dream_curves")


def test_variants_differ_in_sampler_and_start(script):
    made = {name: make(1, data="digits") for name, make in script.RECIPES.items()}
    samplers = {name: recipe.sampler for name, recipe in made.items()}
    assert samplers == {
        "uniform": uniform(32),
        "dream": representative(32),
        "dream-plus": representative(32),
        "central": central(32),
        "boundary": boundary(32),
    }
    assert made["uniform"].initial == made["central"].initial == from_real()
    assert made["dream"].initial == from_clusters()
    assert len({recipe.optimizer for recipe in made.values()}) == 1


def test_a_curve_and_its_summary(script, tmp_path):
    words = "digits --ipc 1 --variants uniform --sets 1 --updates 2 1 --width 2 --eval-networks 1"
    arguments = [*words.split(), "--eval-epochs", "1", "--results", str(tmp_path)]
    run = script.cells.main
    assert run(script.__file__, "", script.Options, script.table, arguments) == 0
    folder = tmp_path / "dream_curves"
    name = "digits-ipc1-width2-updates2"
    cell = json.loads((folder / f"{name}-uniform-seed0.json").read_text())
    assert [point["updates"] for point in cell["points"]] == [0, 1, 2]
    seconds = [point["seconds"] for point in cell["points"]]
    assert seconds[0] == 0 and seconds == sorted(seconds)
    summary = json.loads((folder / f"{name}.json").read_text())
    assert summary["curves"]["uniform"]["updates"] == [0, 1, 2] and summary["savings"] == {}
    assert (folder / f"{name}.png").stat().st_size > 1000


def test_savings_are_where_the_last_accuracy_of_uniform_is_reached(script):
    curves = {
        "uniform": {"updates": [0, 100], "cpu_seconds": [0, 50], "accuracy": [0.2, 0.6]},
        "dream": {"updates": [0, 100], "cpu_seconds": [0, 100], "accuracy": [0.2, 1.0]},
        "central": {"updates": [0, 100], "cpu_seconds": [0, 100], "accuracy": [0.2, 0.5]},
    }
    assert script.savings(curves) == {
        "dream": {"updates": 2.0, "cpu_seconds": 1.0},
        "central": {"updates": None, "cpu_seconds": None},
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--updates 0", "--updates must be numbers of at least 1"),
        ("--width 0", "--width must be at least 1"),
        ("--sets 0", "--sets must be at least 1"),
    ],
)
def test_refusals(script, words, message, capsys):
    arguments = ["digits", *words.split()]
    assert script.cells.main(script.__file__, "", script.Options, script.table, arguments) == 2
    assert message in capsys.readouterr().err
