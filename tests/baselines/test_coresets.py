"""Coresets: a network trained on all images, and what its embedding picks of each class."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.baselines import (
    CORESET_EPOCHS,
    SELECTIONS,
    WHOLE_SET,
    coreset_images,
    evaluate_real_sets,
    from_herding,
    from_k_centre,
    real_set,
    select_images,
    train_on_all,
    whole_set,
)
from jdd.data import Split, class_table, take
from jdd.evaluate import EvaluationProtocol, accuracy
from jdd.nn import convnet
from jdd.training import TrainingState, train_epochs

MODEL = convnet(3, (8, 8, 1), width=4, depth=1, norm="none")
COUNTS = [7, 11, 5]


@pytest.fixture(scope="module")
def table():
    """Three classes that differ in brightness, of unequal size."""
    labels = np.repeat(np.arange(3, dtype=np.int32), COUNTS)
    images = np.random.default_rng(0).integers(0, 90, (23, 8, 8, 1))
    images = (images + 80 * labels[:, None, None, None]).astype(np.uint8)
    return class_table(Split(images, labels), 3, (0.5,), (0.25,))


@pytest.mark.parametrize(("name", "micro_batch"), [("herding", 3), ("k-centre", 100)])
def test_each_class_is_chosen_from_by_its_own_features(table, name, micro_batch):
    variables = MODEL.init(jax.random.key(0))
    images_of = select_images(SELECTIONS[name], MODEL, variables, table, 4, micro_batch=micro_batch)
    for c, (start, count) in enumerate(zip(np.cumsum([0, *COUNTS]), COUNTS, strict=False)):
        images = take(table, jnp.arange(start, start + count))
        rows = SELECTIONS[name](MODEL.features(variables, images)[1], 4)
        np.testing.assert_allclose(images_of[c], images[rows], rtol=1e-6)


def test_the_network_is_trained_on_all_images(table):
    assert WHOLE_SET.epochs + 1 == CORESET_EPOCHS
    key = jax.random.key(3)
    trained = train_on_all(key, MODEL, table)
    start, training = jax.random.split(key)
    variables = MODEL.init(start)
    batch, sgd = whole_set(table), WHOLE_SET.sgd
    assert batch.labels.tolist() == np.repeat(range(3), COUNTS).tolist()
    state = TrainingState.begin(variables, sgd)
    expected, _ = train_epochs(
        training, MODEL, state, batch.images, batch.labels, sgd, epochs=CORESET_EPOCHS
    )
    for a, b in zip(jax.tree.leaves(trained), jax.tree.leaves(expected.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    longer = train_on_all(key, MODEL, table, epochs=60)
    assert accuracy(MODEL, longer, table) > 0.9
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        train_on_all(key, MODEL, table, epochs=0)


def test_the_key_decides(table):
    chosen = {"select": SELECTIONS["herding"], "model": MODEL, "epochs": 2}
    one, same, other = (coreset_images(jax.random.key(k), table, 3, **chosen) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (3, 3, 8, 8, 1) and not np.array_equal(one, other)
    batch = real_set(jax.random.key(1), from_herding(2), MODEL, table, 3)
    np.testing.assert_array_equal(batch.images, one.reshape(9, 8, 8, 1))
    assert batch.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_networks_on_chosen_sets(table):
    """Each set has a network of its own that chooses."""
    usual, drawn = from_k_centre(1), []

    def images(key, *rest):
        drawn.append(key)
        return usual.images(key, *rest)

    spying = dataclasses.replace(usual, images=images)
    protocol = EvaluationProtocol("quick", epochs=2)
    result = evaluate_real_sets(
        jax.random.key(0), spying, MODEL, table, table, 1, protocol, sets=2, num_networks=1
    )
    assert result.accuracies.shape == (2,) and result.protocol is protocol
    assert len(drawn) == 2 and (drawn[0] != drawn[1])
    assert len(np.unique(np.asarray([jax.random.key_data(key) for key in drawn]), axis=0)) == 2


def test_a_network_that_diverged_has_chosen_nothing(table):
    def forward(variables, images, *, training=False):
        output, variables = MODEL.forward(variables, images, training=training)
        return output._replace(embedding=jnp.full((len(images), 2), jnp.nan)), variables

    broken = dataclasses.replace(MODEL, forward=forward, name="broken network")
    chosen = {"select": SELECTIONS["herding"], "model": broken, "epochs": 1}
    assert jnp.isnan(coreset_images(jax.random.key(0), table, 1, **chosen)).all()
    message = r"from_herding\(1\): the broken network that chooses images diverged"
    with pytest.raises(ValueError, match=message):
        real_set(jax.random.key(0), from_herding(1), broken, table, 1)


@pytest.mark.parametrize("ipc", [0, 6])
def test_refuses(table, ipc):
    with pytest.raises(ValueError, match=rf"between 1 and the smallest class \(5\), got {ipc}"):
        select_images(SELECTIONS["herding"], MODEL, MODEL.init(jax.random.key(0)), table, ipc)
    for make in (from_herding, from_k_centre):
        with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
            make(0)
