"""Losses under JAX's settings: float64, no rank promotion, NaN detection."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 4, 3, 5))
A[..., 0], B[..., 1], A[..., 2], B[..., 2] = 0, 0, 0, 0  # rows without a direction
LABELS = np.array([0, 4, 2])
SOFT = np.abs(B[0]) + 0.1


def tree(x: Any) -> dict[str, Any]:
    return {"kernel": x, "bias": x[0, 0]}


# name: (loss, in the first argument of which it is differentiated; the arguments)
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "layerwise_cosine": (losses.layerwise_cosine, (tree(A), tree(B))),
    "flat_cosine": (losses.flat_cosine, (tree(A), tree(B))),
    "flat_cosine of zeros": (losses.flat_cosine, (tree(0 * A), tree(B))),
    "squared_error": (losses.squared_error, (tree(A), tree(B))),
    "absolute_error": (losses.absolute_error, (tree(A), tree(B))),
    "mean_embedding": (losses.mean_embedding, (A, B[:, :2])),
    "feature_alignment": (
        lambda s, r: losses.feature_alignment(s, r, [0.5, 2.0]),
        ([A, A[..., 0]], [B[:, :2], B[:, :2, 0]]),
    ),
    "discrimination": (losses.discrimination, (A, B[:, :2])),
    "discrimination with weights": (
        lambda s, r, w: losses.discrimination(s, r, weights=w),
        (A, B, np.abs(A[..., 0]) + 1),
    ),
    "class_discrimination": (losses.class_discrimination, (A[0], B[0], 2)),
    "class_discrimination with weights": (
        losses.class_discrimination,
        (A[0], B[0], np.int64(2), SOFT[:, 0]),
    ),
    "cross_entropy": (lambda z, y: losses.cross_entropy(z, y).sum(), (A[0], LABELS)),
    "cross_entropy with soft labels": (
        lambda z, y: losses.cross_entropy(z, y).sum(),
        (A[0], SOFT),
    ),
}


@functools.cache
def reference(name: str) -> tuple[Any, Any]:
    """Value and gradient of a case under the default settings."""
    return jax.jit(jax.value_and_grad(CASES[name][0]))(*CASES[name][1])


@pytest.mark.parametrize("name", CASES)
def test_float64_is_kept_and_is_precise(name: str) -> None:
    loss, (first, *rest) = CASES[name]
    single, single_gradient = reference(name)
    with jax.enable_x64(True):
        first, rest = jax.tree.map(jnp.asarray, (first, rest))
        value, gradient = jax.value_and_grad(loss)(first, *rest)
        leaves = jax.tree.leaves(gradient)
        assert all(x.dtype == jnp.float64 for x in (value, *leaves))
        # Along a direction that leaves zero rows zero: the norms have a kink there.
        direction = jax.tree.map(lambda x: x * jnp.cos(jnp.arange(x.size)).reshape(x.shape), first)
        along = sum(jnp.vdot(g, d) for g, d in zip(leaves, jax.tree.leaves(direction), strict=True))

        def moved(step: float) -> float:
            return float(loss(jax.tree.map(lambda x, d: x + step * d, first, direction), *rest))

        h = 1e-6
        np.testing.assert_allclose(along, (moved(h) - moved(-h)) / (2 * h), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(single, value, rtol=2e-6)
    for x, y in zip(jax.tree.leaves(single_gradient), leaves, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "setting", [jax.numpy_rank_promotion("raise"), jax.debug_nans(True)], ids=["rank", "nan"]
)
def test_strict_settings_change_nothing(
    setting: AbstractContextManager[None], name: str, jit: bool
) -> None:
    loss, arguments = CASES[name]
    function = jax.value_and_grad(loss)
    with setting:
        value, gradient = (jax.jit(function) if jit else function)(*arguments)
    expected, expected_gradient = reference(name)
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    for x, y in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
