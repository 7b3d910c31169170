"""Lifting a chain over the class axis, stacked, summed or averaged: the one place that knows how classes are run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd.data.batch import Batch
from jdd.mapping import Over, check_over, mapped, summed
from jdd.matching.base import Context, Pair, Stage, is_scalar


def per_class(stage: Stage, *, over_classes: Over = None) -> Stage:
    r"""Applies a stage to each class of a class-stacked pair, each with a key of its own.

    A stage that ends in a scalar is *separable*: the result is :math:`\sum_c d_c`, and the
    derivative is computed class by class within the forward pass, so that memory does not grow with
    the number of classes. It exists for what is floating on the synthetic side (images, soft labels,
    weights), to first order; with respect to the network's parameters and the real side it is zero
    by definition. Otherwise the results are stacked along
    a leading class axis, and are differentiable as usual.

    Args:
      stage: sees ``Pair(Batch, Batch)`` of one class. Must be stateless.
      over_classes: "map", "vmap", or an int for that many classes at a time; None for "map"
        (``jdd.mapping``).

    Returns:
      A stage on a pair of class-stacked batches; the real side may be a ``jdd.data.Draw``, whose
      images are gathered one class at a time.

    Raises:
      ValueError: if over_classes is none of these, if the stage has a state, or (when applied) if
        the sides differ in their number of classes.

    >>> from jdd.matching import Context, Pair, stateless, value_of
    >>> count = stateless(lambda pair, context: pair.synthetic.images.sum())
    >>> batch = Batch(jnp.ones((3, 2, 1, 1, 1)), jnp.zeros((3, 2), int))
    >>> print(
    ...     value_of(
    ...         per_class(count), Pair(batch, batch), Context(lambda p, x: x, {}, jax.random.key(0))
    ...     )
    ... )
    6.0
    """
    _check("per_class", stage, over_classes)

    def apply(pair: Pair, state: Any, context: Context) -> tuple[Any, Any]:
        classes = _classes(pair)

        def over(function: Callable[[Array], Any]) -> Any:
            return mapped(function, classes, over_classes)

        def one(c: Array, synthetic: Batch, real: Any, context: Context) -> Any:
            value, _ = stage.apply(Pair(synthetic, real.of_class(c)), state, context.fold(c))
            return value

        shape = jax.eval_shape(one, jnp.int32(0), pair.synthetic.of_class(0), pair.real, context)
        if is_scalar(shape):
            return _separable(one, over, pair, context), state
        return over(lambda c: one(c, pair.synthetic.of_class(c), pair.real, context)), state

    return Stage(stage.init, apply)


def collective(stage: Stage, *, over_classes: Over = None) -> Stage:
    r"""The mean over classes of what a stage makes of each: DCC's *collective* signal.

    .. math:: \Big(\frac1C \sum_c f(S_c),\ \frac1C \sum_c f(R_c)\Big)

    As every class has equally many synthetic images, with ``f`` the gradient of the mean loss the
    synthetic part is the gradient over the whole synthetic set, in which the classes see each other:
    a distance of sums has the products between classes that a sum of distances has not. The sum is
    accumulated class by class; the derivative recomputes one class at a time. Memory does not
    grow with the number of classes, at the price of the synthetic forward pass once more.

    Args:
      stage: sees ``Pair(Batch, Batch)`` of one class, for example ``gradients()``. Must be
        stateless; any pytree may come out.
      over_classes: as in ``per_class``.

    Returns:
      A stage on a pair of class-stacked batches (the real side may be a ``jdd.data.Draw``), with
      the value of ``stage`` averaged over classes.

    Raises:
      ValueError: as ``per_class``.

    Reference: Lee, Chun, Jung, Yun, Yoon, "Dataset Condensation with Contrastive Signals", ICML
    2022; a mean as in its code, where the paper writes a sum.

    >>> from jdd.matching import Context, Pair, stateless, value_of
    >>> total = stateless(lambda pair, context: pair.synthetic.images.sum())
    >>> batch = Batch(jnp.ones((3, 2, 1, 1, 1)), jnp.zeros((3, 2), int))
    >>> context = Context(lambda p, x: x, {}, jax.random.key(0))
    >>> print(value_of(collective(total), Pair(batch, batch), context))
    2.0
    """
    _check("collective", stage, over_classes)

    def apply(pair: Pair, state: Any, context: Context) -> tuple[Any, Any]:
        classes = _classes(pair)

        def one(c: Array) -> Any:
            sides = Pair(pair.synthetic.of_class(c), pair.real.of_class(c))
            return stage.apply(sides, state, context.fold(c))[0]

        total = summed(jax.checkpoint(one, prevent_cse=False), classes, over_classes)
        return jax.tree.map(lambda x: x / classes.size, total), state

    return Stage(stage.init, apply)


def _check(name: str, stage: Stage, over_classes: Over) -> None:
    check_over("over_classes", over_classes)
    # The key is made inside: composing an objective starts no backend.
    if jax.tree.leaves(jax.eval_shape(lambda: stage.init(jax.random.key(0)))):
        raise ValueError(f"{name} needs a stage without state: put the stateful stage behind it")


def _classes(pair: Pair) -> np.ndarray:
    """The class indices of a pair whose sides have equally many. Never traced: a custom_vjp may not
    close over a tracer, and inside another loop even a constant of jax.numpy is one."""
    synthetic, real = pair.synthetic.num_classes, pair.real.num_classes
    if synthetic != real:
        raise ValueError(f"the synthetic side has {synthetic} classes, the real side {real}")
    return np.arange(synthetic, dtype=np.int32)


def _separable(one: Callable, over: Callable, pair: Pair, context: Context) -> Array:
    """The sum of ``one`` over classes, with its derivative taken class by class."""
    leaves, tree = jax.tree.flatten(pair.synthetic)
    floating = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def split(batch: Batch) -> tuple[list[Array], list[Array]]:
        pairs = list(zip(jax.tree.leaves(batch), floating, strict=True))
        return [x for x, is_float in pairs if is_float], [
            x for x, is_float in pairs if not is_float
        ]

    def join(moving: list[Array], fixed: list[Array]) -> Batch:
        sources = {True: iter(moving), False: iter(fixed)}
        return jax.tree.unflatten(tree, [next(sources[is_float]) for is_float in floating])

    # Everything that is traced comes as an argument: a custom_vjp may not close over tracers.
    @jax.custom_vjp
    def total(moving: list[Array], rest: Any) -> Array:
        fixed, real, context = rest
        synthetic = join(moving, fixed)
        return over(lambda c: one(c, synthetic.of_class(c), real, context)).sum()

    def forward(moving: list[Array], rest: Any) -> tuple[Array, list[Array]]:
        fixed, real, context = rest
        synthetic = join(moving, fixed)

        def value_and_gradient(c: Array) -> tuple[Array, list[Array]]:
            moving, fixed = split(synthetic.of_class(c))
            return jax.value_and_grad(lambda m: one(c, join(m, fixed), real, context))(moving)

        values, gradient = over(value_and_gradient)
        return values.sum(), gradient

    def backward(gradient: list[Array], cotangent: Array) -> tuple[list[Array], None]:
        return [cotangent * g for g in gradient], None

    total.defvjp(forward, backward)
    moving, fixed = split(pair.synthetic)
    return total(moving, (fixed, pair.real, context))
