"""CutMix: boxes, mixed images and losses against the original; what is drawn; bad input."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses
from jdd.augment import cutmix, cutmix_augmentation, cutmix_box, idc_augmentation, mix_box
from jdd.data.batch import Batch
from jdd.interop import params_from_torch
from jdd.nn import convnet
from jdd.training import SGD, TrainingState, sgd_step, train_epochs

BOXES = ("inner", "clipped", "odd", "tiny_lambda", "empty")


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def box_of(arrays, box):
    lam, centre = arrays[f"cutmix.{box}.lam"], arrays[f"cutmix.{box}.centre"]
    return jax.jit(cutmix_box, static_argnums=2)(lam, centre, (32, 32))


def mixed(arrays, box, classes):
    labels = jax.nn.one_hot(arrays["cutmix.labels"], classes)
    batch = Batch(nhwc(arrays["cutmix.x"]), labels)
    return jax.jit(mix_box)(batch, arrays[f"cutmix.{box}.perm"], box_of(arrays, box))


@pytest.mark.parametrize("box", BOXES)
def test_boxes_are_those_of_the_original(reference, box):
    arrays = reference("cutmix_aug")
    np.testing.assert_array_equal(box_of(arrays, box), arrays[f"cutmix.{box}.box"])


@pytest.mark.parametrize("box", BOXES)
def test_images_and_labels_are_mixed_as_in_the_original(reference, box):
    arrays = reference("cutmix_aug")
    got = mixed(arrays, box, 6)
    np.testing.assert_array_equal(got.images, nhwc(arrays[f"cutmix.{box}.mixed"]))
    ratio = arrays[f"cutmix.{box}.ratio"]
    want = np.zeros((6, 6))
    np.add.at(want, (np.arange(6), arrays["cutmix.labels"]), ratio)
    np.add.at(want, (np.arange(6), arrays[f"cutmix.{box}.labels_b"]), 1 - ratio)
    np.testing.assert_allclose(got.labels, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("box", BOXES)
def test_the_loss_on_mixed_labels_is_that_of_the_original(reference, box):
    arrays = reference("cutmix_aug")
    prefix = "cutmix.w."
    state = {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}
    model = convnet(6, (32, 32, 3), width=8)
    batch = mixed(arrays, box, 6)
    logits = jax.jit(model.apply)(params_from_torch(model, state), batch.images)
    np.testing.assert_allclose(logits, arrays[f"cutmix.{box}.logits"], rtol=1e-5, atol=1e-5)
    loss = losses.cross_entropy(logits, batch.labels).mean()
    np.testing.assert_allclose(loss, arrays[f"cutmix.{box}.loss_f64"], rtol=2e-6)


def batch_of(n=5, height=9, width=6, classes=4):
    images = jnp.broadcast_to(
        jnp.arange(n, dtype=jnp.float32)[:, None, None, None], (n, height, width, 1)
    )
    return Batch(images, jax.nn.one_hot(jnp.arange(n) % classes, classes))


@pytest.mark.parametrize("key", range(20))
def test_every_image_has_one_box_of_its_partner_and_labels_by_area(key):
    batch = batch_of()
    got = cutmix(jax.random.key(key), batch)
    images = np.asarray(got.images[..., 0])
    boxes = []
    for i, image in enumerate(images):
        others = [v for v in np.unique(image) if v != i]
        assert len(others) <= 1
        inside = image != i
        if others:
            boxes.append(inside)
            rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
            box = np.ix_(range(rows[0], rows[-1] + 1), range(columns[0], columns[-1] + 1))
            assert inside[box].all() and inside.sum() == inside[box].sum()
        share = inside.mean()
        want = np.zeros(4)
        want[i % 4] += 1 - share
        if others:
            want[int(others[0]) % 4] += share
        np.testing.assert_allclose(got.labels[i], want, atol=1e-6)
    assert all((box == boxes[0]).all() for box in boxes)


def test_how_often_and_how_much_is_mixed():
    batch, keys = batch_of(height=16, width=16), jax.random.split(jax.random.key(0), 2000)

    def share_of(probability, beta):
        def one(key):
            labels = cutmix(key, batch, probability=probability, beta=beta).labels
            # Image 1 keeps its own label, and gets part of another's where it is not its own partner.
            return 1 - labels[1, 1]

        return np.asarray(jax.jit(jax.vmap(one))(keys))

    always, half = share_of(1.0, 1.0), share_of(0.5, 1.0)
    assert (share_of(0.0, 1.0) == 0).all()
    # Four of five partners are another image; a tenth of the boxes of 16 pixels are empty.
    assert 0.6 < (always > 0).mean() < 0.8
    np.testing.assert_allclose((half > 0).mean(), (always > 0).mean() / 2, atol=0.03)
    # Beta(10, 10) draws nearly equal shares, Beta(1, 1) all alike.
    concentrated = share_of(1.0, 10.0)
    assert concentrated[concentrated > 0].std() < 0.7 * always[always > 0].std()


def test_without_a_draw_the_batch_stays_as_it_is():
    batch = batch_of()
    got = cutmix(jax.random.key(0), batch, probability=0.0)
    np.testing.assert_array_equal(got.images, batch.images)
    np.testing.assert_array_equal(got.labels, batch.labels)


def test_the_base_comes_first_and_the_same_batch_is_mixed():
    base = idc_augmentation("color_crop")
    batch = Batch(jax.random.normal(jax.random.key(0), (4, 8, 8, 3)), jnp.eye(4))
    key = jax.random.key(5)
    got = cutmix_augmentation(1.0, base=base).per_sample(key, batch)
    base_key, mix_key = jax.random.split(key)
    want = cutmix(mix_key, base.per_sample(base_key, batch))
    np.testing.assert_array_equal(got.images, want.images)
    np.testing.assert_array_equal(got.labels, want.labels)


def test_training_makes_probabilities_of_class_indices():
    model = convnet(3, (8, 8, 1), width=4, depth=1)
    sgd = SGD(batch_size=6)
    state = TrainingState.begin(model.init(jax.random.key(0)), sgd)
    images, labels = jax.random.normal(jax.random.key(1), (6, 8, 8, 1)), jnp.arange(6) % 3
    augment = cutmix_augmentation(1.0)
    after, loss = sgd_step(
        jax.random.key(2), model, state, Batch(images, labels), sgd, rate=0.1, augment=augment
    )
    soft = Batch(images, jax.nn.one_hot(labels, 3))
    mixed = cutmix_augmentation(1.0).per_sample(jax.random.key(2), soft)
    want, want_loss = sgd_step(jax.random.key(2), model, state, mixed, sgd, rate=0.1)
    np.testing.assert_allclose(loss, want_loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after, want)
    # Also with a last minibatch that is smaller, and labels that are soft already.
    for y in (labels, soft.labels):
        trained, _ = train_epochs(
            jax.random.key(3), model, state, images, y, SGD(batch_size=4), epochs=2, augment=augment
        )
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(trained))


def test_bad_input_is_refused():
    values: tuple[Any, ...] = (-0.1, 1.1, "half")
    for probability in values:
        with pytest.raises(ValueError, match="probability must be from 0 to 1"):
            cutmix_augmentation(probability)
    with pytest.raises(ValueError, match="beta must be above 0"):
        cutmix_augmentation(beta=0.0)
    with pytest.raises(ValueError, match="base must be an Augmentation, got 'crop'"):
        cutmix_augmentation(base="crop")  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        ValueError, match=r"labels must be probabilities \[n, K\].*got int32 \(5,\)"
    ):
        cutmix(jax.random.key(0), batch_of()._replace(labels=jnp.arange(5)))
