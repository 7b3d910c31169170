"""What BatchNorm does while gradients are matched is a choice of its own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses
from jdd.data import Batch, Data, Draw, Split, class_table, draw_indices, take, uniform
from jdd.matching import Context, Pair, chain, embeddings, features, gradients, value_of
from jdd.methods import batch_statistics, class_gradients, frozen_statistics, on_synthetic
from jdd.nn import alexnet, convnet
from tests.methods.small_runs import run, small

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (13, 8, 8, 1), np.uint8)
    labels = np.array([0] * 9 + [1] * 4, np.int32)
    return class_table(Split(images, labels), 2, (0.5,), (0.25,))


NORM_POLICIES = {"frozen": frozen_statistics, "batch": batch_statistics}


def model(norm="batch"):
    return convnet(2, (8, 8, 1), width=4, depth=1, norm=norm)


def test_frozen_statistics_are_of_so_many_real_images_of_each_class(table):
    network = model().init(jax.random.key(0))
    for asked, used in ((3, 3), (16, 4)):
        prepared = frozen_statistics(asked).prepare(jax.random.key(1), model(), network, table)
        indices, _ = draw_indices(jax.random.key(1), table, used)
        _, want = model().train(network, take(table, indices.reshape(-1)))
        for got, value in zip(
            jax.tree.leaves(prepared["batch_stats"]),
            jax.tree.leaves(want["batch_stats"]),
            strict=True,
        ):
            np.testing.assert_allclose(got, value, rtol=1e-6)
    refused: Any
    for refused in (0, 2.5):
        with pytest.raises(ValueError, match=f"per_class must be .*at least 1, got {refused}"):
            frozen_statistics(refused)


def test_batch_statistics_are_of_the_whole_batch_whatever_the_micro_batches(table):
    network, policy = model().init(jax.random.key(0)), batch_statistics()
    assert policy.prepare(jax.random.key(1), model(), network, table) is network
    function, params = policy.bind(model(), network)
    images = jax.random.normal(jax.random.key(2), (6, 8, 8, 1))
    batch = Batch(images, jnp.array([0, 1, 0, 1, 1, 0]))
    stage = chain(gradients(real_micro_batch=2, synthetic_micro_batch=3))
    pair = Pair(batch, batch._replace(images=-images))
    got = value_of(stage, pair, Context(function, params, jax.random.key(0), coupled=True))

    def loss(params, batch):
        logits, _ = model().train({**network, "params": params}, batch.images)
        return losses.cross_entropy(logits, batch.labels).mean()

    for side, gradient in zip(pair, got, strict=True):
        want = jax.grad(loss)(params, side)
        for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    split = value_of(stage, pair, Context(function, params, jax.random.key(0)))
    kernels = [side["conv0"]["kernel"] for side in (got.real, split.real)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


@pytest.mark.parametrize("stage", [features, embeddings])
def test_features_of_the_whole_batch_whatever_the_micro_batches(stage):
    network = model().init(jax.random.key(0))
    function, params = batch_statistics().bind(model(), network)
    images = jax.random.normal(jax.random.key(2), (6, 8, 8, 1))
    batch = Batch(images, jnp.array([0, 1, 0, 1, 1, 0]))
    pair = Pair(batch, batch._replace(images=2 * images + 1))
    split = stage(real_micro_batch=2, synthetic_micro_batch=3)

    def of(stage, *, coupled):
        context = Context(function, params, jax.random.key(0), coupled=coupled)
        return jax.tree.leaves(value_of(stage, pair, context))

    got, want = of(split, coupled=True), of(stage(real_micro_batch=6), coupled=True)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)
    embedding = function(params, pair.real.images).embedding
    assert any(x.shape == embedding.shape and np.allclose(x, embedding) for x in got)
    split_up = of(split, coupled=False)
    assert max(np.abs(a - b).max() for a, b in zip(got, split_up, strict=True)) > 1e-2


LOOPS = {"networks": 2, "updates": 2, "motion": on_synthetic(1)}


def test_a_run_under_each_policy(table):
    losses_of = {}
    for name, make in NORM_POLICIES.items():
        # More real images than the smallest class has.
        recipe = small("dc", **LOOPS, sampler=uniform(8), norm_policy=make())
        state, losses_of[name] = run(recipe, model=model(), real=Data(table))
        assert np.isfinite(losses_of[name]).all() and np.isfinite(state.synthetic["images"]).all()
        # Moved by the pass over real images, or by training in between.
        assert not (state.network.variables["batch_stats"]["norm0"]["mean"] == 0).all()
    assert abs(losses_of["frozen"] - losses_of["batch"]).min() > 1e-3


def test_without_batch_norm_the_policy_plays_no_part():
    network = model("instance").init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(2), (3, 8, 8, 1))
    for make in NORM_POLICIES.values():
        function, params = make().bind(model("instance"), network)
        np.testing.assert_array_equal(
            function(params, images).logits, model("instance").apply(network, images)
        )


def test_gradients_are_matched_on_alexnet_with_batch_norm(table):
    """The policy and the objective alone: a whole step of so large a network compiles for long."""
    network, policy = alexnet(2, (8, 8, 1), norm="batch"), frozen_statistics(2)
    real = Draw(table, *draw_indices(jax.random.key(1), table, 2))
    labels = jnp.arange(2)[:, None]

    @jax.jit
    def of(images, variables):
        prepared = policy.prepare(jax.random.key(2), network, variables, table)
        context = Context(*policy.bind(network, prepared), jax.random.key(0))
        return jax.value_and_grad(
            lambda x: value_of(class_gradients(), Pair(Batch(x, labels), real), context)
        )(images)

    images = jax.random.normal(jax.random.key(3), (2, 1, 8, 8, 1))
    value, gradient = of(images, network.init(jax.random.key(0)))
    assert np.isfinite(value) and value > 0
    assert np.isfinite(gradient).all() and (jnp.abs(gradient).max((2, 3, 4)) > 0).all()
