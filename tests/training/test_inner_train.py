"""Training on a small set against the original's evaluation routine, epoch by epoch."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses
from jdd.evaluate import EvaluationProtocol
from jdd.interop import params_from_torch
from jdd.nn import convnet
from jdd.training import SGDRecipe, train_epochs


def test_the_whole_trajectory(reference):
    arrays = reference("inner_train")
    config = json.loads(str(arrays["meta"]))["config"]
    args = config["args"]
    model = convnet(
        args["num_classes"], (*args["im_size"], args["channel"]), width=args["net_width"]
    )
    start = {k.removeprefix("param."): arrays[k] for k in arrays.files if k.startswith("param.")}
    variables = params_from_torch(model, start)
    images = jnp.asarray(arrays["images"].transpose(0, 2, 3, 1))
    probe = jnp.asarray(arrays["probe"].transpose(0, 2, 3, 1))
    labels = jnp.asarray(arrays["labels"], jnp.int32)
    protocol = EvaluationProtocol("test", epochs=config["epoch_eval_train"])

    def record(variables, loss):
        after = losses.cross_entropy(model.apply(variables, images), labels).mean()
        return loss, after, model.apply(variables, probe), variables["params"]

    @jax.jit
    def run(variables):
        return train_epochs(
            jax.random.key(0),
            model,
            variables,
            images,
            labels,
            protocol.recipe,
            epochs=config["epoch_eval_train"] + 1,
            record=record,
        )

    final, (loss, after, logits, params) = run(variables)
    np.testing.assert_allclose(loss, arrays["loss_train_f64"], rtol=3e-6)
    # A missing weight decay changes this by 6e-5, a misplaced decay by 2e-2.
    np.testing.assert_allclose(after, arrays["loss_after_f64"], rtol=5e-6)
    want = arrays["probe_logits_f64"]
    assert np.linalg.norm(logits - want) < 1e-5 * np.linalg.norm(want)
    names = list(arrays["param_names"])
    want = arrays["param_norms_f64"][:, names.index("features.4.weight")]
    axes = tuple(range(1, params["conv1"]["kernel"].ndim))
    got = np.sqrt(np.square(np.asarray(params["conv1"]["kernel"], np.float64)).sum(axes))
    np.testing.assert_allclose(got, want, rtol=2e-6)
    end = {
        k.removeprefix("param_after_f64."): arrays[k].astype(np.float32)
        for k in arrays.files
        if k.startswith("param_after_f64.")
    }
    ours = params_from_torch(model, {**start, **end})["params"]
    for layer, leaf in (("conv0", "kernel"), ("norm2", "scale"), ("classifier", "kernel")):
        got, want = (
            t[layer][leaf] - variables["params"][layer][leaf] for t in (final["params"], ours)
        )
        assert np.linalg.norm(got - want) < 2e-4 * np.linalg.norm(want)


def test_decay_falls_after_epoch_index_half_plus_one():
    assert EvaluationProtocol("x", epochs=300).recipe.decay_after == 152
    assert EvaluationProtocol("x", epochs=1000).recipe.decay_after == 502


def small(n=10):
    model = convnet(2, (8, 8, 1), width=4, depth=1)
    images = jax.random.normal(jax.random.key(1), (n, 8, 8, 1))
    return model, model.init(jax.random.key(0)), images, jnp.arange(n) % 2


def test_minibatches_cover_every_image_once_per_epoch():
    model, variables, images, labels = small(10)
    seen = []

    def spy(key, x):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x, ordered=True)
        return x

    recipe = SGDRecipe(batch_size=4)
    run = jax.jit(
        lambda v: train_epochs(
            jax.random.key(3), model, v, images, labels, recipe, epochs=2, augment=spy
        )
    )
    jax.block_until_ready(run(variables))
    jax.effects_barrier()
    assert len(seen) == 6
    for epoch in (seen[:3], seen[3:]):
        assert [len(x) for x in epoch] == [4, 4, 2]
        kept = np.concatenate(epoch).reshape(10, -1)
        assert sorted(map(tuple, kept)) == sorted(map(tuple, np.asarray(images).reshape(10, -1)))
    assert not np.array_equal(seen[0], seen[3])


def test_partial_batch_has_the_mean_of_its_own_images():
    model, variables, images, labels = small(3)
    recipe = SGDRecipe(batch_size=2, learning_rate=0.5)
    got, _ = train_epochs(jax.random.key(3), model, variables, images, labels, recipe, epochs=1)
    order = jax.random.permutation(
        jax.random.fold_in(jax.random.fold_in(jax.random.key(3), 0), 0), 3
    )
    want = variables
    for chosen in (order[:2], order[2:]):
        gradient = jax.grad(
            lambda v, chosen=chosen: losses.cross_entropy(
                model.apply(v, images[chosen]), labels[chosen]
            ).mean()
        )(want)
        want = jax.tree.map(lambda p, g: p - 0.5 * g, want, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, want)


def test_batch_norm_moves_its_statistics_while_training():
    model = convnet(2, (8, 8, 1), width=4, depth=1, norm="batch")
    variables = model.init(jax.random.key(0))
    images = 3 + jax.random.normal(jax.random.key(1), (6, 8, 8, 1))
    after, _ = train_epochs(
        jax.random.key(0), model, variables, images, jnp.arange(6) % 2, SGDRecipe(), epochs=2
    )
    assert float(jnp.abs(after["batch_stats"]["norm0"]["mean"]).max()) > 0


def test_batch_norm_sees_the_last_partial_batch_alone():
    model = convnet(2, (8, 8, 1), width=4, depth=1, norm="batch")
    variables, images = (
        model.init(jax.random.key(0)),
        jax.random.normal(jax.random.key(1), (5, 8, 8, 1)),
    )
    recipe = SGDRecipe(batch_size=3, learning_rate=1e-30)
    got, _ = train_epochs(
        jax.random.key(2), model, variables, images, jnp.arange(5) % 2, recipe, epochs=1
    )
    order = jax.random.permutation(
        jax.random.fold_in(jax.random.fold_in(jax.random.key(2), 0), 0), 5
    )
    _, want = model.train(variables, images[order[:3]])
    _, want = model.train(want, images[order[3:]])
    for name, value in want["batch_stats"]["norm0"].items():
        np.testing.assert_allclose(got["batch_stats"]["norm0"][name], value, rtol=1e-5, atol=1e-6)


def test_empty_sets_are_refused():
    model, variables, images, labels = small(2)
    with pytest.raises(ValueError, match="need images with a label each"):
        train_epochs(
            jax.random.key(0), model, variables, images[:0], labels[:0], SGDRecipe(), epochs=1
        )
