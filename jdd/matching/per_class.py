"""Lifting a stage over the class axis: stacked, summed or averaged. How classes are run is chosen here alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero

from jdd.choice import register
from jdd.data.batch import Batch
from jdd.matching.base import Context, Pair, Stage, check_stages, is_scalar, is_stateful
from jdd.streaming import Over, check_over, mapped, mapped_and_summed, summed


@register
def per_class(stage: Stage, *, over_classes: Over = None) -> Stage:
    r"""Applies a stage to each class of a class-stacked pair, each with a key of its own.

    A stage that ends in a scalar is *separable*: the result is :math:`\sum_c d_c`, and the
    derivative is computed class by class within the forward pass, so that memory does not grow with
    the number of classes. It exists for what is floating on the synthetic side (images, soft labels,
    weights), also to second order (the Hessian in the images is exact). A derivative with respect
    to the network's parameters or the real side raises a ``ValueError``: apply
    ``jax.lax.stop_gradient`` to them first. A stage that does not end in a scalar is not separable:
    its results are stacked along a leading class axis and are differentiable as usual.

    Args:
      stage: sees ``Pair(Batch, Batch)`` of one class. Must be stateless.
      over_classes: "map", "vmap", or an int for that many classes at a time; None for that of the
        context, by default "map" (``jdd.streaming``).

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
        classes, context = _classes(pair), context.without_views()

        def one(c: Array, synthetic: Batch, shared: tuple[()], rest: Any) -> Any:
            real, context = rest
            value, _ = stage.apply(Pair(synthetic, real.of_class(c)), state, context.fold(c))
            return value

        rest = (pair.real, context)
        shape = jax.eval_shape(one, jnp.int32(0), pair.synthetic.of_class(0), (), rest)
        if is_scalar(shape):
            over = over_classes or context.over_classes
            return _separable(one, classes, over, pair.synthetic, (), rest), state

        def each(c: Array) -> Any:
            return one(c, pair.synthetic.of_class(c), (), rest)

        return mapped(each, classes, over_classes or context.over_classes), state

    return Stage(stage.init, apply)


@register
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

        over = over_classes or context.over_classes
        total = summed(jax.checkpoint(one, prevent_cse=False), classes, over)
        return jax.tree.map(lambda x: x / classes.size, total), state

    return Stage(stage.init, apply)


class OneOfAll(NamedTuple):
    """The synthetic side of one class, and of all: what an objective of `each_against_all` sees.

    Attributes:
      one: of the class whose real samples are on the other side.
      all: of all classes, with a leading class axis.
      index: int32, the class.
    """

    one: Any
    all: Any
    index: Array


@register
def each_against_all(stage: Stage, objective: Stage, *, over_classes: Over = None) -> Stage:
    r"""Real classes one by one, each against the synthetic sides of all, summed.

    .. math:: \sum_c d\big((f(S_k))_{k},\ f(R_c),\ c\big)

    First ``stage`` is applied to the synthetic sides, then to one real class at a time; both meet the
    same keys, so that a siamese augmentation is one. The derivative is accumulated within
    the loop over real classes: of the real side one class is in memory at a time. It exists for what is
    floating on the synthetic side, as in `per_class`. (With classes over devices, under ``shard_map``, all classes
    are those of the device.)

    Args:
      stage: sees ``Pair(Batch, Batch)`` of one class and ends in a pair whose sides do not depend on
        each other, for example ``chain(siamese(...), features())``. Must be stateless.
      objective: from ``Pair(OneOfAll, real value)`` to a scalar. Must be stateless.
      over_classes: as in ``per_class``.

    Returns:
      A stage from a class-stacked pair (the real side may be a ``jdd.data.Draw``) to a scalar.

    Raises:
      ValueError: as ``per_class``, or (when applied) if the stage does not end in a pair, or the
        objective not in a scalar.

    >>> from jdd.matching import Context, Pair, stateless, value_of
    >>> same = stateless(lambda pair, context: Pair(*(side.images.sum() for side in pair)))
    >>> product = stateless(lambda pair, context: pair.real * pair.synthetic.all.sum())
    >>> batch = Batch(jnp.ones((3, 2, 1, 1, 1)), jnp.zeros((3, 2), int))
    >>> context = Context(lambda p, x: x, {}, jax.random.key(0))
    >>> print(value_of(each_against_all(same, product), Pair(batch, batch), context))
    36.0
    """
    for part in (stage, objective):
        _check("each_against_all", part, over_classes)

    def apply(pair: Pair, state: Any, context: Context) -> tuple[Any, Any]:
        of_stage, of_objective = state
        context = context.without_views()
        classes, over = _classes(pair), over_classes or context.over_classes

        # Called twice, for one side each: the compiler takes the other one out.
        def sides(c: Array, pair: Pair, context: Context) -> Pair:
            of_class = Pair(pair.synthetic.of_class(c), pair.real.of_class(c))
            value, _ = stage.apply(of_class, of_stage, context.fold(0).fold(c))
            if not isinstance(value, Pair):
                raise ValueError("each_against_all needs a stage that ends in a pair")
            return value

        def term(c: Array, synthetic: Any, everyone: Any, rest: Any) -> Any:
            pair, context = rest
            seen = Pair(OneOfAll(synthetic, everyone, c), sides(c, pair, context).real)
            value, _ = objective.apply(seen, of_objective, context.fold(1).fold(c))
            if not is_scalar(value):
                raise ValueError("each_against_all needs an objective that ends in a scalar")
            return value

        synthetic = mapped(lambda c: sides(c, pair, context).synthetic, classes, over)
        # The synthetic side is constant where only the real side is computed.
        rest = pair._replace(synthetic=lax.stop_gradient(pair.synthetic)), context
        return _separable(term, classes, over, synthetic, synthetic, rest), state

    def init(key: Array) -> tuple[Any, Any]:
        return stage.init(jax.random.fold_in(key, 0)), objective.init(jax.random.fold_in(key, 1))

    return Stage(init, apply)


