"""The network-matching loop (DC, DSA and what builds on them), as pure init and step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jdd.data.batch import Batch, Draw
from jdd.data.table import ClassTable, draw_indices
from jdd.matching import Context, Pair, Stage
from jdd.matching.base import is_scalar
from jdd.methods.norm_policy import NormPolicy, frozen_statistics
from jdd.methods.schedule import Loops
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.numbers import at_least
from jdd.synthetic import Parametrisation
from jdd.training import Augment, SGDRecipe, train_epochs


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
      step: int32, image updates done.
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


class Method(NamedTuple):
    """A method as two pure functions.

    Attributes:
      name: of the method.
      init: ``init(key, table) -> state``.
      step: ``step(state, table) -> (state, metrics)``, one image update.
      decode: ``decode(state) -> (images [C, m, H, W, ch], labels [C, m])``.
      loops: the loop counts; ``loops.total_updates`` steps are a whole run.
    """

    name: str
    init: Callable[[Array, ClassTable], MatchingState]
    step: Callable[[MatchingState, ClassTable], tuple[MatchingState, Metrics]]
    decode: Callable[[MatchingState], tuple[Array, Array]]
    loops: Loops


def network_matching(
    name: str,
    *,
    model: Model,
    objective: Stage,
    synthetic: Parametrisation,
    start: Callable[[Array, ClassTable], Array],
    optimizer: optax.GradientTransformation,
    loops: Loops,
    real_batch: int = 256,
    net_recipe: SGDRecipe | None = None,
    net_augment: Augment | None = None,
    norm_policy: NormPolicy | None = None,
    is_sum_over_classes: Callable[[Array], Array | bool] = lambda step: True,
) -> Method:
    """Matches synthetic and real batches on a sequence of fresh networks.

    For each network: ``loops.updates`` times, draw real images of every class, move the synthetic
    parameters by one optimiser step against the objective's gradient (of the sum over classes), and
    train the network on the synthetic set for ``loops.net_epochs`` epochs, except after the last
    update. One ``step`` is one image update; all randomness is the run's key folded with the step.

    What BatchNorm does while gradients are matched is ``norm_policy``; while the network trains it is
    in training mode.

    Args:
      name: of the method.
      model: the architecture.
      objective: ends in a scalar; sees a class-stacked synthetic ``Batch`` and a ``Draw``.
      synthetic: the parametrisation.
      start: ``start(key, table) -> images [C, n, H, W, ch]``.
      optimizer: moves the synthetic parameters.
      loops: the loop counts.
      real_batch: real images per class and update, fewer where a class has fewer.
      net_recipe: SGD of the network; None for DC's (rate 0.01, no momentum, batch 256).
      net_augment: augmentation while the network trains.
      norm_policy: for networks with BatchNorm; None for DC's, ``frozen_statistics(16)``: a pass over
        16 real images per class before each update, then constants.
      is_sum_over_classes: whether at a step the objective is a sum over classes, which is then
        reported per class.

    Returns:
      The method.

    Raises:
      ValueError: if a batch or a loop count is below what it can be; from ``init``, if the table
        has other classes or images than the network, or a class without images; from ``step``, if
        the objective does not end in a scalar.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021. Deviation: the original visits K + 1 networks and
    evaluates before the last update; this loop visits K.

    >>> import functools
    >>> from jdd import methods, nn, synthetic
    >>> method = network_matching(
    ...     "own",
    ...     model=nn.convnet(10, (8, 8, 1)),
    ...     objective=methods.dsa_objective("crop"),
    ...     synthetic=synthetic.pixels,
    ...     start=functools.partial(synthetic.real, ipc=2),
    ...     optimizer=optax.adam(1e-2),
    ...     loops=methods.Loops(networks=10, updates=1, net_epochs=0),
    ... )
    >>> method.loops.total_updates
    10
    """
    for option, value, least in (
        ("real_batch", real_batch, 1),
        ("loops.networks", loops.networks, 1),
        ("loops.updates", loops.updates, 1),
        ("loops.net_epochs", loops.net_epochs, 0),
    ):
        at_least(option, value, least)
    recipe = net_recipe or SGDRecipe()
    policy = norm_policy or frozen_statistics()
    coupled = model.has_batch_stats and policy.coupled

    def init(key: Array, table: ClassTable) -> MatchingState:
        _check_fits(model, table)
        start_key, network_key, objective_key, run_key = jax.random.split(key, 4)
        params = synthetic.init(start(start_key, table))
        return MatchingState(
            params,
            optimizer.init(params),
            objective.init(objective_key),
            model.init(network_key),
            run_key,
            jnp.int32(0),
        )

    def step(state: MatchingState, table: ClassTable) -> tuple[MatchingState, Metrics]:
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), 6)
        fresh_key, statistics_key, draw_key, match_key, decode_key, train_key = keys
        update = state.step % loops.updates
        network = _network(fresh_key, state.network, update)
        if model.has_batch_stats:
            network = policy.prepare(statistics_key, model, network, table)
        apply, features, params = policy.bind(model, network)
        context = Context(apply, params, match_key, state.step, features=features, coupled=coupled)
        # Places of weight 0, where a class has fewer images, would count in a batch's statistics.
        most = table.smallest if coupled else table.largest
        real = Draw(table, *draw_indices(draw_key, table, min(real_batch, most)))

        def loss(synthetic_params: Any) -> tuple[Array, Any]:
            batch = Batch(*synthetic.decode(synthetic_params, decode_key))
            value, after = objective.apply(Pair(batch, real), state.objective, context)
            if not is_scalar(value):
                raise ValueError(f"the objective of {name} must end in a scalar, and does not")
            return value, after

        (value, objective_state), gradient = jax.value_and_grad(loss, has_aux=True)(state.synthetic)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.synthetic)
        moved = optax.apply_updates(state.synthetic, updates)
        after_key = jax.random.fold_in(decode_key, 1)
        network = _trained(train_key, network, synthetic.decode(moved, after_key), update)
        after = MatchingState(
            moved, optimizer_state, objective_state, network, state.key, state.step + 1
        )
        terms = jnp.where(is_sum_over_classes(state.step), table.num_classes, 1)
        return after, Metrics(value / terms)

    def _network(key: Array, network: Variables, update: Array) -> Variables:
        """A fresh network for the first of its updates."""
        if loops.updates == 1:
            return model.init(key)
        return lax.cond(update == 0, lambda: model.init(key), lambda: network)

    def _trained(
        key: Array, network: Variables, synthetic_set: tuple[Array, Array], update: Array
    ) -> Variables:
        """The network after its epochs on the synthetic set; as it is after its last update."""

        def train() -> Variables:
            images, labels = synthetic_set
            flat = images.reshape(-1, *images.shape[2:]), labels.reshape(-1, *labels.shape[2:])
            epochs = loops.net_epochs
            return train_epochs(
                key, model, network, *flat, recipe, epochs=epochs, augment=net_augment
            )[0]

        if loops.updates == 1:
            return network
        return lax.cond(update < loops.updates - 1, train, lambda: dict(network))

    def decode(state: MatchingState) -> tuple[Array, Array]:
        # A number that no step folds: a key of its own.
        return synthetic.decode(state.synthetic, jax.random.fold_in(state.key, 2**32 - 1))

    return Method(name, init, step, decode, loops)


def _check_fits(model: Model, table: ClassTable) -> None:
    shape = table.images.shape[1:]
    if (table.num_classes, shape) != (model.num_classes, model.image_shape):
        raise ValueError(
            f"{model.name} is for {model.num_classes} classes of images {model.image_shape}, "
            f"the real set has {table.num_classes} classes of images {shape}"
        )
    if table.smallest < 1:
        raise ValueError("every class needs real images, but a class of the table has none")
