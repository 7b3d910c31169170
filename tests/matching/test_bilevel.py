"""DC with the network trained on the synthetic set between image updates, against the original."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jdd.matching import Context, Pair, chain, gradients, layerwise_cosine, per_class, value_of
from jdd.training import SGD, TrainingState, train_epochs


def test_images_and_network_take_turns(reference, setting, nhwc):
    arrays = reference("dsa_step")
    model, variables, syn, real = setting(arrays)
    objective = per_class(chain(gradients(), layerwise_cosine()))
    epochs = int(arrays["bilevel.net_epochs"])
    sgd = SGD(learning_rate=float(arrays["bilevel.lr_net"]))

    @jax.jit
    def update(variables, images):
        network, params = model.network(variables)
        context = Context(network, params, jax.random.key(0))
        return jax.value_and_grad(
            lambda x: value_of(objective, Pair(syn._replace(images=x), real), context)
        )(images)

    @jax.jit
    def train(variables, images):
        flat = images.reshape(-1, *images.shape[2:]), syn.labels.reshape(-1)
        record = lambda variables, loss: loss  # noqa: E731
        state = TrainingState.begin(variables, sgd)
        state, losses = train_epochs(
            jax.random.key(0), model, state, *flat, sgd, epochs=epochs, record=record
        )
        return state.variables, losses

    tx = optax.sgd(0.1, momentum=0.5)
    images, state = syn.images, tx.init(syn.images)
    for i in range(3):
        loss, gradient = update(variables, images)
        np.testing.assert_allclose(loss, arrays["bilevel.total_f64"][i], rtol=5e-6)
        steps, state = tx.update(gradient, state)
        images = images + steps
        want = nhwc(arrays["bilevel.images_after"][i]).reshape(images.shape) - syn.images
        assert np.linalg.norm(images - syn.images - want) < 1e-4 * np.linalg.norm(want)
        if i < 2:
            variables, losses = train(variables, images)
            np.testing.assert_allclose(losses, arrays["bilevel.net_train_loss_f64"][i], rtol=5e-6)
    kernel = variables["params"]["classifier"]["kernel"]
    want = arrays["bilevel.net_param_after.classifier.weight"]
    assert np.isclose(jnp.linalg.norm(kernel), np.linalg.norm(want), rtol=1e-6)
