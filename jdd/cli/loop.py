"""The loop of a run: dispatches of many steps, with stops between them. Prints and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

MOST_STEPS_PER_DISPATCH = 4096


class Report(NamedTuple):
    """One dispatch.

    Attributes:
      step: steps done after it.
      losses: of its steps, but for those that did nothing; the last one where none did anything.
      updates: image updates in it.
      seconds: it took.
    """

    step: int
    losses: np.ndarray
    updates: int
    seconds: float


class Hooks(NamedTuple):
    """What a run does between dispatches.

    Attributes:
      report: called with each ``Report``: after a dispatch in which something was done, and at the end.
      at_stop: called with ``(step, state)`` at each stop, and at the last step; also for the step
        that the run starts at, if that is one.
      save: called with ``(step, state)`` when the state is to be kept.
      interrupted: whether somebody asked the run to stop.
    """

    report: Callable[[Report], None]
    at_stop: Callable[[int, Any], None]
    save: Callable[[int, Any], None]
    interrupted: Callable[[], bool]


class Stopped(Exception):
    """The run was asked to stop; ``step`` is saved."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.step = step


class Diverged(Exception):
    """A loss or an image is not finite.

    Attributes:
      step: the first step whose loss is not finite, or the last of the dispatch.
      good_step: the steps done when all was well.
      good: what ``keep`` gave then.
    """

    def __init__(self, step: int, good_step: int, good: Any) -> None:
        super().__init__(f"the loss is not finite at step {step}")
        self.step = step
        self.good_step = good_step
        self.good = good


class Pace:
    """How many steps to dispatch, so that a dispatch lasts about ``seconds``.

    >>> pace = Pace(4.0)
    >>> pace.next()
    1
    >>> pace.measured(1, 0.1)
    >>> pace.next(), pace.next(limit=3)
    (8, 3)
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._steps = 1

    def next(self, limit: int = MOST_STEPS_PER_DISPATCH) -> int:
        """The number of steps of the next dispatch."""
        return max(1, min(self._steps, limit, MOST_STEPS_PER_DISPATCH))

    def measured(self, steps: int, seconds: float) -> None:
        """Takes in how long a dispatch took. It grows by 8 at most: the first one is untypical."""
        wanted = steps * self._seconds / max(seconds, 1e-6)
        self._steps = max(1, int(min(wanted, 8 * steps)))


def run_steps(
    program: Callable[[Any, Any, int], tuple[Any, Any]],
    state: Any,
    table: Any,
    *,
    step: int,
    total: int,
    stops: Sequence[int],
    keep: Callable[[Any], np.ndarray],
    updates: Callable[[Any], int],
    hooks: Hooks,
    save_seconds: float,
    dispatch_seconds: float = 4.0,
) -> Any:
    """Runs a method from ``step`` to ``total``.

    How the steps are cut into dispatches changes no bit of the result.

    Args:
      program: ``jdd.methods.advance``'s.
      state: where it starts; given up to the program.
      table: the real set.
      step: steps that the state has done.
      total: steps of the whole run.
      stops: steps to stop at; the state is saved there.
      keep: ``keep(state)``, finite as long as all is well; the last good one survives divergence.
      updates: ``updates(state)``, image updates so far: what takes time, where some steps do nothing.
      hooks: what happens in between.
      save_seconds: how often to save.
      dispatch_seconds: how long a dispatch should last.

    Returns:
      The last state.

    Raises:
      Stopped: when ``hooks.interrupted`` says so, after saving.
      Diverged: when a loss, or what ``keep`` gives, is not finite.
    """
    ends = sorted({stop for stop in stops if 0 <= stop <= total} | {total})
    pace = Pace(dispatch_seconds)
    saved_at = time.monotonic()
    good, before, last = keep(state), updates(state), np.nan
    if step in ends:
        hooks.at_stop(step, state)
    while step < total:
        end = next(end for end in ends if end > step)
        n = pace.next(end - step)
        began = time.perf_counter()
        state, losses = program(state, table, n)
        losses = np.asarray(losses)[:n]  # the one host sync of a dispatch
        seconds = time.perf_counter() - began
        kept, bad = keep(state), np.flatnonzero(~np.isfinite(losses))
        if len(bad) or not np.isfinite(kept).all():
            raise Diverged(step + (int(bad[0]) + 1 if len(bad) else n), step, good)
        step, good = step + n, kept
        done, before = updates(state) - before, updates(state)
        if done:
            pace.measured(done, seconds)
        if done < n:
            losses = _of_updates(losses, last)
        if done or step == total:
            hooks.report(Report(step, losses, done, seconds))
        last = losses[-1]
        stopping = hooks.interrupted()
        if step == end or stopping or time.monotonic() - saved_at >= save_seconds:
            hooks.save(step, state)
            saved_at = time.monotonic()
        if stopping:
            raise Stopped(step)
        if step == end:
            hooks.at_stop(step, state)
    return state


def _of_updates(losses: np.ndarray, last: float) -> np.ndarray:
    """The losses that are not that of the step before, passed on by a step that did nothing."""
    found = losses[losses != np.append(last, losses[:-1])]
    return found if len(found) else losses[-1:]
