"""What a method is: pure init and step over a state that holds everything."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from jdd.data import Batch, Data
from jdd.methods.motion import Net
from jdd.methods.recipe import Recipe
from jdd.nn import Model
from jdd.synthetic import Statistics


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        *("synthetic", "optimizer", "objective", "sampler", "network", "statistics"),
        *("loss", "key", "step", "updates"),
    ],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class State:
    """Everything a run is, so that saving it is saving the run.

    Attributes:
      synthetic: parameters of the synthetic set.
      optimizer: state of the optimiser that moves them (its momentum persists across networks).
      objective: state of the objective's stages.
      sampler: state of the sampler.
      network: the current network, with what lives as long as it and as long as the run.
      statistics: mean and std of the real set, so that decoding needs no table.
      loss: of the last update.
      key: typed PRNG key of the run, never changed: every step folds its number into it.
      step: int32, steps done.
      updates: int32, updates of the synthetic set so far; fewer than steps where queries replaced a
        network before it had all its updates.
    """

    synthetic: Any
    optimizer: Any
    objective: Any
    sampler: Any
    network: Net
    statistics: Statistics
    loss: Array
    key: Array
    step: Array
    updates: Array


class Metrics(NamedTuple):
    """What a step reports.

    Attributes:
      loss: the value of the objective before the update; that of the last update where a step has
        none.
    """

    loss: Array


class Method(NamedTuple):
    """A recipe on a model, as pure functions. `jdd.methods.build` makes it.

    Attributes:
      recipe: the choices.
      model: the network that is matched on.
      init: ``init(key, data) -> state``.
      step: ``step(state, data) -> (state, metrics)``; `Recipe.total_steps` of them are a whole run.
      decode: ``decode(state) -> Batch``, class-stacked and normalised: images ``[C, n, V, H, W, ch]``
        with V variants of each, labels ``[C, n]`` or probabilities ``[C, n, K]``.
      summary: ``summary(state) -> {name: number}`` of how long networks lasted; empty where that is fixed.
    """

    recipe: Recipe
    model: Model
    init: Callable[[Array, Data], State]
    step: Callable[[State, Data], tuple[State, Metrics]]
    decode: Callable[[State], Batch]
    summary: Callable[[State], dict[str, float]]
