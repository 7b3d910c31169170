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
from jdd.methods.trajectory_recipe import TrajectoryRecipe
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


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        *("synthetic", "optimizer", "objective", "labels", "average", "statistics"),
        *("loss", "key", "step", "updates"),
    ],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class TrajectoryState:
    """Everything a run is that matches trajectories.

    Attributes:
      synthetic: everything that is learned, by group: the groups of the parametrisation, ``step_size``, and
        ``labels`` where they are learned.
      optimizer: state of the optimiser that moves them.
      objective: state of the objective's stages.
      labels: logits of soft labels that are not learned; else ().
      average: moving average of the parametrisation's parameters; () for none.
      statistics: mean and std of the real set, so that decoding needs no table.
      loss: of the last iteration.
      key: typed PRNG key of the run, never changed: every iteration folds its number into it.
      step: int32, iterations done.
      updates: int32, those of them that were not skipped.
    """

    synthetic: dict[str, Any]
    optimizer: Any
    objective: Any
    labels: Any
    average: Any
    statistics: Statistics
    loss: Array
    key: Array
    step: Array
    updates: Array


class Learned(NamedTuple):
    """What a run leaves: all that its set is made of.

    Attributes:
      params: of the parametrisation.
      labels: probabilities ``[C, n, K]`` in place of hard labels; None where labels are those of the
        parametrisation.
      learning_rate: that was learned with the set; not finite where it is not positive. None where none was.
    """

    params: Any
    labels: Array | None = None
    learning_rate: Array | None = None


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
      init: ``init(key, data) -> state``, a `State` or a `TrajectoryState`.
      step: ``step(state, data) -> (state, metrics)``; ``recipe.total_steps`` of them are a whole run.
      decode: ``decode(state) -> Batch``, class-stacked and normalised: images ``[C, n, V, H, W, ch]``
        with V variants of each, labels ``[C, n]`` or probabilities ``[C, n, K]``.
      summary: ``summary(state) -> {name: number}`` of how long networks lasted, or how many iterations were
        skipped; empty where that is fixed.
      learned: ``learned(state)``, what the set of a run is made of.
    """

    recipe: Recipe | TrajectoryRecipe
    model: Model
    init: Callable[[Array, Data], Any]
    step: Callable[[Any, Data], tuple[Any, Metrics]]
    decode: Callable[[Any], Batch]
    summary: Callable[[Any], dict[str, float]]
    learned: Callable[[Any], Learned]
