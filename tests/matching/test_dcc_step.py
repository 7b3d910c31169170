"""DCC's collective step and its warm-up against the original: losses, image gradients, three updates."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdd.matching import (
    Batch,
    Context,
    Pair,
    chain,
    collective,
    gradients,
    layerwise_cosine,
    per_class,
    squared_error,
    value_of,
)

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs


def objective(run, stored_augmentation, arrays, over_classes="map"):
    stages = [gradients(real_micro_batch=3, synthetic_micro_batch=1)]
    if run.endswith("_aug"):
        stages.insert(0, stored_augmentation(arrays))
    if run.startswith("collective"):
        lifted = collective(chain(*stages), over_classes=over_classes)
        return chain(lifted, layerwise_cosine())
    return per_class(chain(*stages, layerwise_cosine()), over_classes=over_classes)


@pytest.mark.parametrize(
    ("run", "over_classes"),
    [
        ("collective", "map"),
        ("collective", "vmap"),
        ("collective_aug", "map"),
        ("collective_aug", 3),
        ("warmup", "map"),
        ("warmup_aug", "map"),
    ],
)
def test_three_updates(reference, setting, nhwc, stored_augmentation, run, over_classes):
    arrays = reference("dcc_step")
    model, variables, syn, real = setting(arrays)
    stage = objective(run, stored_augmentation, arrays, over_classes)
    logged = objective(run.replace("warmup", "collective"), stored_augmentation, arrays)
    warms_up = run.startswith("warmup")
    network, params = model.network(variables)
    context = Context(network, params, jax.random.key(0))

    @jax.jit
    def of(images):
        def loss(x, stage=stage):
            return value_of(stage, Pair(syn._replace(images=x), real), context)

        value, gradient = jax.value_and_grad(loss)(images)
        return value, gradient, loss(images, logged) if warms_up else value

    tx = optax.sgd(0.1, momentum=0.5)
    images, state = syn.images, tx.init(syn.images)
    for update in range(3):
        loss, gradient, log = of(images)
        np.testing.assert_allclose(loss, arrays[f"{run}.loss_f64"][update], rtol=2e-6)
        np.testing.assert_allclose(log, arrays[f"{run}.loss_logged_f64"][update], rtol=2e-6)
        if update == 0:
            name = f"{run}.image_grad"
            name += "_f64" if f"{name}_f64" in arrays.files else ""
            want = nhwc(arrays[name]).reshape(gradient.shape)
            assert np.linalg.norm(gradient - want) < 1e-5 * np.linalg.norm(want)
        steps, state = tx.update(gradient, state)
        images = images + steps
    moved = np.asarray(images - syn.images)
    want = nhwc(arrays[f"{run}.images_after_last"]).reshape(images.shape) - syn.images
    assert np.linalg.norm(moved - want) < 1e-4 * np.linalg.norm(want)


def test_collective_gradients(reference, setting):
    arrays = reference("dcc_step")
    model, variables, syn, real = setting(arrays)
    network, params = model.network(variables)
    context = Context(network, params, jax.random.key(0))
    pair = jax.jit(lambda c: value_of(collective(gradients()), Pair(syn, real), c))(context)
    for side, got in (("syn", pair.synthetic), ("real", pair.real)):
        want = arrays[f"collective.{side}_grad.features.0.weight"].transpose(2, 3, 1, 0)
        assert np.linalg.norm(got["conv0"]["kernel"] - want) < 1e-5 * np.linalg.norm(want)


def network(weights, images):
    hidden = jnp.tanh(images.reshape(len(images), -1) @ weights["in"])
    return hidden @ weights["out"]


def small(classes, ipc):
    keys = jax.random.split(jax.random.key(1), 4)
    weights = {
        "in": jax.random.normal(keys[0], (12, 6)),
        "out": jax.random.normal(keys[1], (6, 4)),
    }
    labels = jnp.arange(classes)[:, None]
    syn = Batch(jax.random.normal(keys[2], (classes, ipc, 2, 2, 3)), jnp.tile(labels, (1, ipc)))
    real = Batch(jax.random.normal(keys[3], (classes, 5, 2, 2, 3)), jnp.tile(labels, (1, 5)))
    return Context(network, weights, jax.random.key(2)), syn, real


@pytest.mark.parametrize("distance", [layerwise_cosine, squared_error])
def test_one_class_is_class_wise(distance):
    context, syn, real = small(1, 2)
    stages = chain(gradients(), distance())

    def value(stage):
        def loss(x):
            return value_of(stage, Pair(syn._replace(images=x), real), context)

        return jax.value_and_grad(loss)(syn.images)

    joint = chain(collective(gradients()), distance())
    for a, b in zip(value(per_class(stages)), value(joint), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("over_classes", ["map", "vmap", 2, 3])
def test_strategies_over_classes_agree_with_the_whole_batch(over_classes):
    context, syn, real = small(5, 2)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), syn)
    stage = collective(gradients(), over_classes=over_classes)
    pair = value_of(stage, Pair(syn, real), context)
    whole = value_of(gradients(), Pair(flat, flat), context).synthetic
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7), pair[0], whole
    )


def test_a_stage_with_state_and_unequal_classes_are_refused():
    context, syn, real = small(3, 1)
    with pytest.raises(ValueError, match="collective needs a stage without state"):
        collective(dataclasses.replace(gradients(), init=lambda key: jnp.zeros(())))
    with pytest.raises(ValueError, match="3 classes, the real side 2"):
        fewer = jax.tree.map(lambda x: x[:2], real)
        value_of(collective(gradients()), Pair(syn, fewer), context)
