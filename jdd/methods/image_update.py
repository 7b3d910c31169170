"""One update of the synthetic images on a given network: what every loop over networks repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jdd.data.batch import Batch, Draw
from jdd.data.table import ClassTable, draw_indices
from jdd.matching import Context, Pair, Stage
from jdd.matching.base import is_scalar
from jdd.methods.method import MatchingState
from jdd.methods.norm_policy import NormPolicy, frozen_statistics
from jdd.nn import Model
from jdd.synthetic import Parametrisation
from jdd.validation import at_least

_State = TypeVar("_State", bound=MatchingState)

# A number that no step folds: a key of its own.
_DECODE = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class ImageUpdate:
    """Draws real images of every class and moves the synthetic parameters by one optimiser step.

    Attributes:
      name: of the method, for messages.
      model: the architecture.
      objective: ends in a scalar; sees a class-stacked synthetic ``Batch`` and a ``Draw``.
      synthetic: the parametrisation.
      start: ``start(key, table) -> images [C, n, H, W, ch]``.
      optimizer: moves the synthetic parameters.
      real_batch: real images per class, fewer where a class has fewer.
      norm_policy: for networks with BatchNorm; None for DC's, ``frozen_statistics(16)``.
      rate: ``rate(step)``, a factor on the optimiser's steps; None for 1.
    """

    name: str
    model: Model
    objective: Stage
    synthetic: Parametrisation
    start: Callable[[Array, ClassTable], Array]
    optimizer: optax.GradientTransformation
    real_batch: int = 256
    norm_policy: NormPolicy | None = None
    rate: Callable[[Array], Any] | None = None

    def __post_init__(self) -> None:
        at_least("real_batch", self.real_batch, 1)

    def init(self, key: Array, table: ClassTable) -> MatchingState:
        """The state before the first step.

        Raises:
          ValueError: if the table does not fit the network, or a class is without images.
        """
        check_fits(self.model, table)
        start_key, network_key, objective_key, run_key = jax.random.split(key, 4)
        params = self.synthetic.init(self.start(start_key, table))
        return MatchingState(
            params,
            self.optimizer.init(params),
            self.objective.init(objective_key),
            self.model.init(network_key),
            run_key,
            jnp.int32(0),
        )

    def apply(self, keys: Array, state: _State, table: ClassTable) -> tuple[_State, Array]:
        """One update on the state's network; counts no step.

        Args:
          keys: four: for statistics, real images, the objective, the decoding.
          state: of the run.
          table: the real set.

        Returns:
          The state, and the objective's value before the update.

        Raises:
          ValueError: if the objective does not end in a scalar.
        """
        statistics_key, draw_key, match_key, decode_key = keys
        policy, model = self.norm_policy or frozen_statistics(), self.model
        coupled = model.has_batch_stats and policy.coupled
        network = state.network
        if model.has_batch_stats:
            network = policy.prepare(statistics_key, model, network, table)
        apply, features, params = policy.bind(model, network)
        context = Context(apply, params, match_key, state.step, features=features, coupled=coupled)
        # Places of weight 0, where a class has fewer images, would count in a batch's statistics.
        most = table.smallest if coupled else table.largest
        real = Draw(table, *draw_indices(draw_key, table, min(self.real_batch, most)))

        def loss(synthetic_params: Any) -> tuple[Array, Any]:
            batch = Batch(*self.synthetic.decode(synthetic_params, decode_key))
            value, after = self.objective.apply(Pair(batch, real), state.objective, context)
            if not is_scalar(value):
                raise ValueError(f"the objective of {self.name} must end in a scalar, and does not")
            return value, after

        (value, objective), gradient = jax.value_and_grad(loss, has_aux=True)(state.synthetic)
        updates, optimizer = self.optimizer.update(gradient, state.optimizer, state.synthetic)
        if self.rate is not None:
            factor = self.rate(state.step)
            updates = jax.tree.map(lambda u: u * factor, updates)
        moved = optax.apply_updates(state.synthetic, updates)
        after = dataclasses.replace(
            state, synthetic=moved, optimizer=optimizer, objective=objective, network=network
        )
        return after, value

    def flat_set(self, key: Array, state: MatchingState) -> tuple[Array, Array]:
        """What a network trains on: images ``[N, H, W, ch]`` and their labels."""
        images, labels = self.synthetic.decode(state.synthetic, key)
        return images.reshape(-1, *images.shape[2:]), labels.reshape(-1, *labels.shape[2:])

    def decode(self, state: MatchingState) -> tuple[Array, Array]:
        """The synthetic set ``(images [C, m, H, W, ch], labels [C, m])``."""
        return self.synthetic.decode(state.synthetic, jax.random.fold_in(state.key, _DECODE))


def check_fits(model: Model, table: ClassTable) -> None:
    """Refuses a table of other classes or images than the network, or with an empty class."""
    shape = table.images.shape[1:]
    if (table.num_classes, shape) != (model.num_classes, model.image_shape):
        raise ValueError(
            f"{model.name} is for {model.num_classes} classes of images {model.image_shape}, "
            f"the real set has {table.num_classes} classes of images {shape}"
        )
    if table.smallest < 1:
        raise ValueError("every class needs real images, but a class of the table has none")
