"""DC's and DSA's matching step against the original: losses, image gradients, three updates."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

from jdd.matching import (
    Context,
    Pair,
    chain,
    gradients,
    layerwise_cosine,
    per_class,
    value_of,
)


@pytest.mark.parametrize(
    ("run", "over_classes"),
    [("plain", "map"), ("plain", "vmap"), ("aug_run", "map"), ("aug_run", 2)],
)
def test_three_updates(reference, setting, nhwc, stored_augmentation, run, over_classes):
    arrays = reference("dsa_step")
    model, variables, syn, real = setting(arrays)
    # Micro-batches that do not divide the batches: the streaming must not matter.
    stages = [gradients(real_micro_batch=3, synthetic_micro_batch=1), layerwise_cosine()]
    if run == "aug_run":
        stages.insert(0, stored_augmentation(arrays))
    objective = per_class(chain(*stages), over_classes=over_classes)
    network, params = model.network(variables)
    context = Context(network, params, jax.random.key(0))

    @jax.jit
    def loss_and_gradient(images):
        return jax.value_and_grad(
            lambda x: value_of(objective, Pair(syn._replace(images=x), real), context)
        )(images)

    tx = optax.sgd(0.1, momentum=0.5)
    images = syn.images
    state = tx.init(images)
    for update in range(3):
        loss, gradient = loss_and_gradient(images)
        np.testing.assert_allclose(loss, arrays[f"{run}.total_f64"][update], rtol=2e-6)
        norm = np.linalg.norm(gradient)
        np.testing.assert_allclose(norm, arrays[f"{run}.image_grad_norms_f64"][update], rtol=1e-5)
        if update == 0:
            want = nhwc(arrays[f"{run}.image_grad_f64"]).reshape(gradient.shape)
            assert np.linalg.norm(gradient - want) < 1e-5 * np.linalg.norm(want)
        steps, state = tx.update(gradient, state)
        images = images + steps
        moved = np.asarray(images - syn.images)
        want = nhwc(arrays[f"{run}.images_after"][update]).reshape(images.shape) - syn.images
        assert np.linalg.norm(moved - want) < 1e-4 * np.linalg.norm(want)


def test_class_gradients_and_distances(reference, setting):
    arrays = reference("dsa_step")
    model, variables, syn, real = setting(arrays)
    network, params = model.network(variables)
    context = Context(network, params, jax.random.key(0))
    pair = jax.jit(lambda c: value_of(per_class(gradients()), Pair(syn, real), c))(context)
    for side, got in (("syn", pair.synthetic), ("real", pair.real)):
        want = arrays[f"plain.{side}_grad.features.0.weight"].transpose(0, 3, 4, 2, 1)
        assert np.linalg.norm(got["conv0"]["kernel"] - want) < 1e-5 * np.linalg.norm(want)
    distances = jax.vmap(lambda a, b: value_of(layerwise_cosine(), Pair(a, b), context))(*pair)
    np.testing.assert_allclose(distances, arrays["plain.distance_f64"][0], rtol=2e-6)
