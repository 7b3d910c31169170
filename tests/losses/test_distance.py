"""Distances against the original's, and their behaviour at zero rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdd.losses import (
    absolute_error,
    flat_cosine,
    layerwise_cosine,
    mean_absolute_error,
    squared_error,
    trajectory_distance,
)

METRICS = {"ours": layerwise_cosine, "mse": squared_error, "cos": flat_cosine}


def to_ours(x):
    """PyTorch's layout to ours: the output unit is the last axis."""
    return {
        4: lambda: x.transpose(2, 3, 1, 0),
        3: lambda: x.transpose(1, 2, 0),
        2: lambda: x.T,
    }.get(x.ndim, lambda: x)()


def lists(arrays, case):
    n = len(arrays[f"case{case}.names"])
    return [
        [to_ours(arrays[f"case{case}.{side}.{i:02d}"]) for i in range(n)]
        for side in ("syn", "real")
    ]


@pytest.mark.parametrize("case", range(6))
@pytest.mark.parametrize("metric", METRICS)
def test_values(reference, case, metric):
    arrays = reference("distance")
    got = jax.jit(METRICS[metric])(*lists(arrays, case))
    want = arrays[f"case{case}.{metric}_f64"]
    # Identical lists (case 3) cancel: float32 leaves 1e-7 per row and 394 rows.
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-5 if case == 3 else 1e-7)


@pytest.mark.parametrize("case", [0, 1, 2, 5])
def test_layerwise_gradient(reference, case):
    arrays = reference("distance")
    syn, real = lists(arrays, case)
    got = jax.jit(jax.grad(layerwise_cosine))(syn, real)
    for i, leaf in enumerate(got):
        want = to_ours(arrays[f"case{case}.ours_grad_f64.{i:02d}"])
        assert np.linalg.norm(leaf - want) <= 1e-5 * np.linalg.norm(want) + 1e-12


@pytest.mark.parametrize("case", [0, 2, 5])
def test_flat_cosine_gradient(reference, case):
    arrays = reference("distance")
    syn, real = lists(arrays, case)
    got = jax.jit(jax.grad(flat_cosine))(syn, real)
    whole = np.sqrt(sum(np.sum(np.square(x)) for x in map(np.asarray, got)))
    for i, leaf in enumerate(got):
        want = to_ours(arrays[f"case{case}.cos_grad.{i:02d}"])
        assert np.linalg.norm(leaf - want) <= 1e-5 * whole


@pytest.mark.parametrize("loss", [*METRICS.values(), absolute_error, mean_absolute_error])
def test_zero_rows_give_no_nan_at_any_order(loss):
    zero = {"w": jnp.zeros((3, 2))}
    other = {"w": jnp.ones((3, 2))}
    for a, b in ((zero, other), (other, zero), (zero, zero)):
        gradient = jax.grad(loss)(a, b)
        second = jax.grad(
            lambda a, b=b: sum(jnp.sum(x) for x in jax.tree.leaves(jax.grad(loss)(a, b)))
        )(a)
        for tree in (gradient, second):
            assert all(np.isfinite(x).all() for x in jax.tree.leaves(tree))


def test_zero_row_counts_one_and_has_pytorchs_subgradient():
    a, b = jnp.zeros((3, 1)), jnp.full((3, 1), 2.0)
    assert layerwise_cosine([a], [b]) == 1
    np.testing.assert_allclose(jax.grad(layerwise_cosine)([a], [b])[0], -b / 1e-6)
    np.testing.assert_array_equal(jax.grad(layerwise_cosine)([b], [a])[0], 0 * b)


def test_half_precision_is_summed_in_float32():
    a = [jnp.full((4096, 1), 0.01, jnp.bfloat16)]
    assert squared_error(a, [jnp.zeros((4096, 1), jnp.bfloat16)]).dtype == jnp.float32


@pytest.mark.parametrize("loss", [*METRICS.values(), absolute_error, mean_absolute_error])
def test_unequal_trees_are_refused(loss):
    with pytest.raises(ValueError, match="same pytree structure"):
        loss({"a": jnp.ones((2, 2))}, {"b": jnp.ones((2, 2))})
    with pytest.raises(ValueError, match="equal shapes"):
        loss([jnp.ones((2, 2))], [jnp.ones((2, 3))])


@pytest.mark.parametrize("loss", [*METRICS.values(), absolute_error, mean_absolute_error])
def test_under_vmap(loss):
    a, b = jax.random.normal(jax.random.key(0), (2, 4, 3, 5))
    got = jax.vmap(lambda a, b: loss([a], [b]))(a, b)
    np.testing.assert_allclose(got, [loss([x], [y]) for x, y in zip(a, b, strict=True)], rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1.0, 100.0), rows=st.integers(1, 6))
def test_symmetry_scale_and_range(seed, factor, rows):
    a, b = (np.asarray(x) for x in jax.random.normal(jax.random.key(seed), (2, 5, rows)))
    for loss in (*METRICS.values(), absolute_error, mean_absolute_error):
        np.testing.assert_allclose(loss([a], [b]), loss([b], [a]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(loss([a], [a]), 0, atol=1e-4)
    # The cosines do not see a scale, up to eps; the errors see it once and twice.
    for loss, most in ((layerwise_cosine, 2 * rows), (flat_cosine, 2)):
        value = loss([a], [b])
        np.testing.assert_allclose(loss([factor * a], [b]), value, rtol=1e-3, atol=1e-3)
        assert -1e-5 <= value <= most + 1e-5
    scaled = factor * a, factor * b
    np.testing.assert_allclose(squared_error(*scaled), factor**2 * squared_error(a, b), rtol=1e-4)
    for error in (absolute_error, mean_absolute_error):
        np.testing.assert_allclose(error(*scaled), factor * error(a, b), rtol=1e-4)


def test_the_trajectory_distance_is_a_ratio_without_gradient_in_the_denominator():
    start = {"w": jnp.array([1.0, 2.0]), "b": jnp.array(0.5)}
    target = {"w": jnp.array([2.0, 0.0]), "b": jnp.array(1.5)}
    student = {"w": jnp.array([2.0, 1.0]), "b": jnp.array(0.5)}
    assert float(trajectory_distance(start, target, start)) == 1
    assert float(trajectory_distance(target, target, start)) == 0
    np.testing.assert_allclose(trajectory_distance(student, target, start), 2 / 6, rtol=1e-6)
    of_student, of_target, of_start = jax.grad(trajectory_distance, (0, 1, 2))(
        student, target, start
    )
    for leaf, step in zip(jax.tree.leaves(of_student), (-1 / 3, [0, 1 / 3]), strict=True):
        np.testing.assert_allclose(leaf, step, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(of_target["w"], -np.asarray(of_student["w"]))
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(of_start))
    with pytest.raises(ValueError, match="same pytree structure"):
        trajectory_distance(student, {"w": target["w"]}, start)
