"""CAFE's matching step against the original: taps, losses of every layer, discrimination, image gradients."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses
from jdd.interop import params_from_torch
from jdd.matching import (
    Batch,
    Context,
    Pair,
    discrimination,
    each_against_all,
    feature_alignment,
    features,
    value_of,
)
from jdd.methods import layer_features
from jdd.nn import convnet

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

CASES = ["rgb", "gray", "few"]


@pytest.fixture(params=CASES)
def step(request, reference, nhwc):
    """Arrays of one case by short name, the context of its network, and both batches."""
    arrays, case = reference("cafe_step"), request.param
    config = json.loads(str(arrays["meta"]))["cases"][case]
    classes, shape = config["C"], (config["size"], config["size"], config["ch"])
    model = convnet(classes, shape, width=config["W"], depth=3)
    prefix = f"{case}.w."
    state = {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}
    variables = params_from_torch(model, state)

    def batch(name, n):
        images = nhwc(arrays[f"{case}.{name}"]).reshape(classes, n, *shape)
        return Batch(images, jnp.tile(jnp.arange(classes)[:, None], (1, n)))

    network, params = model.network(variables)
    context = Context(network, params, jax.random.key(0))
    short = {k.removeprefix(f"{case}."): arrays[k] for k in arrays.files if k.startswith(case)}
    return short, context, batch("syn", config["ipc"]), batch("real", config["n"])


@pytest.fixture
def weights(reference):
    return [float(w) for w in reference("cafe_step")["weights"]]


def value_and_gradient(objective, step):
    _, context, syn, real = step

    @jax.jit
    def of(images):
        return value_of(objective, Pair(syn._replace(images=images), real), context)

    return jax.value_and_grad(of)(syn.images)


def close(got, want, relative):
    assert np.linalg.norm(got - want) < relative * np.linalg.norm(want)


def test_taps_are_those_of_the_original(step, nhwc):
    arrays, context, syn, _ = step
    images = syn.images.reshape(-1, *syn.images.shape[2:])[:2]
    taps, embedding = context.features(context.params, images)
    for tap, name in zip(taps, ("f1", "f2", "f3", "f4"), strict=True):
        close(tap, nhwc(arrays[f"tap_{name}"]), 1e-5)
    # PyTorch flattens (channel, row, column).
    close(np.sort(embedding), np.sort(arrays["tap_f5"]), 1e-5)


def test_each_term(step):
    arrays, context, syn, real = step
    seen = features(real_micro_batch=2, synthetic_micro_batch=1)

    @jax.jit
    def aligned(layers):
        def of(images):
            stage = each_against_all(seen, feature_alignment(layers))
            return value_of(stage, Pair(syn._replace(images=images), real), context)

        return jax.value_and_grad(of)(syn.images)

    for layer, alone in enumerate(jnp.eye(5)):
        loss, gradient = aligned(alone)
        np.testing.assert_allclose(loss, arrays["S_f64"][layer], rtol=1e-5)
        norm = arrays["norm_grad_S_f64"][layer]
        np.testing.assert_allclose(np.linalg.norm(gradient), norm, rtol=1e-5)
    loss, gradient = value_and_gradient(each_against_all(seen, discrimination()), step)
    np.testing.assert_allclose(loss, arrays["disc_sum_f64"], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(gradient), arrays["norm_grad_disc_f64"], rtol=1e-5)


def test_the_objective_and_its_gradient(step, weights, nhwc):
    arrays = step[0]
    *layers, discriminates = weights
    objective = layer_features(layer_weights=layers, discrimination_weight=discriminates)
    loss, gradient = value_and_gradient(objective, step)
    np.testing.assert_allclose(loss, arrays["loss_image_f64"], rtol=1e-5)
    # The original adds the networks' cross entropy on real images, which moves no image.
    close(gradient, nhwc(arrays["grad_total"]).reshape(gradient.shape), 1e-5)


@pytest.mark.parametrize("step", ["few"], indirect=True)
def test_the_defaults_are_the_papers(step, weights):
    want, _ = value_and_gradient(
        layer_features(layer_weights=weights[:5], discrimination_weight=weights[5]), step
    )
    got, _ = value_and_gradient(layer_features(), step)
    assert got == want


def test_the_losses_alone(step, weights):
    arrays, context, syn, real = step
    of = jax.jit(jax.vmap(lambda x: context.features(context.params, x)))
    both = [of(side.images) for side in (syn, real)]
    of_syn, of_real = ((*taps, embedding) for taps, embedding in both)
    loss = losses.feature_alignment(of_syn, of_real, weights[:5])
    want = arrays["loss_feature_f64"] + arrays["S_f64"][4]
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    alone = losses.discrimination(both[0][1], both[1][1])
    np.testing.assert_allclose(alone, arrays["disc_sum_f64"], rtol=1e-5)


@pytest.mark.parametrize("step", ["few"], indirect=True)
def test_places_of_weight_zero_count_for_nothing(step):
    _, context, syn, real = step
    seen = features(real_micro_batch=2)
    fewer = real._replace(images=real.images[:, :-1], labels=real.labels[:, :-1])
    counted = jnp.ones(real.labels.shape).at[:, -1].set(0)

    @jax.jit
    def both(side):
        terms = (feature_alignment([1.0] * 5), discrimination())
        return [value_of(each_against_all(seen, term), Pair(syn, side), context) for term in terms]

    for less, none in zip(both(fewer), both(real._replace(weights=counted)), strict=True):
        np.testing.assert_allclose(none, less, rtol=1e-5)
