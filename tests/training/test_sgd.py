"""Training by SGD: the original's evaluation routine epoch by epoch, milestones, momentum, variants, rates."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import augment, losses
from jdd.evaluate import EvaluationProtocol
from jdd.interop import params_from_torch
from jdd.network_output import Output
from jdd.nn import Model, convnet
from jdd.training import SGD, TrainingState, train_epochs

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs


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
            TrainingState.begin(variables, protocol.sgd),
            images,
            labels,
            protocol.sgd,
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
            t[layer][leaf] - variables["params"][layer][leaf]
            for t in (final.variables["params"], ours)
        )
        assert np.linalg.norm(got - want) < 2e-4 * np.linalg.norm(want)


def test_decay_falls_after_epoch_index_half_plus_one():
    assert EvaluationProtocol("x", epochs=300).sgd.milestones == (152,)
    assert EvaluationProtocol("x", epochs=1000).sgd.milestones == (502,)


def small(n=10):
    model = convnet(2, (8, 8, 1), width=4, depth=1)
    images = jax.random.normal(jax.random.key(1), (n, 8, 8, 1))
    return model, model.init(jax.random.key(0)), images, jnp.arange(n) % 2


def test_minibatches_cover_every_image_once_per_epoch():
    model, variables, images, labels = small(10)
    seen = []

    def spy(key, batch):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), batch.images, ordered=True)
        return batch

    spying = dataclasses.replace(augment.no_augmentation(), per_sample=spy, name="spy")
    sgd = SGD(batch_size=4)
    run = jax.jit(
        lambda v: train_epochs(
            *(jax.random.key(3), model, TrainingState.begin(v, sgd), images, labels, sgd),
            epochs=2,
            augment=spying,
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
    sgd = SGD(batch_size=2, learning_rate=0.5)
    state, _ = train_epochs(
        *(jax.random.key(3), model, TrainingState.begin(variables, sgd), images, labels, sgd),
        epochs=1,
    )
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
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.variables, want)


def test_batch_norm_moves_its_statistics_while_training():
    model = convnet(2, (8, 8, 1), width=4, depth=1, norm="batch")
    variables = model.init(jax.random.key(0))
    images = 3 + jax.random.normal(jax.random.key(1), (6, 8, 8, 1))
    state = TrainingState.begin(variables, SGD())
    after, _ = train_epochs(
        jax.random.key(0), model, state, images, jnp.arange(6) % 2, SGD(), epochs=2
    )
    assert float(jnp.abs(after.variables["batch_stats"]["norm0"]["mean"]).max()) > 0


def test_batch_norm_sees_the_last_partial_batch_alone():
    model = convnet(2, (8, 8, 1), width=4, depth=1, norm="batch")
    variables, images = (
        model.init(jax.random.key(0)),
        jax.random.normal(jax.random.key(1), (5, 8, 8, 1)),
    )
    sgd = SGD(batch_size=3, learning_rate=1e-30)
    state = TrainingState.begin(variables, sgd)
    got, _ = train_epochs(jax.random.key(2), model, state, images, jnp.arange(5) % 2, sgd, epochs=1)
    order = jax.random.permutation(
        jax.random.fold_in(jax.random.fold_in(jax.random.key(2), 0), 0), 5
    )
    _, want = model.train(variables, images[order[:3]])
    _, want = model.train(want, images[order[3:]])
    for name, value in want["batch_stats"]["norm0"].items():
        moved = got.variables["batch_stats"]["norm0"][name]
        np.testing.assert_allclose(moved, value, rtol=1e-5, atol=1e-6)


# A network of one matrix, without BatchNorm: what SGD does to it is known by hand.


def linear():
    def forward(variables, images, *, training=False):
        return Output(images.reshape(len(images), -1) @ variables["params"]["w"]), variables

    return Model(lambda key: {}, forward, "linear", 2, (2, 2, 1))


IMAGES = jax.random.normal(jax.random.key(4), (6, 2, 2, 1))
LABELS = jnp.arange(6) % 2
WEIGHTS = {"params": {"w": jax.random.normal(jax.random.key(5), (4, 2))}}


def by_hand(
    epochs, *, rate, momentum=0.9, weight_decay=0.1, milestones=(), decay=0.1, restart=True
):
    """Full-batch SGD in PyTorch's convention, in float64."""
    x, w = (
        np.asarray(IMAGES, np.float64).reshape(6, 4),
        np.asarray(WEIGHTS["params"]["w"], np.float64),
    )
    hot, velocity, trajectory = np.eye(2)[np.asarray(LABELS)], 0.0, []
    for epoch in range(epochs):
        if epoch in milestones:
            rate *= decay
            velocity = 0.0 if restart else velocity
        logits = x @ w
        p = np.exp(logits - logits.max(1, keepdims=True))
        gradient = x.T @ (p / p.sum(1, keepdims=True) - hot) / 6 + weight_decay * w
        velocity = momentum * velocity + gradient
        w = w - rate * velocity
        trajectory.append(w)
    return np.array(trajectory)


