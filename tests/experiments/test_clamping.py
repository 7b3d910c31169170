"""The experiment on IDC's clamping, on the digits."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs


@pytest.fixture(scope="module")
def run(load_script):
    """``run(words)``: the exit code of the experiment."""
    experiment, script = load_script("clamping"), load_script("benchmarks/script")
    return lambda words: script.main(
        experiment.__file__, "", experiment.Options, experiment.experiment, words
    )


@pytest.mark.slow
def test_writes_accuracies_and_pixels_of_every_way(run, tmp_path):
    short = "--networks 1 --updates 2 --width 4 --seeds 1 --eval-networks 1 --eval-epochs 1"
    assert run([*short.split(), "--results", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "clamping" / "digits.json").read_text())
    assert {"command", "seconds", "device", "versions"} <= set(content)
    assert content["command"].startswith("python experiments/clamping.py --networks 1 ")
    ways = content["clamped"]
    assert list(ways) == ["once for each network", "once, clamped at the end", "every update"]
    assert all(len(way["accuracies"]) == 1 for way in ways.values())
    (low, high), *_ = ways["every update"]["pixels"]
    assert 0 <= low < high <= 1 and ways["every update"]["outside"] == [0.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--eval-networks 0", "--eval-networks must be at least 1, got 0"),
        ("--ipc 1000", "the smallest class (140), got 4000"),
        ("--data digit", "did you mean 'digits'"),
    ],
)
def test_refusals(run, tmp_path, capsys, words, message):
    assert run([*words.split(), "--results", str(tmp_path / "results")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("clamping.py: error: ") and message in line
    assert not (tmp_path / "results").exists()
