"""Combinators: chain, add, scale, switch, when_coupled, over_networks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from numbers import Real
from typing import Any

import jax
from jax import Array

from jdd.choice import Choice, register
from jdd.matching.base import (
    Context,
    Stage,
    binding,
    check_stages,
    is_scalar,
    is_stateful,
)
from jdd.streaming import Over, check_over, summed

StepFunction = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Schedule(Choice):
    """A number as a function of the step, for `scale` and `switch`, that can be saved.

    Attributes:
      function: ``function(step) -> number``.
      check: ``check(networks, updates)`` raises a ``ValueError`` for a run whose steps it does not count,
        of so many networks with so many updates each.
    """

    function: StepFunction
    check: Callable[[int, int], None] = lambda networks, updates: None

    def __call__(self, step: Any) -> Any:
        return self.function(step)


@register
def chain(*stages: Stage) -> Stage:
    """Applies stages one after the other; each gets a key of its own.

    Args:
      *stages: at least one.

    Raises:
      ValueError: if there is no stage, or something else in place of one.

    >>> from jdd.matching import stateless, value_of
    >>> inc = stateless(lambda value, context: value + 1)
    >>> value_of(chain(inc, inc), 0, Context(lambda p, x: x, {}, jax.random.key(0)))
    2
    """
    _at_least_one("chain", stages)

    def apply(value: Any, state: Any, context: Context) -> tuple[Any, Any]:
        states = []
        for i, (stage, stage_state) in enumerate(zip(stages, state, strict=True)):
            value, stage_state = stage.apply(value, stage_state, context.fold(i))
            states.append(stage_state)
        return value, tuple(states)

    return Stage(_init_all(stages), apply, binding(chain, *stages))


@register
def add(*stages: Stage) -> Stage:
    """The sum of stages that all see the same value and each end in a scalar.

    Args:
      *stages: at least one.

    Raises:
      ValueError: if there is no stage, or something else in place of one; when applied, if one does not
        end in a scalar.

    >>> from jdd.matching import stateless, value_of
    >>> one = stateless(lambda value, context: value * 1.0)
    >>> value_of(add(one, scale(0.5, one)), 2.0, Context(lambda p, x: x, {}, jax.random.key(0)))
    3.0
    """
    _at_least_one("add", stages)

    def apply(value: Any, state: Any, context: Context) -> tuple[Any, Any]:
        total: Any = 0.0
        states = []
        for i, (stage, stage_state) in enumerate(zip(stages, state, strict=True)):
            term, stage_state = stage.apply(value, stage_state, context.fold(i))
            if not is_scalar(term):
                raise ValueError(f"add needs stages that end in a scalar, stage {i} does not")
            total = total + term
            states.append(stage_state)
        return total, tuple(states)

    return Stage(_init_all(stages), apply, binding(add, *stages))


@register
def scale(factor: float | StepFunction, stage: Stage) -> Stage:
    """Multiplies the scalar of a stage by a number, or by an optax schedule of the step.

    Args:
      factor: a number, or ``factor(step) -> number``.
      stage: ends in a scalar.

    Raises:
      ValueError: for something else in place of the factor or the stage; when applied, if the stage does
        not end in a scalar.

    >>> import optax
    >>> from jdd.matching import stateless, value_of
    >>> ramp = scale(optax.linear_schedule(0.0, 1.0, 10), stateless(lambda value, context: value))
    >>> print(value_of(ramp, 2.0, Context(lambda p, x: x, {}, jax.random.key(0), step=5)))
    1.0
    """
    check_stages("scale", stage)
    if not callable(factor) and not isinstance(factor, Real | Array):
        raise ValueError(f"scale needs a number or a function of the step, got {factor!r}")

    def apply(value: Any, state: Any, context: Context) -> tuple[Any, Any]:
        value, state = stage.apply(value, state, context)
        if not is_scalar(value):
            raise ValueError("scale needs a stage that ends in a scalar")
        return value * (factor(context.step) if callable(factor) else factor), state

    return Stage(stage.init, apply, binding(functools.partial(scale, factor), stage))


@register
def switch(index: StepFunction, *stages: Stage) -> Stage:
    """Runs one of several stages, chosen by a schedule of the step; only that one is computed.

    (Under ``vmap`` with different steps all of them are, as with every ``lax.switch``.)

    Args:
      index: ``index(step) -> int`` below the number of stages (clamped, as ``lax.switch`` does).
      *stages: at least one; all must return values of the same shapes.

    Raises:
      ValueError: if there is no stage, or something else in place of one or of the schedule.

    >>> from jdd.matching import stateless, value_of
    >>> late = switch(
    ...     lambda step: step >= 10, stateless(lambda v, c: v), stateless(lambda v, c: -v)
    ... )
    >>> print(value_of(late, 2.0, Context(lambda p, x: x, {}, jax.random.key(0), step=10)))
    -2.0
    """
    if not callable(index):
        raise ValueError(f"switch needs a function of the step first, got {index!r}")
    _at_least_one("switch", stages)

    def apply(value: Any, state: Any, context: Context) -> tuple[Any, Any]:
        def branch(i: int) -> Callable[[Any], tuple[Any, Any]]:
            def run(operands: Any) -> tuple[Any, Any]:
                value, state = operands
                value, changed = stages[i].apply(value, state[i], context.fold(i))
                return value, (*state[:i], changed, *state[i + 1 :])

            return run

        chosen = jax.numpy.asarray(index(context.step), jax.numpy.int32)
        return jax.lax.switch(chosen, [branch(i) for i in range(len(stages))], (value, state))

    return Stage(_init_all(stages), apply, binding(functools.partial(switch, index), *stages))


@register
def over_networks(stage: Stage, *, over: Over = None) -> Stage:
    r"""The mean of a scalar stage over the networks stacked in the context (``nn.stacked``).

    .. math:: \frac1k \sum_{i=1}^k L(\cdot\,; \theta_i)

    Every network meets the same key, so the same augmentation. (DM's paper samples one network per
    update; more of them give a less noisy gradient where a device has room.)

    Args:
      stage: ends in a scalar; stateless.
      over: how networks are run: "map", "vmap", or k at a time; None for "map" (``jdd.streaming``).

    Raises:
      ValueError: if over is no strategy, the stage has a state, or (when applied) does not end in a
        scalar.

    >>> import jax.numpy as jnp
    >>> from jdd.matching import stateless, value_of
    >>> first = stateless(lambda value, context: value * context.params)
    >>> context = Context(lambda p, x: x, jnp.array([1.0, 3.0]), jax.random.key(0))
    >>> print(value_of(over_networks(first), 2.0, context))
    4.0
    """
    check_over("over", over)
    check_stages("over_networks", stage)
    if is_stateful(stage):
        raise ValueError("over_networks needs a stage without state")

    def apply(value: Any, state: Any, context: Context) -> tuple[Any, Any]:
        def one(network: Any) -> Any:
            function, params = network
            each = dataclasses.replace(context, network=function, params=params)
            return stage.apply(value, state, each)[0]

        total = summed(one, (context.network, context.params), over)
        if not is_scalar(total):
            raise ValueError("over_networks needs a stage that ends in a scalar")
        return total / jax.tree.leaves(context.params)[0].shape[0], state

    return Stage(stage.init, apply)


@register
def when_coupled(coupled: Stage, independent: Stage) -> Stage:
    """Uses one stage where the samples of a batch influence each other, and another elsewhere.

    Which one is known when the program is compiled (``Context.coupled``): only that one is in it.

    Args:
      coupled: for networks with BatchNorm in training mode.
      independent: for all others.

    >>> from jdd.matching import stateless, value_of
    >>> stage = when_coupled(stateless(lambda v, c: -v), stateless(lambda v, c: v))
    >>> print(value_of(stage, 2.0, Context(lambda p, x: x, {}, jax.random.key(0))))
    2.0
    """
    check_stages("when_coupled", coupled, independent)

    def init(key: Array) -> tuple[Any, Any]:
        return coupled.init(jax.random.fold_in(key, 0)), independent.init(
            jax.random.fold_in(key, 1)
        )

    def apply(value: Any, state: Any, context: Context) -> tuple[Any, Any]:
        if context.coupled:
            value, after = coupled.apply(value, state[0], context)
            return value, (after, state[1])
        value, after = independent.apply(value, state[1], context)
        return value, (state[0], after)

    return Stage(init, apply, binding(when_coupled, coupled, independent))


def _init_all(stages: tuple[Stage, ...]) -> Callable[[Array], tuple[Any, ...]]:
    return lambda key: tuple(
        stage.init(jax.random.fold_in(key, i)) for i, stage in enumerate(stages)
    )


def _at_least_one(name: str, stages: tuple[Stage, ...]) -> None:
    if not stages:
        raise ValueError(f"{name} needs at least one stage")
    check_stages(name, *stages)
