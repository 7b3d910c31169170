"""What a distilled set is compared with: random real images, and all of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.baselines import (
    BASELINES,
    WHOLE_SET,
    evaluate_real_sets,
    evaluate_whole_set,
    real_set,
    whole_set,
)
from jdd.data import Split, class_table, take
from jdd.evaluate import EvaluationProtocol, evaluate
from jdd.nn import convnet
from jdd.synthetic import Initial, from_real, real

QUICK = EvaluationProtocol("quick", epochs=2)
MODEL = convnet(2, (8, 8, 1), width=4, depth=1, norm="none")


@pytest.fixture(scope="module")
def table():
    """Two classes that differ in brightness, of unequal size."""
    labels = np.array([0] * 7 + [1] * 5, np.int32)
    images = (
        np.random.default_rng(0).integers(0, 100, (12, 8, 8, 1)) + 150 * labels[:, None, None, None]
    )
    return class_table(Split(images.astype(np.uint8), labels), 2, (0.5,), (0.25,))


def test_each_set_is_drawn_anew_and_has_its_networks(table):
    seen = []
    result = evaluate_real_sets(
        *(jax.random.key(3), from_real(), MODEL, table, table, 2, QUICK),
        sets=2,
        num_networks=3,
        report=lambda *done: seen.append(done),
    )
    assert (
        result.accuracies.shape == (6,) and result.protocol is QUICK and result.model == MODEL.name
    )
    assert seen == [(3, 6), (6, 6)]
    draw, key = jax.random.split(jax.random.fold_in(jax.random.key(3), 1))
    images = real(draw, table, 2).reshape(4, 8, 8, 1)
    labels = jnp.array([0, 0, 1, 1])
    second = evaluate(key, MODEL, images, labels, table, QUICK, num_networks=3)
    np.testing.assert_array_equal(result.accuracies[3:], second.accuracies)
    with pytest.raises(ValueError, match="sets must be at least 1"):
        evaluate_real_sets(jax.random.key(0), from_real(), MODEL, table, table, 2, QUICK, sets=0)


def test_a_real_set_is_class_major(table):
    batch = real_set(jax.random.key(3), from_real(), MODEL, table, 2)
    assert batch.labels.tolist() == [0, 0, 1, 1] and batch.labels.dtype == jnp.int32
    want = real(jax.random.key(3), table, 2)
    np.testing.assert_array_equal(batch.images, want.reshape(4, 8, 8, 1))
    broken = Initial(lambda key, table, model, n: jnp.full((2, n, 8, 8, 1), jnp.nan))
    with pytest.raises(ValueError, match=r"the ConvNet-1 .*that chooses images diverged"):
        real_set(jax.random.key(3), broken, MODEL, table, 2)
    assert list(BASELINES) == ["random", "herding", "k-centre"]
    assert all(isinstance(make(), Initial) for make in BASELINES.values())


def test_the_whole_set_is_every_image_with_its_label(table):
    images, labels = take(table, jnp.arange(12)), jnp.array([0] * 7 + [1] * 5)
    batch = whole_set(table)
    np.testing.assert_array_equal(batch.images, images)
    assert batch.labels.tolist() == labels.tolist()
    result = evaluate_whole_set(jax.random.key(1), MODEL, table, table, num_networks=2)
    same = evaluate(jax.random.key(1), MODEL, images, labels, table, WHOLE_SET, num_networks=2)
    np.testing.assert_array_equal(result.accuracies, same.accuracies)
    assert result.protocol is WHOLE_SET
    assert evaluate_whole_set(jax.random.key(1), MODEL, table, table, QUICK).protocol is QUICK
