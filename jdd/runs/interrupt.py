"""Stops a run, by the keyboard or by a scheduler, at a point where it can be resumed."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from jdd.runs.stderr import print_line


class Interrupt:
    """Within ``with``, the first SIGINT or SIGTERM sets ``asked``; the second ends the program.

    >>> with Interrupt() as interrupt:
    ...     interrupt.asked
    False
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Python lets only the main thread set handlers; a run in another thread is not interrupted.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print_line("stopping when the state is saved; once more to stop at once")
