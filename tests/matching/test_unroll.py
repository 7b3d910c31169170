"""Unrolled students: strategies agree, minibatches in the original's order, other distances, memory, refusals."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import augment, losses, nn
from jdd.matching import (
    Context,
    Pair,
    Segment,
    SyntheticSet,
    Unrolled,
    add,
    chain,
    deep_layers,
    direct,
    distance,
    frozen,
    layerwise_cosine,
    remat,
    scale,
    squared_error,
    student_inputs,
    trajectory_distance,
    unroll,
    value_of,
)
from jdd.matching.trajectories import deep_part

CLASSES, N, VARIANTS = 3, 2, 2
# Parameters as a network's are, by layer.
START = {
    "conv0": {"kernel": jnp.linspace(-0.3, 0.4, 64).reshape(16, 4)},
    "classifier": {"kernel": jnp.linspace(0.5, -0.4, 12).reshape(4, CLASSES)},
}
TARGET = jax.tree.map(lambda x: x + 0.1 * jnp.cos(9 * x), START)
SEGMENT = Segment(START, TARGET)
# "direct" has no micro-batches; two of three images at a time leave one over.
STRATEGIES = {"direct": direct(), "remat": remat(), "micro-batches": remat(2), "frozen": frozen(2)}


def network(params: Any, images: jax.Array) -> jax.Array:
    hidden = jnp.tanh(images.reshape(len(images), -1) @ params["conv0"]["kernel"])
    return hidden @ params["classifier"]["kernel"]


def synthetic_set(variants: int = VARIANTS) -> SyntheticSet:
    images = jax.random.normal(jax.random.key(0), (CLASSES, N, variants, 4, 4, 1))
    labels = jnp.tile(jnp.arange(CLASSES)[:, None], (1, N))
    return SyntheticSet(images, labels, jnp.float32(0.2))


def context(**changes: Any) -> Context:
    return Context(network, START, jax.random.key(3), **changes)


@functools.cache
def gradients(strategy: str, steps: int = 4, batch_size: int | None = 4) -> Any:
    """Value and gradients of a distance, under an augmentation, with variants and ragged minibatches."""
    stage = unroll(steps, batch_size=batch_size, gradient=STRATEGIES[strategy])
    objective = chain(stage, trajectory_distance())
    under = context(augment=augment.dsa_augmentation("flip_scale"))

    @jax.jit
    def run(images: jax.Array, step_size: jax.Array) -> Any:
        def loss(images: jax.Array, step_size: jax.Array) -> jax.Array:
            made = synthetic_set()._replace(images=images, step_size=step_size)
            return value_of(objective, Pair(made, SEGMENT), under)

        return jax.value_and_grad(loss, (0, 1))(images, step_size)

    return run(synthetic_set().images, synthetic_set().step_size)


@pytest.mark.parametrize("strategy", ["remat", "micro-batches"])
def test_exact_strategies_agree(strategy):
    for got, want in zip(
        jax.tree.leaves(gradients(strategy)), jax.tree.leaves(gradients("direct")), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * float(np.abs(want).max()))
    assert float(gradients("direct")[0]) != 1.0


def test_the_frozen_strategy_is_an_approximation_after_the_first_step():
    exact, approximate = gradients("direct"), gradients("frozen")
    np.testing.assert_allclose(approximate[0], exact[0], rtol=1e-5)
    difference = np.linalg.norm(approximate[1][0] - exact[1][0]) / np.linalg.norm(exact[1][0])
    assert 1e-3 < difference < 1
    one = [gradients(strategy, steps=1)[1][0] for strategy in ("direct", "frozen")]
    np.testing.assert_allclose(*one, rtol=1e-5, atol=1e-7)
    assert not frozen().is_exact and remat().is_exact and direct().is_exact


def test_minibatches_go_by_in_passes_with_the_short_one_first():
    inputs = student_inputs(jax.random.key(0), 7, 3, 8, 3, jnp.float32)
    indices, weights = np.asarray(inputs.indices), np.asarray(inputs.weights)
    assert weights.sum(1).tolist() == [1, 3, 3, 1, 3, 3, 1, 3]
    passes = [indices[i : i + 3][weights[i : i + 3] > 0].tolist() for i in (0, 3)]
    assert [sorted(each) for each in passes] == [list(range(7))] * 2 and passes[0] != passes[1]
    assert set(np.asarray(inputs.variants).tolist()) <= {0, 1, 2}
    keys = np.asarray(jax.random.key_data(inputs.keys))
    assert len({tuple(key) for key in keys}) == 8
    even = student_inputs(jax.random.key(0), 6, 1, 5, 3, jnp.float32)
    assert even.weights is None and even.indices is not None and even.indices.shape == (5, 3)
    for all_images in (None, 6, 7):
        whole = student_inputs(jax.random.key(0), 6, 1, 5, all_images, jnp.float32)
        assert whole.indices is None and whole.weights is None


def test_one_step_is_the_gradient_step_of_one_variant():
    made = synthetic_set()
    student = value_of(unroll(1), Pair(made, SEGMENT), context()).student
    batches = made.images.reshape(-1, VARIANTS, 4, 4, 1)
    labels = made.labels.reshape(-1)

    def loss(params: Any, images: jax.Array) -> jax.Array:
        return losses.cross_entropy(network(params, images), labels).mean()

    steps = [jax.grad(loss)(START, batches[:, v]) for v in range(VARIANTS)]
    moved = [jax.tree.map(lambda p, g: p - 0.2 * g, START, step) for step in steps]
    errors = [
        max(
            np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (student, each)), strict=True)
        )
        for each in moved
    ]
    assert min(errors) < 1e-6 < max(errors)


def test_soft_labels_that_are_hard_change_nothing():
    made = synthetic_set()
    soft = made._replace(labels=jax.nn.one_hot(made.labels, CLASSES))
    values = [
        value_of(chain(unroll(3), trajectory_distance()), Pair(each, SEGMENT), context())
        for each in (made, soft)
    ]
    np.testing.assert_allclose(*values, rtol=1e-6)


def test_other_distances_and_weights_go_in():
    pair = Pair(synthetic_set(variants=1), SEGMENT)
    student = value_of(unroll(2), pair, context()).student
    for stage, want in (
        (squared_error(), losses.squared_error(student, TARGET)),
        (layerwise_cosine(), losses.layerwise_cosine(student, TARGET)),
        (distance(losses.absolute_error), losses.absolute_error(student, TARGET)),
    ):
        np.testing.assert_allclose(value_of(chain(unroll(2), stage), pair, context()), want)
    both = chain(unroll(2), add(trajectory_distance(), scale(0.5, squared_error())))
    want = losses.trajectory_distance(student, TARGET, START)
    want += 0.5 * losses.squared_error(student, TARGET)
    np.testing.assert_allclose(value_of(both, pair, context()), want, rtol=1e-6)


def test_shallow_layers_are_left_out_of_both_sides_of_the_ratio():
    pair = Pair(synthetic_set(variants=1), SEGMENT)
    student = value_of(unroll(2), pair, context()).student
    deep = (each["classifier"] for each in (student, TARGET, START))
    objective = chain(unroll(2), deep_layers(0.5), trajectory_distance())
    got = value_of(objective, pair, context())
    np.testing.assert_allclose(got, losses.trajectory_distance(*deep), rtol=1e-6)
    model = nn.convnet(2, (8, 8, 1), width=4, depth=3)
    params = jax.eval_shape(model.init, jax.random.key(0))["params"]
    assert sorted(deep_part(params, 0.25)) == ["classifier", "conv1", "conv2", "norm1", "norm2"]
    assert sorted(deep_part(params, 0.5)) == ["classifier", "conv2", "norm2"]
    assert sorted(deep_part(params, 0.0)) == sorted(params)
    assert list(deep_part({"dense0": 1, "conv0": 2, "classifier": 3}, 0.4)) == [
        "dense0",
        "classifier",
    ]


def temporaries(width: int, images: int, steps: int, strategy: Any) -> float:
    """MB of temporaries of a compiled gradient of images and step size."""
    model = nn.convnet(10, (32, 32, 3), width=width)
    params = jax.eval_shape(model.init, jax.random.key(0))["params"]
    function, _ = model.network({"params": params})
    objective = chain(unroll(steps, gradient=strategy), trajectory_distance())

    def loss(images: jax.Array, step_size: jax.Array, start: Any, target: Any, key: Any) -> Any:
        labels = jnp.tile(jnp.arange(10)[:, None], (1, images.shape[1]))
        pair = Pair(SyntheticSet(images, labels, step_size), Segment(start, target))
        return value_of(objective, pair, Context(function, start, key))

    shapes = jax.ShapeDtypeStruct((10, images // 10, 1, 32, 32, 3), jnp.float32)
    size, key = jax.ShapeDtypeStruct((), jnp.float32), jax.eval_shape(lambda: jax.random.key(0))
    lowered = jax.jit(jax.grad(loss, (0, 1))).lower(shapes, size, params, params, key)
    return lowered.compile().memory_analysis().temp_size_in_bytes / 1e6  # type: ignore[union-attr]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the figures are those of a CPU")
def test_memory_of_the_default_at_full_width():
    """1.3 MB of weights per step and little else: 49,500 MB where every activation is stored."""
    at_80 = temporaries(128, 100, 80, remat())
    assert at_80 < 250
    at_40 = temporaries(128, 100, 40, remat())
    assert 0.9 * 40 * 1.28 < at_80 - at_40 < 1.2 * 40 * 1.28


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: unroll(0), "steps must be at least 1, got 0"),
        (lambda: unroll(1.5), "steps must be a whole number of at least 1, got 1.5"),  # type: ignore[arg-type]
        (lambda: unroll(3, batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: unroll(3, gradient="remat"), "gradient must be of kind Unrolling or None"),  # type: ignore[arg-type]
        (lambda: unroll(3, loss=3), "unroll needs a function, got 3"),  # type: ignore[arg-type]
        (lambda: remat(0), "micro_batch must be at least 1, got 0"),
        (lambda: frozen(0), "micro_batch must be at least 1, got 0"),
        (lambda: deep_layers(1.0), "skipped must be at least 0 and below 1, got 1.0"),
        (
            lambda: deep_part([1], 0.5),
            "deep_layers needs parameters by name of the layer, got list",
        ),
        (
            lambda: value_of(unroll(1), Pair(1, 2), context()),
            r"unroll needs a Pair\(SyntheticSet, Segment\).*got int and int",
        ),
        (
            lambda: value_of(unroll(1), Pair(synthetic_set(), SEGMENT), context(coupled=True)),
            "unroll needs a network without BatchNorm",
        ),
        (
            lambda: value_of(trajectory_distance(), Pair(1, 2), context()),
            "trajectory_distance needs what unroll returns, got Pair",
        ),
    ],
)
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_an_unrolled_student_is_a_pair():
    unrolled = Unrolled(1, Segment(2, 3))
    assert (unrolled.synthetic, unrolled.real) == (1, 3)