def weights_of(sgd, epochs, *, images=IMAGES, state=None, key=0):
    """The state at the end and the weights after each epoch."""
    return train_epochs(
        jax.random.key(key),
        linear(),
        TrainingState.begin(WEIGHTS, sgd) if state is None else state,
        images,
        LABELS,
        sgd,
        epochs=epochs,
        record=lambda variables, loss: variables["params"]["w"],
    )


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("milestones", [(), (2,), (2, 4), (0,)])
def test_rates_fall_at_milestones_with_or_without_the_momentum(milestones, restart):
    sgd = SGD(0.5, 0.9, 0.1, milestones=milestones, decay=0.2, restart_momentum=restart)
    _, got = weights_of(sgd, 6)
    want = by_hand(6, rate=0.5, milestones=milestones, decay=0.2, restart=restart)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


def test_with_and_without_a_restart_differ():
    both = [by_hand(4, rate=0.5, milestones=(2,), restart=restart) for restart in (True, False)]
    np.testing.assert_array_equal(both[0][:2], both[1][:2])
    assert np.abs(both[0][2:] - both[1][2:]).max() > 1e-3


def test_another_rate_or_milestone_compiles_nothing():
    def trajectory(rate, milestone):
        return weights_of(SGD(rate, 0.9, 0.1, milestones=(milestone,)), 5)[1]

    run: Any = jax.jit(trajectory)
    for rate, milestone in ((0.5, 2), (0.05, 3), (0.2, 9)):
        got = run(jnp.float32(rate), jnp.int32(milestone))
        want = by_hand(5, rate=rate, milestones=(milestone,))
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)
    assert run._cache_size() == 1


def test_a_traced_number_of_epochs_compiles_nothing():
    sgd = SGD(0.5, 0.9, 0.1)

    def last(epochs):
        state = TrainingState.begin(WEIGHTS, sgd)
        args = jax.random.key(0), linear(), state, IMAGES, LABELS, sgd
        return train_epochs(*args, epochs=epochs)[0].variables["params"]["w"]

    run: Any = jax.jit(last)
    for epochs in (1, 4):
        want = by_hand(epochs, rate=0.5)[-1]
        np.testing.assert_allclose(run(jnp.int32(epochs)), want, rtol=2e-5, atol=1e-6)
    np.testing.assert_array_equal(run(jnp.int32(0)), WEIGHTS["params"]["w"])
    assert run._cache_size() == 1


def test_the_rate_has_a_derivative():
    def loss(rate):
        state, _ = weights_of(SGD(rate, 0.9, 0.1), 3)
        return jnp.square(state.variables["params"]["w"]).sum()

    got = jax.grad(loss)(jnp.float32(0.5))
    near = [np.square(by_hand(3, rate=0.5 + e)[-1]).sum() for e in (1e-4, -1e-4)]
    np.testing.assert_allclose(got, (near[0] - near[1]) / 2e-4, rtol=1e-3)


def test_momentum_goes_in_and_comes_out():
    sgd = SGD(0.5, 0.9, 0.1)
    _, whole = weights_of(sgd, 5)
    state, first = weights_of(sgd, 2)
    _, second = weights_of(sgd, 3, state=state)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=1e-5)
    # Without what came out, the rest is another.
    _, forgotten = weights_of(sgd, 3, state=TrainingState.begin(state.variables, sgd))
    assert np.abs(forgotten - second).max() > 1e-3
    velocity = jax.tree.leaves(state.optimizer)[0]
    want = (by_hand(2, rate=0.5)[0] - by_hand(2, rate=0.5)[1]) / 0.5
    np.testing.assert_allclose(velocity, want, rtol=1e-4, atol=1e-6)


