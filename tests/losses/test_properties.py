"""What holds of the losses whatever the numbers: zero rows, order, scale, shifts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdd.losses import (
    absolute_error,
    cross_entropy,
    flat_cosine,
    layerwise_cosine,
    squared_error,
)

DISTANCES = [layerwise_cosine, flat_cosine, squared_error, absolute_error]
ROWS = 5  # output units: the last axis
seeds = st.integers(0, 2**32 - 1)
masks = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS).map(np.array)
properties = settings(max_examples=25, deadline=None)


def pair(seed: int, rows: int = ROWS) -> np.ndarray:
    return np.asarray(jax.random.normal(jax.random.key(seed), (2, 4, 3, rows)))


@properties
@given(seed=seeds, left=masks, right=masks)
def test_a_zero_row_adds_one_and_nothing_else(
    seed: int, left: np.ndarray, right: np.ndarray
) -> None:
    a, b = pair(seed)
    whole = layerwise_cosine([a * left], [b * right])
    there = left & right
    np.testing.assert_allclose(whole, layerwise_cosine([a * there], [b * there]), atol=1e-5)
    alone = sum(
        float(layerwise_cosine([a[..., [i]]], [b[..., [i]]])) for i in np.flatnonzero(there)
    )
    np.testing.assert_allclose(whole, (ROWS - there.sum()) + alone, atol=1e-5)
    gradient = jax.grad(lambda a: layerwise_cosine([a], [b * right]))(jnp.asarray(a * left))
    assert np.isfinite(gradient).all()
    # Nothing pulls a row towards zeros.
    assert not np.asarray(gradient)[..., ~right].any()


@pytest.mark.parametrize("loss", DISTANCES)
@properties
@given(seed=seeds, data=st.data())
def test_the_order_of_units_inputs_and_layers_does_not_matter(loss, seed: int, data) -> None:
    a, b = pair(seed)
    units = np.array(data.draw(st.permutations(range(ROWS))))
    inputs = np.array(data.draw(st.permutations(range(4))))
    value = loss([a, 2 * a], [b, b])
    mixed = [x[inputs][..., units] for x in (a, b)]
    np.testing.assert_allclose(loss([2 * mixed[0], a], [mixed[1], b]), value, rtol=1e-5, atol=1e-5)


@properties
@given(seed=seeds, factor=st.floats(0.01, 100.0))
def test_only_directions_count_for_the_cosines(seed: int, factor: float) -> None:
    a, b = pair(seed)
    np.testing.assert_allclose(layerwise_cosine([a], [-factor * a]), 2 * ROWS, atol=1e-2)
    np.testing.assert_allclose(flat_cosine([a], [-factor * a]), 2, atol=1e-2)
    # Each unit has a scale of its own for the layer-wise one, not for the flat one.
    scales = factor ** np.arange(ROWS)[::-1] ** 0.25
    by_unit = layerwise_cosine([a * scales], [b])
    np.testing.assert_allclose(by_unit, layerwise_cosine([a], [b]), atol=1e-2)
    # Biases and norm scales are no rows.
    with_bias = layerwise_cosine([a, a[0, 0]], [b, b[0, 0] * factor])
    np.testing.assert_allclose(with_bias, layerwise_cosine([a], [b]), atol=1e-6)


@properties
@given(seed=seeds)
def test_the_errors_see_differences_only(seed: int) -> None:
    a, b = pair(seed)
    zero = np.zeros_like(a)
    for loss, norm in ((squared_error, np.square), (absolute_error, np.abs)):
        np.testing.assert_allclose(loss([a], [b]), norm(a - b).sum(), rtol=1e-5)
        np.testing.assert_allclose(loss([a + 1], [b + 1]), loss([a - b], [zero]), rtol=1e-4)


@properties
@given(
    seed=seeds,
    shift=st.floats(-50, 50),
    labels=st.lists(st.integers(0, ROWS - 1), min_size=4, max_size=4),
)
def test_cross_entropy(seed: int, shift: float, labels: list[int]) -> None:
    logits = 3 * jax.random.normal(jax.random.key(seed), (4, ROWS))
    hard = jnp.array(labels)
    value = cross_entropy(logits, hard)
    assert (value >= 0).all()
    np.testing.assert_allclose(cross_entropy(logits + shift, hard), value, atol=1e-4)
    soft = jax.nn.one_hot(hard, ROWS)
    np.testing.assert_allclose(cross_entropy(logits, soft), value, atol=1e-6)
    # Linear in the labels, and its gradient is p - q.
    other = jnp.full((4, ROWS), 1 / ROWS)
    mixed = cross_entropy(logits, 0.25 * soft + 0.75 * other)
    expected = 0.25 * value + 0.75 * cross_entropy(logits, other)
    np.testing.assert_allclose(mixed, expected, rtol=1e-5, atol=1e-5)
    gradient = jax.grad(lambda z: cross_entropy(z, soft).sum())(logits)
    np.testing.assert_allclose(gradient, jax.nn.softmax(logits) - soft, atol=1e-5)
