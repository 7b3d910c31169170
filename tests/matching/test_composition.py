"""Combinators: keys, states, memory, and use without our networks or loops."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import matching
from jdd.data import Split, class_table, draw_indices
from jdd.data.batch import Draw
from jdd.matching import Batch, Context, Pair, Stage, stateless, value_of
from jdd.nn import convnet


def context(step=0, params=None):
    return Context(lambda w, x: x.reshape(len(x), -1) @ w, params, jax.random.key(0), step)


def batches(classes=3, ipc=2, real=4, side=4):
    syn, images = (
        jax.random.normal(jax.random.key(i), (classes, n, side, side, 1))
        for i, n in enumerate((ipc, real))
    )
    labels = jnp.arange(classes)[:, None]
    return Pair(Batch(syn, jnp.tile(labels, (1, ipc))), Batch(images, jnp.tile(labels, (1, real))))


def objective(**options):
    stages = matching.siamese("crop_cutout_flip"), matching.gradients(), matching.layerwise_cosine()
    return matching.per_class(matching.chain(*stages), **options)


def test_stages_of_a_chain_get_keys_of_their_own():
    draw = stateless(lambda value, c: [*value, float(jax.random.uniform(c.key))])
    first, second = value_of(matching.chain(draw, draw), [], context())
    assert first != second


def test_state_is_returned_never_stored():
    count = Stage(lambda key: 0, lambda value, state, c: (value, state + 1))
    twice = matching.chain(count, matching.add(count, count))
    state = twice.init(jax.random.key(0))
    value, after = twice.apply(1.0, state, context())
    assert (value, state, after) == (2.0, (0, (0, 0)), (1, (1, 1)))


def test_switch_keeps_the_state_of_the_other_stages():
    count = Stage(lambda key: jnp.int32(0), lambda value, state, c: (value, state + 1))
    stage = matching.switch(lambda step: step >= 5, count, count)
    _, state = stage.apply(1.0, stage.init(jax.random.key(0)), context(step=7))
    assert [int(s) for s in state] == [0, 1]


def test_incomplete_objectives_are_refused():
    pair = stateless(lambda value, c: Pair(value, value))
    with pytest.raises(ValueError, match="end in a scalar, stage 1 does not"):
        value_of(matching.add(stateless(lambda v, c: v), pair), 1.0, context())
    with pytest.raises(ValueError, match="scale needs a stage that ends in a scalar"):
        value_of(matching.scale(2.0, pair), 1.0, context())
    with pytest.raises(ValueError, match="chain needs at least one stage"):
        matching.chain()
    counter = Stage(lambda key: jnp.int32(0), lambda value, state, c: (value, state))
    with pytest.raises(ValueError, match="without state"):
        matching.per_class(counter)


@pytest.mark.parametrize("over", ["vamp", 0, -1])
def test_bad_strategies_over_classes_are_refused(over):
    with pytest.raises(ValueError, match="over_classes must be 'map', 'vmap' or a number"):
        objective(over_classes=over)


def test_unequal_numbers_of_classes_are_refused():
    pair = Pair(batches(3).synthetic, batches(4).real)
    with pytest.raises(ValueError, match="3 classes, the real side 4"):
        value_of(objective(), pair, context(params=jnp.ones((16, 4))))


@pytest.mark.parametrize("over_classes", ["vmap", 2])
def test_strategies_over_classes_agree(over_classes):
    pair, params = batches(), jax.random.normal(jax.random.key(9), (16, 3))

    def value_and_gradient(**options):
        def loss(images):
            syn = pair.synthetic._replace(images=images)
            return value_of(objective(**options), Pair(syn, pair.real), context(params=params))

        return jax.jit(jax.value_and_grad(loss))(pair.synthetic.images)

    for got, want in zip(
        value_and_gradient(over_classes=over_classes), value_and_gradient(), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_separable_gradient_equals_plain_autodiff():
    pair, params = batches(), jax.random.normal(jax.random.key(9), (16, 3))
    c = context(params=params)

    def plain(images):
        total = 0.0
        for k in range(3):
            syn, real = (b.of_class(k) for b in (pair.synthetic._replace(images=images), pair.real))
            stage = matching.chain(
                matching.siamese("crop_cutout_flip"),
                matching.gradients(),
                matching.layerwise_cosine(),
            )
            total += value_of(stage, Pair(syn, real), c.fold(k))
        return total

    def lifted(images):
        syn = pair.synthetic._replace(images=images)
        return value_of(objective(), Pair(syn, pair.real), c)

    np.testing.assert_allclose(
        jax.grad(lifted)(pair.synthetic.images), jax.grad(plain)(pair.synthetic.images), atol=1e-6
    )


def test_soft_labels_and_weights_of_the_synthetic_side_have_a_gradient():
    pair, params = batches(), jax.random.normal(jax.random.key(9), (16, 3))
    c = context(params=params)
    labels = jax.nn.softmax(jax.random.normal(jax.random.key(5), (3, 2, 3)))
    stage = matching.chain(matching.gradients(), matching.layerwise_cosine())

    def lifted(labels, weights):
        syn = Batch(pair.synthetic.images, labels, weights)
        return value_of(matching.per_class(stage), Pair(syn, pair.real), c)

    def plain(labels, weights):
        syn = Batch(pair.synthetic.images, labels, weights)
        return sum(
            value_of(stage, Pair(syn.of_class(k), pair.real.of_class(k)), c.fold(k))
            for k in range(3)
        )

    weights = jnp.array([[1.0, 2.0]] * 3)
    got = jax.grad(lifted, (0, 1))(labels, weights)
    for a, b in zip(got, jax.grad(plain, (0, 1))(labels, weights), strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_networks_that_are_not_finite_at_zero_survive_the_streaming():
    def network(params, x):
        x = x.reshape(len(x), -1)
        return (x / jnp.sqrt((x * x).sum(-1, keepdims=True))) @ params

    pair = batches(1, ipc=3, real=3)
    pair = Pair(pair.synthetic.of_class(0), pair.real.of_class(0))
    c = Context(network, jnp.ones((16, 3)), jax.random.key(0))
    stage = matching.chain(
        matching.gradients(real_micro_batch=2, synthetic_micro_batch=2), matching.squared_error()
    )
    gradient = jax.grad(
        lambda x: value_of(stage, Pair(pair.synthetic._replace(images=x), pair.real), c)
    )(pair.synthetic.images)
    assert np.isfinite(gradient).all()


def test_siamese_sees_the_same_op_at_different_batch_sizes():
    ones = Pair(*(Batch(jnp.ones((n, 8, 8, 1)), jnp.zeros(n, int)) for n in (2, 5)))
    for seed in range(8):
        c = Context(lambda p, x: x, {}, jax.random.key(seed))
        a, b = value_of(matching.siamese("crop_cutout"), ones, c)
        assert (a.images[0] == b.images).all()


def test_drawn_batches_equal_gathered_ones_and_short_classes_weigh_what_they_have():
    rng = np.random.default_rng(0)
    split = Split(
        rng.integers(0, 256, (7, 4, 4, 1), np.uint8), np.array([0, 0, 0, 0, 0, 1, 1], np.int32)
    )
    table = class_table(split, 2, (0.5,), (0.5,))
    draw = Draw(table, *draw_indices(jax.random.key(1), table, 5))
    params = jax.random.normal(jax.random.key(9), (16, 2))
    pair = value_of(
        matching.gradients(), Pair(draw.of_class(1), draw.of_class(1)), context(params=params)
    )
    images = (split.images[5:] / 255 - 0.5) / 0.5
    want = value_of(
        matching.gradients(),
        Pair(*[Batch(jnp.asarray(images, jnp.float32), jnp.ones(2, int))] * 2),
        context(params=params),
    )
    np.testing.assert_allclose(pair.real, want.real, atol=1e-6)


@pytest.mark.parametrize("micro", [1, 2, 3, 7])
def test_streaming_is_exact(micro):
    pair = batches(1, ipc=7, real=7)
    pair = Pair(pair.synthetic.of_class(0), pair.real.of_class(0))
    params = jax.random.normal(jax.random.key(9), (16, 3))

    def run(size):
        stages = matching.gradients(real_micro_batch=size, synthetic_micro_batch=size)
        stage = matching.chain(stages, matching.layerwise_cosine())

        def loss(images):
            syn = pair.synthetic._replace(images=images)
            return value_of(stage, Pair(syn, pair.real), context(params=params))

        return jax.value_and_grad(loss)(pair.synthetic.images)

    for got, want in zip(run(micro), run(100), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)


def test_memory_does_not_grow_with_classes_nor_with_the_real_batch():
    model = convnet(40, (16, 16, 1), width=8, depth=1)
    variables = model.init(jax.random.key(0))
    stages = matching.gradients(), matching.layerwise_cosine()
    objective = matching.per_class(matching.chain(*stages))

    def temporaries(classes, real):
        labels = np.arange(4000, dtype=np.int32) % classes
        split = Split(np.zeros((4000, 16, 16, 1), np.uint8), labels)
        table = class_table(split, classes, (0.5,), (0.5,))

        @jax.jit
        def step(images, variables, key):
            draw = Draw(table, *draw_indices(key, table, real))
            labels = jnp.tile(jnp.arange(classes)[:, None], (1, 2))
            network, params = model.network(variables)
            c = Context(network, params, key)
            return jax.value_and_grad(
                lambda x: value_of(objective, Pair(Batch(x, labels), draw), c)
            )(images)

        args = jnp.zeros((classes, 2, 16, 16, 1)), variables, jax.random.key(0)
        memory = step.lower(*args).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    few = temporaries(4, 32)
    image = 16 * 16 * 4
    # Ten times the classes: only the synthetic images and the draw itself may grow.
    assert temporaries(40, 32) < few + 36 * (2 * 4 * image) + 200_000
    # Four times the real images of one class: only those images.
    assert temporaries(4, 128) < few + 96 * 6 * image + 50_000


def test_the_objective_runs_on_any_function_of_params_and_images():
    pair = batches()

    def network(params, images):
        return jnp.tanh(images.reshape(len(images), -1) @ params["hidden"]) @ params["out"]

    params = {"hidden": jnp.ones((16, 5)), "out": jnp.ones((5, 3))}
    c = Context(network, params, jax.random.key(0))
    value = jax.jit(lambda c: value_of(objective(), pair, c))(c)
    assert np.isfinite(value)
