"""BatchNorm while condensing: one statistics pass, then matching with frozen statistics."""

from __future__ import annotations

import jax
import numpy as np
import optax

from jdd.matching import Context, Pair, chain, gradients, layerwise_cosine, per_class, value_of


def test_statistics_pass_and_frozen_matching(reference, setting, nhwc):
    arrays = reference("bn_freeze")
    model, variables, syn, real = setting(arrays, norm="batch")
    images = nhwc(arrays["bn_images"])
    _, variables = jax.jit(model.train)(variables, images.reshape(-1, *images.shape[2:]))
    for layer, (norm, features) in enumerate((("norm0", 1), ("norm1", 5), ("norm2", 9))):
        stats = variables["batch_stats"][norm]
        for name, name_in_torch in (("mean", "running_mean"), ("var", "running_var")):
            want = arrays[f"running_after_f64.features.{features}.{name_in_torch}"]
            np.testing.assert_allclose(stats[name], want, rtol=1e-6, atol=1e-7, err_msg=str(layer))
    objective = per_class(chain(gradients(real_micro_batch=4), layerwise_cosine()))
    network, params = model.network(variables)
    assert set(params) == set(variables["params"])
    context = Context(network, params, jax.random.key(0))

    def loss(images):
        return value_of(objective, Pair(syn._replace(images=images), real), context)

    value, gradient = jax.jit(jax.value_and_grad(loss))(syn.images)
    np.testing.assert_allclose(value, arrays["frozen.total_f64"][0], rtol=2e-6)
    want = nhwc(arrays["frozen.image_grad_f64"]).reshape(gradient.shape)
    assert np.linalg.norm(gradient - want) < 1e-5 * np.linalg.norm(want)
    moved = syn.images - 0.1 * gradient
    want = nhwc(arrays["frozen.images_after"][0]).reshape(moved.shape)
    step = np.linalg.norm(want - syn.images)
    assert np.linalg.norm(moved - want) < 1e-4 * step


def test_three_rounds_of_statistics_and_update(reference, setting, nhwc):
    arrays = reference("bn_freeze")
    model, variables, syn, real = setting(arrays, norm="batch")
    images = nhwc(arrays["bn_images"]).reshape(-1, *real.images.shape[2:])
    objective = per_class(chain(gradients(), layerwise_cosine()))

    @jax.jit
    def update(variables, pixels):
        _, variables = model.train(variables, images)
        network, params = model.network(variables)
        context = Context(network, params, jax.random.key(0))
        value, gradient = jax.value_and_grad(
            lambda x: value_of(objective, Pair(syn._replace(images=x), real), context)
        )(pixels)
        return variables, value, gradient

    tx = optax.sgd(0.1, momentum=0.5)
    pixels, state = syn.images, tx.init(syn.images)
    for i in range(3):
        variables, value, gradient = update(variables, pixels)
        np.testing.assert_allclose(value, arrays["loop3.total_f64"][i], rtol=5e-6)
        steps, state = tx.update(gradient, state)
        pixels = pixels + steps
    want = nhwc(arrays["loop3.images_after_last"]).reshape(pixels.shape) - syn.images
    assert np.linalg.norm(pixels - syn.images - want) < 1e-4 * np.linalg.norm(want)
