"""A switch between image ops that runs only the chosen one, also under ``vmap`` and in gradients of any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

# Figures against lax.switch: docs/performance-choices.md, section "Augmentation".

Op = Callable[[Any, Array], Array]


def affine_switch(ops: Sequence[Op]) -> Callable[[Array, Any, Array], Array]:
    """A function that applies the op of a given number.

    Where ``vmap`` batches the index, ``lax.switch`` becomes a select between the outputs of *all* ops, and
    its gradient stores residuals for all of them. Here a batched index makes a loop over the batch with a
    switch as its body, and the gradient is another switch, between the transposed ops. Affine ops need
    no residuals except their parameters. Only reverse mode is possible, of any order; parameters get no
    gradient.

    Args:
      ops: functions ``op(parameters, x)``, affine in ``x``, with results of the shape of ``x``.

    Returns:
      ``(index, parameters, x) -> ops[index](parameters, x)``.

    >>> choose = affine_switch([lambda a, x: x + a, lambda a, x: x * a])
    >>> print(choose(jnp.array(1), jnp.array(2.0), jnp.array([3.0])))
    [6.]
    """
    if len(ops) == 1:
        return lambda index, parameters, x: ops[0](parameters, x)

    value = _switch(ops)
    linear_part = _switch([_linear_part(op) for op in ops])
    transpose = _switch([_transpose(op) for op in ops])

    @jax.custom_vjp
    def chosen(index: Array, parameters: Any, x: Array) -> Array:
        return value(index, parameters, x)

    @jax.custom_vjp
    def chosen_linear(index: Array, parameters: Any, x: Array) -> Array:
        return linear_part(index, parameters, x)

    @jax.custom_vjp
    def chosen_transpose(index: Array, parameters: Any, y: Array) -> Array:
        return transpose(index, parameters, y)

    # An outer gradient differentiates the forward pass of a rule, which therefore must call a function with a
    # rule. The rules of these three functions call only these three.
    def define(function: Any, adjoint: Any) -> None:
        function.defvjp(
            lambda index, parameters, x: (function(index, parameters, x), (index, parameters)),
            lambda residual, y: (None, None, adjoint(*residual, y)),
        )

    define(chosen, chosen_transpose)
    define(chosen_linear, chosen_transpose)
    define(chosen_transpose, chosen_linear)
    return chosen


def _linear_part(op: Op) -> Op:
    return lambda parameters, x: jax.jvp(lambda x: op(parameters, x), (jnp.zeros_like(x),), (x,))[1]


def _transpose(op: Op) -> Op:
    return lambda parameters, y: jax.vjp(lambda x: op(parameters, x), jnp.zeros_like(y))[1](y)[0]


def _switch(ops: Sequence[Op]) -> Callable[[Array, Any, Array], Array]:
    """``lax.switch`` over ``ops``, which becomes a loop under ``vmap``, not a select."""

    @custom_vmap
    def switch(index: Array, parameters: Any, x: Array) -> Array:
        return lax.switch(index, ops, parameters, x)

    @switch.def_vmap
    def _(axis_size: int, in_batched: list[Any], *args: Any) -> tuple[Array, bool]:
        del axis_size
        leaves, tree = jax.tree.flatten(args)
        batched = jax.tree.leaves(in_batched)
        if not in_batched[0]:
            axes = jax.tree.unflatten(tree, [0 if b else None for b in batched])[1:]
            return _switch([jax.vmap(op, in_axes=axes) for op in ops])(*args), True

        def body(mapped: list[Array]) -> Array:
            rest = iter(mapped)
            full = [next(rest) if b else leaf for b, leaf in zip(batched, leaves, strict=True)]
            return switch(*jax.tree.unflatten(tree, full))

        return lax.map(body, [leaf for b, leaf in zip(batched, leaves, strict=True) if b]), True

    return switch
