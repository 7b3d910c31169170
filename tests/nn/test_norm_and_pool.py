"""Instance norm and pooling: every derivative equals that of the plain formula."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jdd.nn.layers import EPSILON, average_pool, instance_norm, max_pool


def plain_norm(x, scale, bias):
    centred = x - x.mean((1, 2), keepdims=True)
    variance = jnp.square(centred).mean((1, 2), keepdims=True)
    return centred * lax.rsqrt(variance + EPSILON) * scale + bias


def plain_pool(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


def operands(rows, columns):
    keys = jax.random.split(jax.random.key(0), 3)
    x = 2 + 3 * jax.random.normal(keys[0], (3, rows, columns, 5), float)
    return x, *(jax.random.normal(k, (5,), float) for k in keys[1:])


def derivatives(block, arguments, order):
    """A scalar of the block's output, of its gradient, or of the gradient of that."""

    def scalar(*arguments):
        out = block(*arguments)
        return jnp.sum(jnp.sin(out + jnp.arange(out.size).reshape(out.shape)))

    of: Callable[..., Any] = scalar
    for _ in range(order - 1):
        of = functools.partial(_norm_of_gradient, of)
    return jax.grad(of, tuple(range(len(arguments))))(*arguments)


def _norm_of_gradient(scalar, *arguments):
    parts = jax.grad(scalar, tuple(range(len(arguments))))(*arguments)
    return jnp.stack([jnp.sum(jnp.sin(part)) for part in parts]).sum()


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (1, 2)])
def test_instance_norm_derivatives(order, rows, columns):
    with jax.enable_x64(True):
        arguments = operands(rows, columns)
        got = derivatives(instance_norm, arguments, order)
        wanted = derivatives(plain_norm, arguments, order)
        for ours, plain in zip(got, wanted, strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 7), (2, 3)])
def test_average_pool_derivatives(order, rows, columns):
    with jax.enable_x64(True):
        x = operands(rows, columns)[:1]
        np.testing.assert_allclose(average_pool(*x), plain_pool(*x), rtol=1e-14)
        got, wanted = derivatives(average_pool, x, order), derivatives(plain_pool, x, order)
        np.testing.assert_allclose(got[0], wanted[0], rtol=1e-12, atol=1e-14)


def plain_max(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 7), (2, 3)])
def test_max_pool_derivatives(rows, columns):
    with jax.enable_x64(True):
        x = operands(rows, columns)[:1]
        np.testing.assert_array_equal(max_pool(*x), plain_max(*x))
        for order in (1, 2):
            got, wanted = derivatives(max_pool, x, order), derivatives(plain_max, x, order)
            np.testing.assert_allclose(got[0], wanted[0], rtol=1e-12)


def test_among_equals_the_first_has_the_derivative_as_in_pytorch():
    blocks = np.array(
        [
            [[1, 1], [1, 1]],  # flat background
            [[0, 2], [2, 2]],
            [[0, 1], [3, 3]],
            [[-5, -5], [-7, -5]],
        ]
    )
    first = np.array(
        [[[1, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 0], [1, 0]], [[1, 0], [0, 0]]], np.float32
    )
    x = jnp.asarray(blocks[..., None], jnp.float32)
    np.testing.assert_array_equal(jax.grad(lambda x: max_pool(x).sum())(x)[..., 0], first)


@pytest.mark.parametrize("place", range(4))
def test_what_is_no_number_stays(place):
    block = jnp.arange(4.0).at[place].set(jnp.nan).reshape(1, 2, 2, 1)
    assert jnp.isnan(max_pool(block)).all()


def test_forward_mode_and_vmap():
    with jax.enable_x64(True):
        arguments = operands(4, 4)
        tangents = tuple(jnp.cos(a) for a in arguments)

        def block(norm, pool, *arguments):
            return pool(norm(*arguments))

        ours = functools.partial(block, instance_norm, average_pool)
        plain = functools.partial(block, plain_norm, plain_pool)
        for got, wanted in zip(
            jax.jvp(ours, arguments, tangents), jax.jvp(plain, arguments, tangents), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
        several = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), arguments)
        np.testing.assert_allclose(
            jax.vmap(ours)(*several)[1],
            ours(*jax.tree.map(lambda a: 2 * a, arguments)),
            rtol=1e-12,
        )
