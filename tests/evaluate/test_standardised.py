"""Test accuracies that depend on the batch an image is in, as HaBa's code measures them."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jdd import augment
from jdd.data import take
from jdd.evaluate import PROTOCOLS, accuracy, accuracy_of_batches, accuracy_under, haba_protocol
from tests.methods.small_runs import small_model, table


def by_hand(variables, batches):
    """The accuracy where every image is standardised with those of its batch."""
    images = np.asarray(take(table(), jax.numpy.arange(90)))
    labels, correct = np.repeat(np.arange(3), 30), 0
    for rows in batches:
        batch = images[rows]
        batch = (batch - batch.mean()) / batch.std(ddof=1)
        logits = small_model().apply(variables, jax.numpy.asarray(batch))
        correct += (np.argmax(logits, -1) == labels[rows]).sum()
    return correct / 90


@pytest.mark.parametrize("size", [90, 30, 128])
def test_every_batch_is_standardised_and_has_all_classes(size):
    """The table goes class by class: batches that did so would lose the brightness of their class."""
    variables = small_model().init(jax.random.key(0))
    transform = augment.batch_standardised().of_tests
    assert transform is not None
    got = accuracy_of_batches(small_model(), variables, table(), transform, batch_size=size)
    count = -(-90 // size)
    assert got == pytest.approx(by_hand(variables, [np.arange(i, 90, count) for i in range(count)]))


def test_images_of_two_batches_count_once():
    variables = small_model().init(jax.random.key(0))
    got = [
        accuracy_of_batches(small_model(), variables, table(), lambda x: x, batch_size=size)
        for size in (40, 90)
    ]
    assert got[0] == got[1] == accuracy(small_model(), variables, table())


def test_the_augmentation_decides():
    variables = small_model().init(jax.random.key(0))
    plain, standardised = (
        accuracy_under(PROTOCOLS[name].augment, small_model(), variables, table())
        for name in ("dsa", "haba")
    )
    assert plain == accuracy(small_model(), variables, table())
    assert standardised == pytest.approx(by_hand(variables, [np.arange(90)]))
    assert haba_protocol("color_crop_cutout_flip_scale_rotate") is PROTOCOLS["haba"]