def _check(name: str, stage: Stage, over_classes: Over) -> None:
    check_over("over_classes", over_classes)
    check_stages(name, stage)
    if is_stateful(stage):
        raise ValueError(f"{name} needs a stage without state: put the stateful stage behind it")


def _classes(pair: Pair) -> np.ndarray:
    """The class indices of a pair whose sides have equally many. Never traced: a custom_vjp may not
    close over a tracer, and inside another loop even a constant of jax.numpy is one."""
    synthetic, real = pair.synthetic.num_classes, pair.real.num_classes
    if synthetic != real:
        raise ValueError(f"the synthetic side has {synthetic} classes, the real side {real}")
    return np.arange(synthetic, dtype=np.int32)


def _separable(
    one: Callable[[Array, Any, Any, Any], Array],
    classes: np.ndarray,
    over_classes: Over,
    stacked: Any,
    shared: Any,
    rest: Any,
) -> Array:
    """The sum over classes of ``one(c, stacked[c], shared, rest)``, its derivative taken class by class.

    It is taken with respect to what is floating in ``stacked``, of which every class has a part, and in
    ``shared``, where the classes add up.
    """
    stacked_moving, stacked_fixed, join_part = _floating(stacked)
    shared_moving, shared_fixed, join_shared = _floating(shared)

    def value(c: Array, part: Any, part_fixed: Any, moving: Any, fixed: Any, rest: Any) -> Any:
        return one(c, join_part(part, part_fixed), join_shared(moving, fixed), rest)

    def of_class(c: Array, *trees: Any) -> Any:
        return jax.tree.map(lambda x: x[c], trees)

    # Everything that is traced comes as an argument: a custom_vjp may not close over tracers.
    @jax.custom_vjp
    def total(stacked_moving: Any, shared_moving: Any, others: Any) -> Array:
        stacked_fixed, shared_fixed, rest = others

        def each(c: Array) -> Array:
            part, part_fixed = of_class(c, stacked_moving, stacked_fixed)
            return value(c, part, part_fixed, shared_moving, shared_fixed, rest)

        return mapped(each, classes, over_classes).sum()

    def forward(stacked_moving: Any, shared_moving: Any, others: Any) -> tuple[Array, Any]:
        if any(argument.perturbed for argument in jax.tree.leaves(others, is_leaf=_is_primal)):
            raise ValueError(
                "this objective has no derivative with respect to the network's parameters or the real "
                "side: apply jax.lax.stop_gradient to them, or do not end the stage in a scalar"
            )
        arguments = jax.tree.map(
            lambda argument: argument.value,
            (stacked_moving, shared_moving, others),
            is_leaf=_is_primal,
        )
        stacked_moving, shared_moving, (stacked_fixed, shared_fixed, rest) = arguments

        def value_and_gradient(c: Array) -> tuple[Any, Any]:
            part, part_fixed = of_class(c, stacked_moving, stacked_fixed)
            term, (of_part, of_shared) = jax.value_and_grad(
                lambda part, moving: value(c, part, part_fixed, moving, shared_fixed, rest), (0, 1)
            )(part, shared_moving)
            return (term, of_part), of_shared

        start = jax.tree.map(jnp.zeros_like, shared_moving)
        (terms, of_stacked), of_shared = mapped_and_summed(
            value_and_gradient, classes, start, over_classes
        )
        return terms.sum(), (of_stacked, of_shared)

    def backward(gradients: Any, cotangent: Any) -> tuple[Any, Any, None]:
        if isinstance(cotangent, SymbolicZero):
            cotangent = 0.0  # of whatever type the gradients have
        of_stacked, of_shared = jax.tree.map(lambda g: cotangent * g, gradients)
        return of_stacked, of_shared, None

    total.defvjp(forward, backward, symbolic_zeros=True)
    return total(stacked_moving, shared_moving, (stacked_fixed, shared_fixed, rest))


def _is_primal(x: Any) -> bool:
    return isinstance(x, CustomVJPPrimal)


def _floating(tree: Any) -> tuple[list[Array], list[Array], Callable[[Any, Any], Any]]:
    """The floating leaves of a tree, the others, and what puts two such lists together again."""
    leaves, structure = jax.tree.flatten(tree)
    is_floating = [jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves]

    def join(moving: list[Array], fixed: list[Array]) -> Any:
        sources = {True: iter(moving), False: iter(fixed)}
        return jax.tree.unflatten(structure, [next(sources[floats]) for floats in is_floating])

    pairs = list(zip(leaves, is_floating, strict=True))
    return [x for x, floats in pairs if floats], [x for x, floats in pairs if not floats], join
