"""DM's matching step against the original: losses, embeddings, image gradients, three updates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdd import losses
from jdd.matching import (
    Batch,
    Context,
    Pair,
    batch_mean,
    chain,
    distance,
    embeddings,
    joint_embeddings,
    over_networks,
    per_class,
    squared_error,
    value_of,
)
from jdd.methods import batch_statistics, class_embeddings
from jdd.network_output import Output
from jdd.nn import convnet, stacked


def recorded(arrays, setting, norm="in"):
    """The context of the recorded network as DM sees it, and both batches."""
    kind = {"in": "instance", "bn": "batch"}[norm]
    model, variables, syn, real = setting(arrays, kind, f"param_{norm}.")
    network, params = batch_statistics().bind(model, variables)
    return Context(network, params, jax.random.key(0)), syn, real


@pytest.mark.parametrize("run", ["in.plain", "in.aug_run", "bn.plain", "bn.aug_run"])
def test_three_updates(reference, setting, nhwc, stored_augmentation, run):
    arrays = reference("dm_step")
    norm, kind = run.split(".")
    context, syn, real = recorded(arrays, setting, norm)
    augmented = [stored_augmentation(arrays)] if kind == "aug_run" else []
    if norm == "in":
        embedded = [embeddings(real_micro_batch=3, synthetic_micro_batch=1), batch_mean()]
        objective = per_class(chain(*augmented, *embedded, squared_error()))
    else:
        total = distance(lambda s, r: losses.mean_embedding(s.values, r.values))
        objective = chain(*map(per_class, augmented), joint_embeddings(), total)

    @jax.jit
    def of(images):
        def loss(x):
            return value_of(objective, Pair(syn._replace(images=x), real), context)

        return jax.value_and_grad(loss)(images)

    tx = optax.sgd(1.0, momentum=0.5)
    images, state = syn.images, tx.init(syn.images)
    for update in range(3):
        loss, gradient = of(images)
        np.testing.assert_allclose(loss, arrays[f"{run}.loss_f64"][update], rtol=2e-6)
        norm = arrays.get(f"{run}.image_grad_norms_f64", arrays[f"{run}.image_grad_norms"])
        np.testing.assert_allclose(np.linalg.norm(gradient), norm[update], rtol=1e-5)
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


def test_class_terms_and_the_loss_alone(reference, setting):
    arrays = reference("dm_step")
    context, syn, real = recorded(arrays, setting)
    both = jax.jit(lambda c: value_of(per_class(embeddings()), Pair(syn, real), c))(context)
    # PyTorch flattens (channel, row, column): the values are the same, in another order.
    got, want = both.synthetic.values, arrays["in.plain.syn_embed"]
    np.testing.assert_allclose(np.sort(got), np.sort(want), rtol=1e-4, atol=1e-5)
    loss = losses.mean_embedding(both.synthetic.values, both.real.values)
    np.testing.assert_allclose(loss, arrays["in.plain.loss_f64"][0], rtol=2e-6)
    terms = jax.vmap(lambda s, r: losses.mean_embedding(s[None], r[None]))(
        both.synthetic.values, both.real.values
    )
    np.testing.assert_allclose(terms, arrays["in.plain.loss_per_class_f64"], rtol=3e-6)


def test_padded_images_count_for_nothing():
    context, batch = small()
    weights = jnp.array([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    fewer = batch._replace(weights=weights)
    loss = value_of(class_embeddings(strategy="none"), Pair(batch, fewer), context)
    embedded = batch.images.reshape(2, 4, -1) @ context.params
    want = jnp.square(embedded[0].mean(0) - embedded[0, :2].mean(0)).sum()
    np.testing.assert_allclose(loss, want, rtol=1e-5)


def small():
    images = jax.random.normal(jax.random.key(1), (2, 4, 2, 2, 3))
    weights = jax.random.normal(jax.random.key(2), (12, 5))

    def network(w, x):
        return Output(x, (), x.reshape(len(x), -1) @ w)

    context = Context(network, weights, jax.random.key(0))
    return context, Batch(images, jnp.tile(jnp.arange(2)[:, None], (1, 4)))


@pytest.mark.parametrize("over", ["map", "vmap", 2])
def test_several_networks_are_averaged(over):
    model = convnet(2, (8, 8, 1), width=4, depth=1)
    several = stacked(model, 3).init(jax.random.key(3))
    keys = jax.random.split(jax.random.key(4), 2)
    real, syn = (Batch(jax.random.normal(k, (2, 5, 8, 8, 1)), jnp.zeros((2, 5), int)) for k in keys)

    def loss(variables, stage):
        network, params = model.network(variables)
        context = Context(network, params, jax.random.key(0))

        def of(images):
            return value_of(stage, Pair(syn._replace(images=images), real), context)

        return jax.value_and_grad(of)(syn.images)

    objective = class_embeddings(strategy="none")
    got = loss(several, over_networks(objective, over=over))
    each = [loss(jax.tree.map(lambda x, i=i: x[i], several), objective) for i in range(3)]
    for a, *parts in zip(got, *each, strict=True):
        np.testing.assert_allclose(a, sum(parts) / 3, rtol=2e-5, atol=1e-6)


def test_a_network_without_features_is_refused():
    context, batch = small()
    blind = Context(lambda w, x: x.reshape(len(x), -1) @ w, context.params, context.key)
    with pytest.raises(ValueError, match=r"needs the embedding .* returns logits alone"):
        value_of(class_embeddings(strategy="none"), Pair(batch, batch), blind)
