"""Training experts on the device: several networks on the whole real set, some steps of an epoch per call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jdd.augment import Augmentation
from jdd.data import ClassTable, take
from jdd.data.batch import Batch
from jdd.experts.plan import ExpertPlan
from jdd.nn import Model
from jdd.training import SGD, Flatness, TrainingState, sgd_step
from jdd.training.sgd import after_milestones

# Folds of an expert's key.
_INIT, _TRAINING = 0, 1


class ExpertState(NamedTuple):
    """One expert in training; with a leading axis, several.

    Attributes:
      training: the network and its optimiser.
      rate: the learning rate.
      loss: summed over the steps of the epoch so far.
    """

    training: TrainingState
    rate: Array
    loss: Array


class Programs(NamedTuple):
    """Compiled functions of several experts, each with its key: ``[G]`` keys, G experts.

    Attributes:
      begin: ``begin(keys, rate) -> state``, before the first epoch, with the learning rate.
      advance: ``advance(keys, state, table, epoch, first, last) -> state`` does the steps ``first`` to
        ``last - 1`` of an epoch, all of whole minibatches; with the last one also that of the images
        that remain.
      snapshots: ``snapshots(state) -> [G, P]``, the flattened parameters.
    """

    begin: Callable[[Array, Array], ExpertState]
    advance: Callable[[Array, ExpertState, ClassTable, Array, Array, Array], ExpertState]
    snapshots: Callable[[ExpertState], Array]


def default_at_once() -> int:
    """How many experts are trained at once: 1 on a CPU, 8 elsewhere.

    On a CPU, ``vmap`` over weights makes grouped convolutions, which are several times slower (measured for
    two cores). Elsewhere 8 is a guess: it has not been measured.

    >>> default_at_once() in (1, 8)
    True
    """
    return 1 if jax.default_backend() == "cpu" else 8


def expert_key(plan: ExpertPlan, expert: int) -> Array:
    """The key of an expert: it depends on the seed and its number alone."""
    return jax.random.fold_in(jax.random.key(plan.seed), expert)


def steps_per_epoch(plan: ExpertPlan, images: int) -> int:
    """The calls' unit of an epoch: whole minibatches, with the remaining images as part of the last.

    >>> steps_per_epoch(ExpertPlan(1), 50_000)
    195
    """
    return max(1, images // plan.sgd.batch_size)


def programs(plan: ExpertPlan, model: Model) -> Programs:
    """The compiled functions of a plan; plans that differ in nothing compiled share them."""
    # A rate is no part of a program.
    sgd = plan.sgd._replace(learning_rate=1.0)
    return _programs(model, sgd, plan.augment, plan.flatness)


@functools.lru_cache(maxsize=8)
def _programs(model: Model, sgd: SGD, augment: Augmentation, flatness: Flatness | None) -> Programs:
    def begin(key: Array, rate: Array) -> ExpertState:
        variables = model.init(jax.random.fold_in(key, _INIT))
        return ExpertState(TrainingState.begin(variables, sgd), rate, jnp.zeros_like(rate))

    def step(key: Array, state: ExpertState, table: ClassTable, rows: Array) -> ExpertState:
        labels = jnp.searchsorted(table.start, rows, side="right").astype(jnp.int32) - 1
        training, loss = sgd_step(
            key,
            model,
            state.training,
            Batch(take(table, rows), labels),
            sgd,
            rate=state.rate,
            augment=None if augment.is_none else augment,
            flatness=flatness,
        )
        return state._replace(training=training, loss=state.loss + loss)

    def advance(
        key: Array, state: ExpertState, table: ClassTable, epoch: Array, first: Array, last: Array
    ) -> ExpertState:
        n = table.images.shape[0]
        size = min(sgd.batch_size, n)
        whole = n // size
        epoch_key = jax.random.fold_in(jax.random.fold_in(key, _TRAINING), epoch)
        # The order is drawn anew in every call, which costs less than to carry it.
        order = jax.random.permutation(jax.random.fold_in(epoch_key, 0), n).astype(jnp.int32)

        def begin_epoch(state: ExpertState) -> ExpertState:
            training, rate = after_milestones(state.training, state.rate, epoch, sgd)
            return ExpertState(training, rate, jnp.zeros_like(state.loss))

        def one(i: Array | int, state: ExpertState, length: int = size) -> ExpertState:
            rows = lax.dynamic_slice_in_dim(order, i * size, length)
            return step(jax.random.fold_in(epoch_key, i + 1), state, table, rows)

        state = lax.cond(first == 0, begin_epoch, lambda state: state, state)
        state = lax.fori_loop(first, last, one, state)
        if n % size:
            state = lax.cond(
                last == whole,
                lambda state: one(whole, state, n % size),
                lambda state: state,
                state,
            )
        return state

    def snapshot(state: ExpertState) -> Array:
        return ravel_pytree(state.training.variables["params"])[0]

    over_experts = (0, 0, None, None, None, None)
    return Programs(
        jax.jit(_each(begin, (0, None))),
        jax.jit(_each(advance, over_experts), donate_argnums=(1,)),
        jax.jit(_each(snapshot, (0,))),
    )


def _each(function: Callable[..., object], axes: tuple[int | None, ...]) -> Callable[..., Any]:
    """A function of one expert as one of several at once."""

    def of_all(*args: Any) -> Any:
        if len(jax.tree.leaves(args[0])[0]) > 1:
            return jax.vmap(function, axes)(*args)
        # Even over one expert, vmap would make grouped convolutions.
        first = [
            arg if axis is None else jax.tree.map(lambda x: x[0], arg)
            for arg, axis in zip(args, axes, strict=True)
        ]
        return jax.tree.map(lambda x: x[None], function(*first))

    return of_all
