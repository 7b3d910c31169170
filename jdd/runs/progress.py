"""Progress of a run on stderr: a bar on a terminal, elsewhere a plain line every half minute."""

from __future__ import annotations

import datetime
import math
import sys
import time

from rich import progress as rich
from rich.console import Console

from jdd.runs.stderr import silence

_LINE_SECONDS = 30.0


class _Console(Console):
    """A console whose reader may go: rich would end the program."""

    def on_broken_pipe(self) -> None:
        silence()


class RunProgress(rich.Progress):
    """Shows the steps of a run with loss, speed and time left, and the networks of an evaluation.

    Args:
      total: steps of the run; None where there are no steps.
      step: steps done before.
      unit: the name of one step.
    """

    def __init__(self, total: int | None, step: int = 0, unit: str = "update") -> None:
        self._unit, self._last_line = unit, time.monotonic()
        self._clock = self._step_seconds = self._speed = 0.0
        console = _Console(stderr=True, markup=False, emoji=False, highlight=False)
        super().__init__(
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[text]}", markup=False),
            rich.TimeRemainingColumn(),
            console=console,
            disable=console.is_dumb_terminal or not sys.stderr.isatty(),
            get_time=lambda: self._clock,
            # By the mean of all steps, because some do nothing (after a network is left early).
            speed_estimate_period=math.inf,
        )
        self._steps = self.add_task(f"{unit}s", True, total, step, total is not None, text="")
        self.advance(self._steps, 0)  # rich measures from the first sample on
        self._networks = self.add_task("", visible=False, text="networks")

    def steps(self, step: int, loss: float, updates: int, seconds: float) -> None:
        """Shows the steps done, and loss, image updates and seconds of the latest dispatch."""
        # This clock stands still between dispatches: evaluations do not slow the steps down.
        self._clock = self._step_seconds = self._step_seconds + seconds
        self._speed = updates / max(seconds, 1e-9) if updates else self._speed
        text = f"loss {loss:.4g}, {self._speed:.2f} it/s"
        self.update(self._steps, completed=step, text=text)
        task = self.tasks[self._steps]
        text = f"{text}, {duration(task.time_remaining or 0)} left"
        self._line(f"{self._unit} {step}/{task.total}: {text}", at_once=step == task.total)

    def training(self, what: str, done: int, total: int) -> None:
        """Shows how many networks of an evaluation were trained."""
        self._clock = time.monotonic()
        state = {"description": what, "completed": done, "total": total, "visible": done < total}
        self.update(self._networks, **state)
        if done == total:
            self.reset(self._networks)
        elif done:
            self._line(f"{what}: {done}/{total} networks")

    def note(self, text: str) -> None:
        """Prints a line."""
        try:
            self.console.print(text, soft_wrap=True)
        except OSError:  # of a terminal that was closed
            silence()
        self._last_line = time.monotonic()

    def _line(self, text: str, *, at_once: bool = False) -> None:
        due = at_once or time.monotonic() - self._last_line >= _LINE_SECONDS
        if due and self.disable:
            self.note(text)


def duration(seconds: float) -> str:
    """A duration to read.

    >>> duration(40.2), duration(7260)
    ('0:00:40', '2:01:00')
    """
    return str(datetime.timedelta(seconds=round(seconds)))
