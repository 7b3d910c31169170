"""What a method is: pure init and step over a state that holds everything."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
from jax import Array

from jdd.data.table import ClassTable
from jdd.nn.model import Variables


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["synthetic", "optimizer", "objective", "network", "key", "step"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class MatchingState:
    """Everything a run is, so that saving it is saving the run.

    Attributes:
      synthetic: parameters of the synthetic set.
      optimizer: state of the optimiser that moves them (its momentum persists across networks).
      objective: state of the objective's stages.
      network: variables of the current network.
      key: typed PRNG key of the run, never changed: every step folds its number into it.
      step: int32, steps done.
    """

    synthetic: Any
    optimizer: Any
    objective: Any
    network: Variables
    key: Array
    step: Array


class Metrics(NamedTuple):
    """What a step reports: ``loss``, the matching loss, per class where it is a sum over classes."""

    loss: Array


class Schedule(Protocol):
    """How long a run is: ``Loops``, or ``QueryRule`` for networks that decide themselves."""

    @property
    def networks(self) -> int:
        """K, how many fresh random networks are visited."""
        ...

    @property
    def steps_per_network(self) -> int:
        """Steps of the method on each network."""
        ...

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        ...

    @property
    def unit(self) -> str:
        """What one step is, for reports."""
        ...

    def describe(self) -> str:
        """One line for reports."""
        ...


def _steps(state: Any) -> int:
    return int(state.step)


class Method(NamedTuple):
    """A method as two pure functions.

    Attributes:
      name: of the method.
      init: ``init(key, table) -> state``.
      step: ``step(state, table) -> (state, metrics)``.
      decode: ``decode(state) -> (images [C, m, H, W, ch], labels [C, m])``.
      loops: how long a run is; ``loops.total_steps`` steps are a whole one.
      updates: ``updates(state) -> int``, image updates so far, where a step need not be one.
      summary: ``summary(state) -> {name: number}``, what a run reports of its schedule besides; None
        where there is nothing to say.
    """

    name: str
    init: Callable[[Array, ClassTable], Any]
    step: Callable[[Any, ClassTable], tuple[Any, Metrics]]
    decode: Callable[[Any], tuple[Array, Array]]
    loops: Schedule
    updates: Callable[[Any], int] = _steps
    summary: Callable[[Any], dict[str, float]] | None = None
