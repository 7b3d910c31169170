"""Progress of a run: a bar on a terminal, rare lines elsewhere, and a time left that is right."""

from __future__ import annotations

import io
import re
import sys

import pytest

from jdd.runs import progress
from jdd.runs.progress import RunProgress, duration


@pytest.fixture
def lines(capsys, monkeypatch):
    """Every line of a progress without a terminal, without waiting half a minute for each."""
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    return lambda: capsys.readouterr().err.splitlines()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Every line that was ever on the screen, without control codes."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue().replace("\r", "\n"))
        return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.fixture
def terminal(monkeypatch):
    """Makes stderr a terminal, when called: between a fixture and its test pytest changes stderr."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def start() -> Terminal:
        monkeypatch.setattr(sys, "stderr", screen := Terminal())
        return screen

    return start


def test_the_time_left_is_by_the_mean_of_all_steps(lines):
    with RunProgress(1000) as run:
        run.steps(10, 1.0, 10, 100.0)
        run.steps(110, 1.0, 100, 100.0)
    # 1.00 is the speed of the latest dispatch.
    assert lines() == [
        "update 10/1000: loss 1, 0.10 it/s, 2:45:00 left",
        "update 110/1000: loss 1, 1.00 it/s, 0:26:59 left",  # 890 * 200 / 110 seconds
    ]


def test_steps_that_do_nothing_take_no_time(lines):
    """A run resumed at step 100, of networks of 50 steps, of which 10 take a second each."""
    with RunProgress(300, 100, "step") as run:
        run.steps(110, 0.5, 10, 10.0)
        run.steps(160, 0.25, 10, 10.0)
    assert lines() == [
        "step 110/300: loss 0.5, 1.00 it/s, 0:03:10 left",  # as if every step took a second
        "step 160/300: loss 0.25, 1.00 it/s, 0:00:47 left",  # 60 steps took 20 s, 140 are left
    ]


def test_a_last_dispatch_without_updates_keeps_the_speed(lines):
    with RunProgress(20) as run:
        run.steps(10, 0.5, 10, 5.0)
        run.steps(20, 0.5, 0, 0.001)
    assert lines()[-1] == "update 20/20: loss 0.5, 2.00 it/s, 0:00:00 left"


def test_evaluations_in_between_do_not_count(lines, monkeypatch):
    with RunProgress(30) as run:
        run.steps(10, 0.5, 10, 10.0)
        start = progress.time.monotonic()  # it counts from the start of the machine
        for done, now in enumerate((start + 1000.0, start + 2000.0, start + 3000.0)):
            monkeypatch.setattr(progress.time, "monotonic", lambda now=now: now)
            run.training("evaluating", done, 2)
        run.steps(20, 0.5, 10, 10.0)
    assert lines()[-2:] == [
        "evaluating: 1/2 networks",
        "update 20/30: loss 0.5, 1.00 it/s, 0:00:10 left",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(59.7, "0:01:00"), (3599.6, "1:00:00")])
def test_durations_carry_over(seconds, text):
    assert duration(seconds) == text


def test_lines_are_rare_and_on_stderr(capsys):
    with RunProgress(10) as run:
        for step in range(1, 11):
            run.steps(step, 1.5, 1, 0.1)
        for n in range(4):
            run.training("evaluating", n, 3)
        run.note("done")
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == ["update 10/10: loss 1.5, 10.00 it/s, 0:00:00 left", "done"]


def test_the_bar_of_steps(terminal):
    screen = terminal()
    with RunProgress(300, 100, "step") as run:
        run.steps(110, 0.5, 10, 10.0)
        run.steps(160, 0.25, 10, 10.0)
        run.note("[50%] as it is :cat: " + 150 * "x")
    lines = screen.lines()
    assert "[50%] as it is :cat: " + 150 * "x" in lines
    assert re.fullmatch(r"steps .* 160/300 loss 0.25, 1.00 it/s 0:00:47", lines[-1]), lines


def test_the_bar_of_networks(terminal, monkeypatch):
    screen = terminal()
    with RunProgress(None) as run:
        for done, now in enumerate((0.0, 50.0, 60.0)):
            monkeypatch.setattr(progress.time, "monotonic", lambda now=now: now)
            run.training("[red] images", done, 8)
    lines = screen.lines()
    assert re.fullmatch(r"\[red\] images .* 2/8 networks 0:01:00", lines[-1]), lines
    assert not any("update" in line for line in lines)  # there are no steps


def test_the_bar_of_networks_goes_when_all_are_trained(terminal):
    screen = terminal()
    with RunProgress(10) as run:
        for what in ("first", "second"):
            for done in range(2):
                run.training(what, done, 2)
                run.refresh()
                assert re.fullmatch(rf"{what} .* {done}/2 +networks -:--:--", screen.lines()[-1])
            run.training(what, 2, 2)
            run.refresh()
            assert screen.lines()[-1].startswith("updates")
    assert screen.lines()[-1].startswith("updates")


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_no_bar_on_a_terminal_that_cannot_move_its_cursor(terminal, monkeypatch, term):
    monkeypatch.setenv("TERM", term)
    screen = terminal()
    with RunProgress(1) as run:
        run.steps(1, 0.5, 1, 1.0)
    assert screen.lines() == ["update 1/1: loss 0.5, 1.00 it/s, 0:00:00 left"]


def test_a_stderr_that_nobody_reads_does_not_end_the_program(without_reader, monkeypatch):
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.0)
    with RunProgress(10) as run:
        run.steps(1, 1.0, 1, 1.0)
        run.note("one")
        run.note("two")


def test_a_terminal_that_was_closed_does_not_end_the_program(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Closed())
    with RunProgress(10) as run:
        run.note("one")
        run.note("two")
