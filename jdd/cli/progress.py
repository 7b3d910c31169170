"""How far a run is: a bar on a terminal, a line every half minute elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

_LINE_SECONDS = 30.0


class Reporter(Protocol):
    """What a run tells the user while it goes."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def steps(self, step: int, loss: float, updates: int, seconds: float) -> None:
        """Some steps were done: the count so far, their mean loss, how many did something, how long."""
        ...

    def training(self, what: str, done: int, total: int) -> None:
        """Networks of an evaluation were trained."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...


def reporter(total: int | None, step: int, unit: str = "update") -> Reporter:
    """The bar if stderr is a terminal, else lines; total is None where there are no steps."""
    return Bar(total, step, unit) if sys.stderr.isatty() else Lines(total or 0, step, unit)


class Speed:
    """Updates per second of the last minute or so, and the time that is left.

    Where some steps do nothing (those of a network that was left early), the time left goes by the
    mean of the whole run: how long one network lasts says little about the next.

    Args:
      total: steps of the run.
      step: steps done before.

    >>> speed = Speed(total=100)
    >>> speed.measured(step=20, updates=20, seconds=10.0)
    >>> speed.text()
    '2.00 it/s, 40 s left'
    """

    def __init__(self, total: int, step: int = 0) -> None:
        self._total = total
        self._start = self._step = step
        self._updates = self._seconds = 0.0
        self._all_seconds = 0.0
        self._idle = 0

    def measured(self, step: int, updates: int, seconds: float) -> None:
        """Takes in one dispatch; what lies a minute back counts half."""
        fading = 0.5 ** (seconds / 60)
        self._updates = fading * self._updates + updates
        self._seconds = fading * self._seconds + seconds
        self._all_seconds += seconds
        self._idle += step - self._step - updates
        self._step = step

    def text(self) -> str:
        """For example "2.00 it/s, 40 s left"."""
        if not self._updates:
            return ""
        seconds = self._seconds / self._updates
        each = self._all_seconds / (self._step - self._start) if self._idle else seconds
        left = duration((self._total - self._step) * each)
        return f"{1 / seconds:.2f} it/s, {left} left"


def duration(seconds: float) -> str:
    """A duration to read.

    >>> duration(40.2), duration(150), duration(7260)
    ('40 s', '2 min 30 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


class Bar:
    """A progress bar with loss, speed and time left."""

    def __init__(self, total: int | None, step: int, unit: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
        )
        self._speed = Speed(total or 0, step)
        visible = total is not None
        self._steps = self._progress.add_task(
            f"{unit}s", total=total, completed=step, visible=visible, text=""
        )
        self._networks: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def steps(self, step: int, loss: float, updates: int, seconds: float) -> None:
        self._speed.measured(step, updates, seconds)
        text = f"loss {loss:.4g}, {self._speed.text()}"
        self._progress.update(self._steps, completed=step, text=text)

    def training(self, what: str, done: int, total: int) -> None:
        if self._networks is None:
            self._networks = self._progress.add_task(what, total=total, text="networks")
        self._progress.update(self._networks, description=what, completed=done, total=total)
        if done == total:
            self._progress.remove_task(self._networks)
            self._networks = None

    def note(self, text: str) -> None:
        self._progress.console.print(text, soft_wrap=True, highlight=False, markup=False)


class Lines:
    """A plain line every half minute, for logs."""

    def __init__(self, total: int, step: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._speed = Speed(total, step)
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def steps(self, step: int, loss: float, updates: int, seconds: float) -> None:
        self._speed.measured(step, updates, seconds)
        if step == self._total or self._is_time():
            self.note(f"{self._unit} {step}/{self._total}: loss {loss:.4g}, {self._speed.text()}")

    def training(self, what: str, done: int, total: int) -> None:
        if 0 < done < total and self._is_time():
            self.note(f"{what}: {done}/{total} networks")

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
        self._last = time.monotonic()

    def _is_time(self) -> bool:
        return time.monotonic() - self._last >= _LINE_SECONDS
