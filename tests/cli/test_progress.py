"""What a run says while it goes."""

from __future__ import annotations

import pytest

from jdd.cli.progress import Bar, Lines, Speed, duration, reporter


def test_speed_forgets():
    speed = Speed(1000)
    speed.measured(10, 10, 600.0)
    speed.measured(110, 100, 100.0)
    rate = float(speed.text().split()[0])
    assert 0.3 < rate < 1.0  # the slow ten minutes fade
    assert Speed(5).text() == ""


def test_steps_that_do_nothing_take_no_time():
    """A run that goes on at step 100, of networks of 50 steps, of which 10 take a second each."""
    speed = Speed(300, 100)
    speed.measured(110, 10, 10.0)
    assert speed.text() == "1.00 it/s, 3 min 10 s left"  # as if all would
    speed.measured(160, 10, 10.0)
    assert speed.text() == "1.00 it/s, 47 s left"  # 60 steps took 20 s, 140 are left


@pytest.mark.parametrize(("seconds", "text"), [(59.7, "1 min 00 s"), (3599.6, "1 h 00 min")])
def test_durations_carry_over(seconds, text):
    assert duration(seconds) == text


def test_lines_are_rare_and_on_stderr(capsys):
    with Lines(10, 0, "update") as lines:
        for step in range(1, 11):
            lines.steps(step, 1.5, 1, 0.1)
        for n in range(4):
            lines.training("evaluating", n, 3)
        lines.note("done")
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == ["update 10/10: loss 1.5, 10.00 it/s, 0 s left", "done"]


@pytest.mark.parametrize("total", [10, None])
def test_the_bar_runs(total, capsys):
    with Bar(total, 0, "update") as bar:
        bar.steps(10, 0.25, 10, 1.0)
        bar.training("evaluating", 1, 2)
        bar.training("evaluating", 2, 2)
        bar.note("[50%] as it is")
    assert "[50%] as it is" in capsys.readouterr().err


def test_no_bar_where_there_is_no_terminal():
    assert isinstance(reporter(10, 0), Lines)
