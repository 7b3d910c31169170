"""NCFM's loss on embeddings and on images, against the original."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses, matching
from jdd.data.batch import Batch
from jdd.interop import params_from_torch
from jdd.matching import Context, Embedded, Pair, value_of
from jdd.methods import class_characteristic_functions
from jdd.network_output import Output
from jdd.nn import convnet

CASES = ("even", "amplitude", "phase", "wide")


def relative(gradient, want):
    return np.linalg.norm(np.asarray(gradient) - want) / np.linalg.norm(want)


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients(reference, name):
    arrays = {key.removeprefix(f"{name}."): value for key, value in reference("ncfm").items()}
    alpha = float(arrays["alpha"])
    assert alpha + float(arrays["beta"]) == 1

    def loss(syn):
        return losses.characteristic_function(syn, arrays["real"], arrays["frequencies"], alpha)

    value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(arrays["syn"]))
    np.testing.assert_allclose(value, arrays["loss_f64"], rtol=2e-6)
    assert relative(gradient, arrays["grad_f64"]) < 5e-6


@pytest.fixture(params=["rgb", "gray"])
def case(request, reference, nhwc) -> Any:
    """Arrays, the recorded pair, its context, and frequencies in our order of features."""
    name, arrays = request.param, reference("ncfm")
    _, classes, channels, side, width, *_ = json.loads(str(arrays["meta"]))["networks"][name]
    prefix = f"{name}.w."
    state = {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}
    model = convnet(classes, (side, side, channels), width=width)
    network, params = model.network(params_from_torch(model, state))
    sides = (nhwc(arrays[f"{name}.{key}"]) for key in ("syn", "real"))
    pair = Pair(*(Batch(images, jnp.zeros(len(images), int)) for images in sides))
    frequencies = arrays[f"{name}.frequencies"].reshape(-1, width, 4, 4)
    frequencies = np.moveaxis(frequencies, 1, -1).reshape(len(frequencies), -1)
    context = Context(network, params, jax.random.key(0))
    return (lambda key: arrays[f"{name}.{key}"]), pair, context, frequencies


def test_images_against_the_original(case, nhwc, monkeypatch):
    of_case, pair, context, frequencies = case
    drawn = []

    def normal(key, shape, dtype):
        drawn.append(shape)
        return jnp.asarray(frequencies, dtype)

    monkeypatch.setattr(jax.random, "normal", normal)
    objective = class_characteristic_functions(frequencies=len(frequencies), strategy="none")

    def loss(images):
        syn = pair.synthetic._replace(images=images)
        stacked = jax.tree.map(lambda x: x[None], Pair(syn, pair.real))
        return value_of(objective, stacked, context)

    value, gradient = jax.jit(jax.value_and_grad(loss))(pair.synthetic.images)
    np.testing.assert_allclose(value, of_case("loss_f64"), rtol=2e-6)
    assert relative(gradient, nhwc(of_case("grad_f64"))) < 1e-5
    assert set(drawn) == {frequencies.shape}


def random_pair(n=4, m=6, d=10, classes=None):
    lead = () if classes is None else (classes,)
    keys = jax.random.split(jax.random.key(5), 2)
    syn, real = (
        Embedded(jax.random.normal(key, (*lead, k, d)), None)
        for key, k in zip(keys, (n, m), strict=True)
    )
    return Pair(syn, real)


CONTEXT = Context(lambda params, x: x, {}, jax.random.key(0))


def test_even_weights_give_the_distance_of_the_complex_functions():
    syn, real = (side.values for side in random_pair())
    t = jax.random.normal(jax.random.key(1), (30, 10))
    functions = [np.exp(1j * np.asarray(t @ x.T)).mean(1) for x in (syn, real)]
    want = np.abs(functions[0] - functions[1]).mean() / np.sqrt(2)
    np.testing.assert_allclose(losses.characteristic_function(syn, real, t), want, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_equal_sets_have_distance_zero_and_a_finite_gradient(alpha):
    x = random_pair().real.values
    t = jax.random.normal(jax.random.key(1), (30, 10))
    value, gradient = jax.value_and_grad(losses.characteristic_function)(x, x, t, alpha)
    assert 0 <= value < 1e-3 and np.isfinite(gradient).all()


def test_a_function_that_is_zero_has_a_finite_gradient():
    # cos 0 + cos pi = 0, and so are the sines.
    x = jnp.array([[0.0], [np.pi]])
    gradient = jax.grad(losses.characteristic_function)(x, x + 1, jnp.ones((3, 1)))
    assert np.isfinite(gradient).all()


def test_weight_zero_is_absence():
    syn, real = (side.values for side in random_pair())
    t = jax.random.normal(jax.random.key(1), (30, 10))
    want = losses.characteristic_function(syn[:3], real[:2], t)
    got = losses.characteristic_function(
        *(syn, real, t),
        syn_weights=jnp.array([2.0, 2, 2, 0]),
        real_weights=jnp.array([1.0, 1, 0, 0, 0, 0]),
    )
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_embeddings_have_length_one():
    pair = random_pair()
    longer = jax.tree.map(lambda x: 7 * x, pair)
    stage = matching.characteristic_function(64)
    np.testing.assert_allclose(
        value_of(stage, longer, CONTEXT), value_of(stage, pair, CONTEXT), rtol=1e-4
    )
    zero = jax.tree.map(jnp.zeros_like, pair)
    gradient = jax.grad(lambda x: value_of(stage, zero._replace(synthetic=x), CONTEXT))(
        zero.synthetic
    )
    assert np.isfinite(gradient.values).all()


def test_frequencies_are_drawn_anew_and_for_every_class():
    stage = matching.characteristic_function(8)
    pair = random_pair()
    values = [float(value_of(stage, pair, CONTEXT.fold(i))) for i in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    twice = jax.tree.map(lambda x: jnp.stack([x, x]), pair)
    of_classes = float(value_of(stage, twice, CONTEXT))
    each = [value_of(stage, pair, CONTEXT.fold(c)) for c in (0, 1)]
    np.testing.assert_allclose(of_classes, sum(map(float, each)), rtol=1e-5)
    assert each[0] != each[1]


@pytest.mark.parametrize("coupled", [False, True])
def test_the_objective_of_equal_batches_is_zero(coupled):
    def network(params, images):
        flat = images.reshape(len(images), -1)
        return Output(flat, (), flat @ params)

    images = jax.random.normal(jax.random.key(0), (3, 5, 4, 4, 1))
    batch = Batch(images, jnp.tile(jnp.arange(3)[:, None], (1, 5)))
    context = Context(network, jax.random.normal(jax.random.key(1), (16, 8)), jax.random.key(2))
    context = dataclasses.replace(context, coupled=coupled)
    objective = class_characteristic_functions(frequencies=32, strategy="crop")
    other = batch._replace(images=images[:, ::-1] + 1)
    assert float(value_of(objective, Pair(batch, batch), context)) < 1
    assert float(value_of(objective, Pair(other, batch), context)) > 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: matching.characteristic_function(0), "frequencies must be at least 1, got 0"),
        (lambda: matching.characteristic_function(alpha=1.5), "alpha must be from 0 to 1, got 1.5"),
        (
            lambda: class_characteristic_functions(factor=0),
            "factor must be above 0 and finite, got 0",
        ),
        (
            lambda: losses.characteristic_function(
                jnp.ones((2, 3)), jnp.ones((2, 4)), jnp.ones((5, 3))
            ),
            "characteristic_function takes [n, d], [m, d] and frequencies [k, d], got (2, 3), (2, 4), (5, 3)",
        ),
        (
            lambda: losses.characteristic_function(
                jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.ones((2, 3)), real_weights=jnp.ones(3)
            ),
            "real_weights must be (2,), got (3,)",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
