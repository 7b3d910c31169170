"""Real classes one by one against all synthetic ones: as all at once, in the memory of one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses
from jdd.data import Draw, Split, class_table, draw_indices
from jdd.matching import (
    Batch,
    Context,
    Features,
    OneOfAll,
    Pair,
    Stage,
    add,
    chain,
    discrimination,
    each_against_all,
    feature_alignment,
    features,
    per_class,
    scale,
    siamese,
    stateless,
    value_of,
)
from jdd.methods import layer_features
from jdd.network_output import Output
from jdd.nn import convnet

CLASSES, IPC, REAL, SHAPE = 5, 2, 6, (8, 8, 1)
WEIGHTS = [0.5, 1.0, 2.0]


def network(params, images):
    hidden = jnp.tanh(images.reshape(len(images), -1) @ params)
    return Output(hidden, (images, hidden), jnp.square(hidden))


@pytest.fixture(scope="module")
def pair():
    def side(i, n):
        images = jax.random.normal(jax.random.key(i), (CLASSES, n, *SHAPE))
        return Batch(images, jnp.tile(jnp.arange(CLASSES)[:, None], (1, n)))

    return Pair(side(0, IPC), side(1, REAL))


@pytest.fixture(scope="module")
def context():
    params = 0.3 * jax.random.normal(jax.random.key(2), (64, 7))
    return Context(network, params, jax.random.key(3))


def of_images(objective, pair, context):
    """Value and gradient with respect to the synthetic images."""

    def value(images):
        return value_of(objective, Pair(pair.synthetic._replace(images=images), pair.real), context)

    return jax.jit(jax.value_and_grad(value))(pair.synthetic.images)


@pytest.mark.parametrize("over_classes", [None, "vmap", 2])
def test_value_and_gradient_are_those_of_all_at_once(pair, context, over_classes):
    """2 at a time of 5: the last class is left over."""

    def at_once(images):
        layers = []
        for side in (images, pair.real.images):
            output = jax.vmap(lambda x: network(context.params, x))(side)
            layers.append((*output.taps, output.embedding))
        syn, real = layers
        aligned = losses.feature_alignment(syn, real, WEIGHTS)
        return aligned + 0.1 * losses.discrimination(syn[-1], real[-1])

    terms = add(feature_alignment(WEIGHTS), scale(0.1, discrimination()))
    objective = each_against_all(features(), terms, over_classes=over_classes)
    value, gradient = of_images(objective, pair, context)
    want, want_gradient = jax.value_and_grad(at_once)(pair.synthetic.images)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    np.testing.assert_allclose(gradient, want_gradient, rtol=1e-4, atol=1e-5)


def test_what_all_classes_share_gets_the_derivative_of_each():
    """A quadratic form whose gradient is known: every class multiplies its own by the sum of all."""
    images = jnp.arange(1.0, 4.0).reshape(3, 1, 1, 1, 1)
    batch = Batch(images, jnp.zeros((3, 1), jnp.int32))
    scalar = stateless(lambda pair, context: Pair(*(side.images.sum() for side in pair)))

    def product(pair, context):
        everyone: OneOfAll = pair.synthetic
        return pair.real * everyone.one * everyone.all.sum() + 100.0 * everyone.index

    objective = each_against_all(scalar, stateless(product))
    context = Context(lambda p, x: x, {}, jax.random.key(0))
    value, gradient = of_images(objective, Pair(batch, batch), context)
    # sum_c r_c s_c S, with r = s = (1, 2, 3) and S = 6; its derivative is r_k S + sum_c r_c s_c.
    assert value == 14 * 6 + 300
    np.testing.assert_array_equal(gradient.ravel(), [6 + 14, 12 + 14, 18 + 14])


def test_both_sides_meet_the_same_augmentation(context):
    images = jax.random.normal(jax.random.key(4), (3, 2, *SHAPE))
    batch = Batch(images, jnp.zeros((3, 2), jnp.int32))
    seen = chain(siamese("color_crop_cutout_flip_scale_rotate"), features())
    aligned = each_against_all(seen, feature_alignment(WEIGHTS))
    assert value_of(aligned, Pair(batch, batch), context) == 0

    # And each class one of its own: two equal classes are augmented differently.
    def spread(pair, context):
        means: tuple = pair.synthetic.all.means
        return jnp.square(means[0][0] - means[0][1]).sum()

    equal = batch._replace(images=jnp.broadcast_to(images[:1], images.shape))
    assert value_of(each_against_all(seen, stateless(spread)), Pair(equal, equal), context) > 0


@pytest.mark.parametrize("argument", [0, 1], ids=["network", "real"])
def test_it_has_no_derivative_in_the_network_and_in_the_real_side(pair, context, argument):
    objective = each_against_all(features(), add(feature_alignment(WEIGHTS), discrimination()))

    def value(params, real):
        new = Context(network, params, context.key)
        sides = Pair(pair.synthetic, pair.real._replace(images=real))
        return value_of(objective, sides, new)

    with pytest.raises(ValueError, match="no derivative with respect to the network's parameters"):
        jax.grad(value, argument)(context.params, pair.real.images)


def test_memory_is_that_of_one_real_class():
    model = convnet(40, (16, 16, 1), width=8, depth=1)
    variables = model.init(jax.random.key(0))
    objective = layer_features()

    def temporaries(classes, real):
        labels = np.arange(8000, dtype=np.int32) % classes
        split = Split(np.zeros((8000, 16, 16, 1), np.uint8), labels)
        table = class_table(split, classes, (0.5,), (0.5,))

        @jax.jit
        def step(images, key):
            draw = Draw(table, *draw_indices(key, table, real))
            labels = jnp.tile(jnp.arange(classes)[:, None], (1, 1))
            network, params = model.network(variables)
            c = Context(network, params, key)
            return jax.value_and_grad(
                lambda x: value_of(objective, Pair(Batch(x, labels), draw), c)
            )(images)

        args = jnp.zeros((classes, 1, 16, 16, 1)), jax.random.key(0)
        memory = step.lower(*args).compile().memory_analysis()
        assert memory is not None
        return memory.temp_size_in_bytes

    map_bytes = 16 * 16 * 8 * 4
    embedding = map_bytes // 4
    # Ten times the classes with 200 real images each: the synthetic features may grow (two taps,
    # their derivatives), not the embeddings of 36 * 200 real images, 15 MB.
    assert temporaries(40, 200) - temporaries(4, 200) < 36 * 12 * map_bytes
    assert 36 * 12 * map_bytes < 36 * 200 * embedding / 4


BATCH = Batch(jnp.ones((3, 2, *SHAPE)), jnp.zeros((3, 2), jnp.int32))
SEEN = Features((jnp.ones((3, 2)),), jnp.ones((3, 2)), None)
STATEFUL = Stage(lambda key: jnp.zeros(3), lambda value, state, context: (value, state))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: each_against_all(STATEFUL, discrimination()), "without state"),
        (lambda: each_against_all(features(), STATEFUL), "without state"),
        (lambda: each_against_all(features(), discrimination(), over_classes=0), "over_classes"),
    ],
)
def test_what_it_refuses_to_lift(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("stage", "value", "says"),
    [
        (discrimination(), Pair(SEEN, SEEN), "each_against_all"),
        (
            each_against_all(siamese("crop"), discrimination()),
            Pair(BATCH, BATCH),
            "features of one real class",
        ),
        (
            each_against_all(stateless(lambda pair, context: 1.0), discrimination()),
            Pair(BATCH, BATCH),
            "ends in a pair",
        ),
        (feature_alignment([1.0]), Pair(SEEN, SEEN), "each_against_all"),
        (
            each_against_all(features(), stateless(lambda pair, context: pair.real.means)),
            Pair(BATCH, BATCH),
            "scalar",
        ),
        (
            each_against_all(features(), discrimination()),
            Pair(BATCH, jax.tree.map(lambda x: x[:2], BATCH)),
            "3 classes, the real side 2",
        ),
        (chain(per_class(features()), discrimination()), Pair(BATCH, BATCH), "each_against_all"),
    ],
)
def test_what_it_refuses_when_applied(stage, value, says, context):
    with pytest.raises(ValueError, match=says):
        value_of(stage, value, context)
