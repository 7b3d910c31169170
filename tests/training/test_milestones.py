"""Training by epochs: falls of the learning rate, kept momentum, and what is recorded between epochs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.data.batch import Batch
from jdd.nn import convnet
from jdd.training import SGD, TrainingState, sgd_step, train_epochs

MODEL = convnet(2, (8, 8, 1), width=4, depth=1, norm="none")
IMAGES = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
LABELS = jnp.arange(4) % 2


def start(sgd):
    return TrainingState.begin(MODEL.init(jax.random.key(0)), sgd)


def trained(sgd, epochs, **options):
    return train_epochs(
        jax.random.key(2), MODEL, start(sgd), IMAGES, LABELS, sgd, epochs=epochs, **options
    )


@pytest.mark.parametrize("restart", [False, True])
def test_the_rate_falls_at_each_milestone_and_momentum_is_kept_or_restarted(restart):
    sgd = SGD(0.1, 0.9, 5e-4, 4, milestones=(2, 3), decay=0.2, restart_momentum=restart)
    got, _ = trained(sgd, 5)
    want = start(sgd)
    for rate, at_milestone in zip((0.1, 0.1, 0.02, 0.004, 0.004), (0, 0, 1, 1, 0), strict=True):
        if restart and at_milestone:
            want = want._replace(optimizer=jax.tree.map(jnp.zeros_like, want.optimizer))
        # The whole set is one minibatch: no order is drawn.
        want, _ = sgd_step(jax.random.key(0), MODEL, want, Batch(IMAGES, LABELS), sgd, rate=rate)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, want)


@pytest.mark.parametrize("batch_size", [4, 3])
def test_records_after_some_epochs_are_those_of_every_epoch(batch_size):
    sgd = SGD(0.1, 0.9, batch_size=batch_size, milestones=(4,))

    def record(variables, loss):
        return variables["params"]["conv0"]["kernel"], loss

    state, every = trained(sgd, 7, record=record)
    plain, _ = trained(sgd, 7)
    for epochs in ((2, 3, 7), (1, 6), (7,)):
        after, some = trained(sgd, 7, record=record, record_after=epochs)
        for a, b in zip(some, every, strict=True):
            np.testing.assert_allclose(a, b[np.array(epochs) - 1], rtol=1e-5, atol=1e-6)
        for other in (state, plain):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after, other)


@pytest.mark.parametrize("epochs", [(), (0, 2), (2, 2), (3, 2), (2, 8)])
def test_epochs_to_record_after_must_increase_and_be_trained(epochs):
    with pytest.raises(ValueError, match="record_after must be increasing numbers from 1 to 7"):
        trained(SGD(batch_size=4), 7, record=lambda variables, loss: loss, record_after=epochs)
