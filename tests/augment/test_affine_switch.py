"""The switch that stays a switch: values and gradients under every transformation, and what it executes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jdd.augment.affine_switch import affine_switch

MATRIX = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)) / 2, jnp.float32)
OPS = (
    lambda p, x: x + p["a"],
    lambda p, x: x * p["a"] + p["b"],
    lambda p, x: x @ MATRIX + p["b"],
)
INDEX = jnp.asarray([2, 0, 1, 1, 2])
PARAMETERS = {"a": jnp.linspace(0.5, 1.5, 5), "b": jnp.linspace(-1.0, 1.0, 5)}
X = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3, 4)), jnp.float32)

Chooser = Callable[[Array, Any, Array], Array]


def derivative(f: Chooser, order: int) -> Chooser:
    """The gradient with respect to x, of sums of sines, ``order`` times over."""
    if order == 0:
        return f
    inner = derivative(f, order - 1)
    return lambda index, p, x: jax.grad(lambda x: jnp.sum(jnp.sin(inner(index, p, x))))(x)


def python_choice(index: Array, p: Any, x: Array) -> Array:
    """What it must equal: an ordinary program in which the index is known."""
    return OPS[int(index)](p, x)


def expected(order: int) -> Array:
    f = derivative(python_choice, order)
    rows = [({k: v[i] for k, v in PARAMETERS.items()}, X[i]) for i in range(5)]
    return jnp.stack([f(index, *row) for index, row in zip(INDEX, rows, strict=True)])


def mapped(f: Chooser) -> Callable[..., Array]:
    return lambda *args: jax.lax.map(lambda a: f(*a), args)


@pytest.mark.parametrize("order", range(4))
@pytest.mark.parametrize("over", [jax.vmap, mapped])
def test_every_order_under_vmap_and_scan(over: Callable[..., Any], order: int) -> None:
    f = jax.jit(over(derivative(affine_switch(OPS), order)))
    np.testing.assert_allclose(f(INDEX, PARAMETERS, X), expected(order), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("over", [jax.vmap, mapped])
def test_every_order_of_a_vmap_and_a_scan(over: Callable[..., Any]) -> None:
    for order in (1, 2):
        f = jax.jit(derivative(over(affine_switch(OPS)), order))
        np.testing.assert_allclose(f(INDEX, PARAMETERS, X), expected(order), rtol=1e-4, atol=1e-4)


def test_without_jit_and_for_one_row() -> None:
    p = {k: v[0] for k, v in PARAMETERS.items()}
    for order in (0, 1):
        f = derivative(affine_switch(OPS), order)
        np.testing.assert_allclose(f(INDEX[0], p, X[0]), expected(order)[0], atol=1e-5)


def test_batched_images_or_batched_index_alone() -> None:
    f, p = derivative(affine_switch(OPS), 2), {k: v[0] for k, v in PARAMETERS.items()}
    plain = derivative(python_choice, 2)
    table = jnp.stack([jnp.stack([plain(i, p, x) for x in X]) for i in INDEX])
    images = jax.vmap(f, in_axes=(None, None, 0))
    np.testing.assert_allclose(jax.jit(images)(INDEX[0], p, X), table[0], atol=1e-5)
    index = jax.vmap(f, in_axes=(0, None, None))
    np.testing.assert_allclose(jax.jit(index)(INDEX, p, X[0]), table[:, 0], atol=1e-5)
    both = jax.vmap(images, in_axes=(0, None, None))
    np.testing.assert_allclose(jax.jit(both)(INDEX, p, X), table, atol=1e-5)
    both = jax.vmap(index, in_axes=(None, None, 0))
    np.testing.assert_allclose(jax.jit(both)(INDEX, p, X), table.swapaxes(0, 1), atol=1e-5)


RAN: Counter[int] = Counter()


def counted(number: int) -> Callable[[Any, Array], Array]:
    """An op that notes each time it is executed, once per row of a batch."""

    def op(p: Any, x: Array) -> Array:
        jax.debug.callback(lambda _: RAN.update([number]), p["a"])
        return OPS[number](p, x)

    return op


COUNTED = [counted(i) for i in range(3)]


def executed(f: Callable[..., Array]) -> list[int]:
    compiled = jax.jit(f).lower(INDEX, PARAMETERS, X).compile()
    RAN.clear()
    jax.block_until_ready(compiled(INDEX, PARAMETERS, X))
    jax.effects_barrier()
    return [RAN[i] for i in range(3)]


@pytest.mark.parametrize("over", [jax.vmap, mapped])
def test_only_the_chosen_ops_run(over: Callable[..., Any]) -> None:
    chosen = [1, 2, 2]
    assert executed(over(affine_switch(COUNTED))) == chosen
    # The gradient runs each chosen op twice: once for its value, once inside its transpose.
    assert executed(over(derivative(affine_switch(COUNTED), 1))) == [2 * n for n in chosen]
    # The second one transposes more, but still nothing that was not chosen.
    second = executed(over(derivative(affine_switch(COUNTED), 2)))
    assert second[0] > 0
    assert second == [second[0] * n for n in chosen]


def test_the_count_would_notice_a_select() -> None:
    bare = jax.vmap(lambda index, p, x: jax.lax.switch(index, COUNTED, p, x))
    assert executed(bare) == [5, 5, 5]


def test_one_op_needs_no_switch() -> None:
    p = {k: v[0] for k, v in PARAMETERS.items()}
    np.testing.assert_array_equal(affine_switch(OPS[2:])(jnp.int32(0), p, X), OPS[2](p, X))
