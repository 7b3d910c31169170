"""The network-matching loop (DC, DSA and what builds on them), as pure init and step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jdd.data.table import ClassTable
from jdd.matching import Stage
from jdd.methods.image_update import ImageUpdate
from jdd.methods.method import MatchingState, Method, Metrics
from jdd.methods.norm_policy import NormPolicy
from jdd.methods.schedule import Loops
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.synthetic import Parametrisation
from jdd.training import Augment, SGDRecipe, train_epochs
from jdd.validation import at_least

# Folded into the key that decodes for matching, to decode for training: no number that a split gives out.
_AFTER = 2**32 - 1


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
    rate: Callable[[Array], Any] | None = None,
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
      rate: ``rate(step)``, a factor on the optimiser's steps; None for 1.
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
    >>> method.loops.total_steps
    10
    """
    for option, value, least in (
        ("loops.networks", loops.networks, 1),
        ("loops.updates", loops.updates, 1),
        ("loops.net_epochs", loops.net_epochs, 0),
    ):
        at_least(option, value, least)
    update = ImageUpdate(
        name, model, objective, synthetic, start, optimizer, real_batch, norm_policy, rate
    )
    train = _training(update, loops, net_recipe or SGDRecipe(), net_augment)

    def step(state: MatchingState, table: ClassTable) -> tuple[MatchingState, Metrics]:
        keys = jax.random.split(jax.random.fold_in(state.key, state.step), 6)
        network = _network(keys[0], model, state.network, state.step, loops)
        state, value = update.apply(keys[1:5], dataclasses.replace(state, network=network), table)
        network = train(keys[5], jax.random.fold_in(keys[4], _AFTER), state)
        terms = jnp.where(is_sum_over_classes(state.step), table.num_classes, 1)
        after = dataclasses.replace(state, network=network, step=state.step + 1)
        return after, Metrics(value / terms)

    return Method(name, update.init, step, update.decode, loops)


def _network(key: Array, model: Model, network: Variables, step: Array, loops: Loops) -> Variables:
    """A fresh network at the first of its updates, the same one afterwards."""
    if loops.updates == 1:
        return model.init(key)
    return lax.cond(step % loops.updates == 0, lambda: model.init(key), lambda: network)


def _training(
    update: ImageUpdate, loops: Loops, recipe: SGDRecipe, augment: Augment | None
) -> Callable[[Array, Array, MatchingState], Variables]:
    """The network after its epochs on the synthetic set; as it is after its last update."""

    def train(key: Array, decode_key: Array, state: MatchingState) -> Variables:
        def trained() -> Variables:
            flat = update.flat_set(decode_key, state)
            epochs = loops.net_epochs
            return train_epochs(
                key, update.model, state.network, *flat, recipe, epochs=epochs, augment=augment
            )[0]

        if loops.updates == 1:
            return state.network
        last = state.step % loops.updates == loops.updates - 1
        return lax.cond(last, lambda: dict(state.network), trained)

    return train
