"""Runs a method in dispatches of many steps, with stops between them. Prints and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

MOST_STEPS_PER_DISPATCH = 4096


class Report(NamedTuple):
    """One dispatch.

    Attributes:
      step: steps done after it.
      losses: of its steps, without those that did nothing; the last one if none did anything.
      updates: image updates in it.
      seconds: its duration.
    """

    step: int
    losses: np.ndarray
    updates: int
    seconds: float


class Hooks(NamedTuple):
    """What a run does between dispatches.

    Attributes:
      report: called with a ``Report`` after each dispatch with an image update, and after the last.
      at_stop: called with ``(step, state)`` at each stop and at the last step; also before the first
        dispatch, if the run starts at a stop.
      save: called with ``(step, state)`` when the state is to be saved.
      interrupted: returns whether the run is to stop.
    """

    report: Callable[[Report], None]
    at_stop: Callable[[int, Any], None]
    save: Callable[[int, Any], None]
    interrupted: Callable[[], bool]


class Stopped(Exception):
    """The run was interrupted; the state of ``step`` is saved."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.step = step


class Diverged(Exception):
    """A loss or the synthetic set is not finite, or a learned learning rate is not positive.

    Attributes:
      step: the first step whose loss is not finite, or the last step of the dispatch.
      good_step: the last step after which everything was finite, of those between dispatches.
      good: what ``decode`` returned for that step, as numpy arrays.
    """

    def __init__(self, step: int, good_step: int, good: Any, reason: str) -> None:
        super().__init__(f"{reason} at step {step}")
        self.step = step
        self.good_step = good_step
        self.good = good


class Pace:
    """How many steps to dispatch, so that a dispatch takes about ``seconds``.

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
        """Records the duration of a dispatch. Steps grow by 8 at most: the first dispatch is untypical."""
        fitting = steps * self._seconds / max(seconds, 1e-6)
        self._steps = max(1, int(min(fitting, 8 * steps)))


def is_finite(tree: Any) -> Array:
    """Whether all numbers of a tree of arrays are finite, as one bool on the device.

    >>> bool(is_finite({"images": jnp.ones(3)})), bool(is_finite([jnp.ones(3), jnp.inf]))
    (True, False)
    """
    return jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def run_steps(
    program: Callable[[Any, Any, int], tuple[Any, Any]],
    state: Any,
    table: Any,
    *,
    step: int,
    total: int,
    stops: Sequence[int],
    decode: Callable[[Any], Any],
    updates: Callable[[Any], int],
    hooks: Hooks,
    save_seconds: float,
    dispatch_seconds: float = 4.0,
) -> Any:
    """Runs a method from ``step`` to ``total``.

    The result is the same, bit for bit, however the steps are cut into dispatches.

    Args:
      program: from ``jdd.methods.advance``.
      state: the state after ``step`` steps; donated to the program.
      table: what a step receives.
      step: steps done before.
      total: steps of the whole run.
      stops: steps to stop at; the state is saved there.
      decode: ``decode(state)``, the synthetic set as a tree of arrays. After each dispatch a copy of it
        stays on the device, so that the last finite one can be returned on divergence.
      updates: ``updates(state)``, image updates so far; a step need not be one.
      hooks: what happens between dispatches.
      save_seconds: the time between two saves.
      dispatch_seconds: the duration of a dispatch to aim at.

    Returns:
      The last state.

    Raises:
      Stopped: if ``hooks.interrupted`` returned True; the state was saved before.
      Diverged: if a loss or the synthetic set is not finite.
    """

    @jax.jit
    def checked(state: Any) -> tuple[Any, Array]:
        synthetic_set = decode(state)
        # A copy, because the arrays of the state are donated to the next dispatch.
        return jax.tree.map(jnp.copy, synthetic_set), is_finite(synthetic_set)

    ends = sorted({stop for stop in stops if 0 <= stop <= total} | {total})
    pace = Pace(dispatch_seconds)
    saved_at = time.monotonic()
    good, before, last = checked(state)[0], updates(state), np.nan
    if step in ends:
        hooks.at_stop(step, state)
    while step < total:
        end = next(end for end in ends if end > step)
        n = pace.next(end - step)
        began = time.perf_counter()
        state, losses = program(state, table, n)
        synthetic_set, finite = checked(state)
        losses = np.asarray(losses)[:n]  # waits for the program
        seconds = time.perf_counter() - began
        bad = np.flatnonzero(~np.isfinite(losses))
        if len(bad) or not finite:
            bad_step = step + (int(bad[0]) + 1 if len(bad) else n)
            reason = "the loss is not finite" if len(bad) else _what_is_bad(synthetic_set)
            raise Diverged(bad_step, step, jax.device_get(good), reason)
        step, good = step + n, synthetic_set
        after = updates(state)
        done, before = after - before, after
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
    """The losses that differ from the one before; a step without an update repeats that loss."""
    different = losses[losses != np.append(last, losses[:-1])]
    return different if len(different) else losses[-1:]


def _what_is_bad(synthetic_set: Any) -> str:
    """What of a set that is not finite. A learned rate that is not positive is NaN here."""
    rate = getattr(synthetic_set, "learning_rate", None)
    if rate is not None and not np.isfinite(rate):
        return "the learned learning rate is not positive"
    return "the synthetic set is not finite"
