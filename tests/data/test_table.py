"""The class table: own class only, no repeats, uniform, unequal classes, inside jit and scan."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.data import table as table_module
from jdd.data.split import Split
from jdd.data.table import ClassTable, class_table, draw_indices, take

COUNTS = (10, 3, 7)


@pytest.fixture
def split() -> Split:
    images = np.random.default_rng(0).integers(0, 256, (sum(COUNTS), 4, 4, 1), np.uint8)
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(3), COUNTS)).astype(np.int32)
    return Split(images, labels)


@pytest.fixture
def table(split) -> ClassTable:
    return class_table(split, 3, (0.5,), (0.25,))


@functools.partial(jax.jit, static_argnames=("n", "steps"))
def many_draws(key, table, n, steps):
    """[steps, C, n] from a scan, as a training loop draws."""

    def step(key, _):
        key, now = jax.random.split(key)
        return key, draw_indices(now, table, n)

    return jax.lax.scan(step, key, None, length=steps)[1]


def test_images_are_sorted_by_class_and_keep_their_order(split, table):
    assert table.count.tolist() == list(COUNTS)
    assert table.start.tolist() == [0, 10, 13]
    assert (table.images.dtype, table.num_classes, table.largest) == (jnp.uint8, 3, 10)
    for c, (start, count) in enumerate(zip(table.start, table.count, strict=True)):
        own = split.images[split.labels == c]
        np.testing.assert_array_equal(table.images[start : start + count], own)


@pytest.mark.parametrize("n", [1, 3, 5, 12])
def test_own_class_without_repeats_and_weights(table, n):
    indices, weights = many_draws(jax.random.key(0), table, n, 50)
    assert (indices.shape, indices.dtype) == ((50, 3, n), jnp.int32)
    assert (weights.shape, weights.dtype) == ((50, 3, n), jnp.float32)
    for c, count in enumerate(COUNTS):
        kept = min(n, count)
        expected = np.broadcast_to(np.arange(n) < kept, (50, n))
        np.testing.assert_array_equal(weights[:, c], expected)
        drawn = np.asarray(indices[:, c, :kept]) - int(table.start[c])
        assert drawn.min() >= 0 and drawn.max() < count
        assert all(len(set(row)) == kept for row in drawn.tolist())
    assert int(indices.min()) >= 0 and int(indices.max()) < sum(COUNTS)


def test_marginals_are_uniform_at_every_place(table):
    steps, n = 4000, 2
    indices, _ = many_draws(jax.random.key(1), table, n, steps)
    for c, count in enumerate(COUNTS):
        for place in range(n):
            local = np.asarray(indices[:, c, place]) - int(table.start[c])
            frequency = np.bincount(local, minlength=count) / steps
            deviation = np.sqrt((1 / count) * (1 - 1 / count) / steps)
            np.testing.assert_allclose(frequency, 1 / count, atol=5 * deviation)


def test_all_subsets_are_equally_likely(table):
    steps = 4000
    indices, _ = many_draws(jax.random.key(2), table, 2, steps)
    pairs = np.sort(np.asarray(indices[:, 1]) - int(table.start[1]), axis=1).tolist()
    for pair in itertools.combinations(range(3), 2):
        assert pairs.count(list(pair)) / steps == pytest.approx(1 / 3, abs=5 * 0.0075)


def test_classes_are_drawn_independently():
    split = Split(np.zeros((40, 2, 2, 1), np.uint8), np.repeat(np.arange(2), 20).astype(np.int32))
    indices, _ = draw_indices(jax.random.key(0), class_table(split, 2, (0.5,), (0.5,)), 20)
    assert indices[0].tolist() != (indices[1] - 20).tolist()


def test_a_key_gives_one_draw_jitted_or_not_in_chunks_or_not(table, monkeypatch):
    key = jax.random.key(3)
    draw = jax.jit(draw_indices, static_argnums=2)
    expected = draw(key, table, 4)
    assert draw(jax.random.key(4), table, 4)[0].tolist() != expected[0].tolist()
    monkeypatch.setattr(table_module, "_CHUNK", 2 * table.largest)  # two classes, then one
    chunked = draw_indices(key, table, 4)
    for a, b in zip(expected, chunked, strict=True):
        np.testing.assert_array_equal(a, b)


def test_take_gathers_and_normalises(table):
    indices = jnp.array([[0, 5], [10, 12], [13, 19]])
    images = jax.jit(take)(table, indices)
    assert (images.shape, images.dtype) == ((3, 2, 4, 4, 1), jnp.float32)
    expected = (np.asarray(table.images)[np.asarray(indices)] / 255.0 - 0.5) / 0.25
    np.testing.assert_allclose(images, expected, atol=1e-6)


def test_a_class_that_is_absent_has_weight_zero(split):
    indices, weights = draw_indices(jax.random.key(0), class_table(split, 4, (0.5,), (0.25,)), 2)
    assert weights[3].tolist() == [0, 0]
    assert int(indices.max()) < len(split)


def test_images_stay_an_argument_of_the_program(table):
    program = jax.make_jaxpr(lambda key, t: take(t, draw_indices(key, t, 2)[0]))
    assert program(jax.random.key(0), table).consts == []
    leaves = jax.tree.leaves(table)
    assert len(leaves) == 5 and all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_refusals(split):
    with pytest.raises(ValueError, match="labels run from 0 to 2, allowed are 0 to 1"):
        class_table(split, 2, (0.5,), (0.25,))
    with pytest.raises(ValueError, match="mean and std need 1 numbers each, got 3, 1"):
        class_table(split, 3, (0.5, 0.5, 0.5), (0.25,))
    with pytest.raises(ValueError, match="at least one image"):
        class_table(Split(split.images[:0], split.labels[:0]), 3, (0.5,), (0.25,))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        draw_indices(jax.random.key(0), class_table(split, 3, (0.5,), (0.25,)), 0)