def test_each_image_of_a_minibatch_draws_one_of_its_variants():
    """Variant v of image i is the number 10 i + v."""
    images = jnp.broadcast_to(
        (10.0 * jnp.arange(6)[:, None] + jnp.arange(3)).reshape(6, 3, 1, 1, 1), (6, 3, 2, 2, 1)
    )
    seen = []

    def spy(key, batch):
        values = (batch.images[:, 0, 0, 0], batch.labels)
        jax.debug.callback(
            lambda *x: seen.append([np.asarray(y) for y in x]), *values, ordered=True
        )
        return batch

    spying = dataclasses.replace(augment.no_augmentation(), per_sample=spy, name="spy")
    sgd = SGD(1e-30, batch_size=4)
    train_epochs(
        *(jax.random.key(0), linear(), TrainingState.begin(WEIGHTS, sgd), images, LABELS, sgd),
        epochs=30,
        augment=spying,
    )
    jax.effects_barrier()
    assert len(seen) == 60
    drawn = np.array(
        [np.concatenate([a[0], b[0]]) for a, b in zip(seen[::2], seen[1::2], strict=True)]
    )
    labels = np.array(
        [np.concatenate([a[1], b[1]]) for a, b in zip(seen[::2], seen[1::2], strict=True)]
    )
    image, variant = np.divmod(drawn.astype(int), 10)
    np.testing.assert_array_equal(np.sort(image, 1), np.tile(np.arange(6), (30, 1)))
    np.testing.assert_array_equal(labels, image % 2)
    shares = np.bincount(variant.ravel(), minlength=3) / variant.size
    assert (np.abs(shares - 1 / 3) < 0.1).all()
    # Not one variant for a whole minibatch.
    assert sum(len(set(v)) > 1 for v in variant[:, :4].tolist()) > 20


def test_one_variant_is_no_variant():
    sgd = SGD(0.5, batch_size=4)
    _, want = weights_of(sgd, 3)
    _, got = weights_of(sgd, 3, images=IMAGES[:, None])
    np.testing.assert_array_equal(got, want)
    _, twice = weights_of(sgd, 3, images=jnp.stack([IMAGES, IMAGES], 1))
    np.testing.assert_array_equal(twice, want)


@pytest.mark.parametrize(
    ("sgd", "message"),
    [
        (SGD(learning_rate=0.0), "learning_rate must be above 0 and finite, got 0.0"),
        (SGD(momentum=1.0), "momentum must be at least 0 and below 1, got 1.0"),
        (SGD(weight_decay=-1e-3), "weight_decay must be at least 0 and below 1, got -0.001"),
        (SGD(batch_size=0), "batch_size must be at least 1, got 0"),
        (SGD(decay=0.0), "decay must be above 0 and finite, got 0.0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(sgd, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        weights_of(sgd, 1, state=TrainingState.begin(WEIGHTS, SGD()))


def test_empty_sets_are_refused():
    model, variables, images, labels = small(2)
    state = TrainingState.begin(variables, SGD())
    for few in ((images[:0], labels[:0]), (images, labels[:1])):
        with pytest.raises(ValueError, match="need images with a label each"):
            train_epochs(jax.random.key(0), model, state, *few, SGD(), epochs=1)
    with pytest.raises(ValueError, match="epochs must be at least 0, got -1"):
        train_epochs(jax.random.key(0), model, state, images, labels, SGD(), epochs=-1)


def test_a_set_of_numpy_is_one_of_jax():
    """As `DistilledSet` holds it; the rows of a minibatch are traced."""
    model, sgd = convnet(2, (8, 8, 1), width=4, depth=1), SGD(batch_size=2)
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    labels = np.array([0, 1, 0])
    state = TrainingState.begin(model.init(jax.random.key(1)), sgd)
    kernels = [
        train_epochs(jax.random.key(0), model, state, x, y, sgd, epochs=1)[0].variables["params"]
        for x, y in ((images, labels), (jnp.asarray(images), jnp.asarray(labels)))
    ]
    jax.tree.map(np.testing.assert_array_equal, *kernels)
