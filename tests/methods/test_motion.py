"""Motions: what they leave alone, training on the set and on real images, and what they refuse."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jdd
from jdd import augment
from jdd.data import take
from jdd.methods import Net, Round, never, on_real, on_synthetic
from jdd.synthetic import all_variants, flat
from jdd.training import SGD, Place, TrainingState, train_epochs, train_on_table
from tests.methods.small_runs import (
    build,
    data,
    program,
    resumed,
    run,
    same,
    small,
    small_model,
    step,
)

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

ON_REAL = on_real(5, first_images=3, learning_rate=0.02, batch_size=4)


def net_of(motion, key=0):
    variables, rest = motion.begin(jax.random.key(key), small_model(), data().table)
    return Net(variables, rest, motion.record(small_model(), 4))


def round_of(update=0, images=None):
    batch: Any = images
    return Round(
        small_model(),
        data().table,
        lambda: batch,
        augment.no_augmentation(),
        4,
        2,
        jnp.int32(0),
        jnp.int32(update),
    )


def test_a_network_that_never_moves():
    net = net_of(never())
    assert same(net.variables, small_model().init(jax.random.key(0))) and net.rest == ()
    assert never().move(jax.random.key(1), net, round_of()) is net
    recipe = small("dm", motion=never(), networks=2)
    state, _ = run(recipe)
    keys = jax.random.split(jax.random.fold_in(state.key, 2), 6)
    np.testing.assert_array_equal(
        state.network.variables["params"]["conv0"]["kernel"],
        small_model().init(keys[0])["params"]["conv0"]["kernel"],
    )


def test_training_on_the_set_is_train_epochs_on_all_of_it():
    recipe = small("dc", motion=on_synthetic(2, learning_rate=0.05, momentum=0.9, batch_size=4))
    method = build(recipe)
    state, _ = step(recipe)(method.init(jax.random.key(0), data()), data())
    keys = jax.random.split(jax.random.fold_in(state.key, 0), 6)
    sgd = SGD(0.05, 0.9, batch_size=4)
    batch = flat(all_variants(recipe.synthetic, state.synthetic, state.statistics))
    begun = TrainingState.begin(small_model().init(keys[0]), sgd)

    @jax.jit
    def trained(begun, batch):
        return train_epochs(
            keys[5], small_model(), begun, batch.images, batch.labels, sgd, epochs=2
        )[0]

    want = trained(begun, batch).variables
    for a, b in zip(jax.tree.leaves(state.network.variables), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_augmentation_of_a_motion_comes_before_that_of_the_recipe():
    crop = augment.dsa_augmentation("crop")
    none = augment.no_augmentation()
    batch = flat(all_variants(jdd.synthetic.pixels, {"images": jnp.ones((3, 2, 8, 8, 1))}, ()))  # type: ignore[arg-type]

    def kernel(motion, of_recipe):
        net = net_of(motion)
        moved = motion.move(
            jax.random.key(1), net, round_of(images=batch)._replace(augment=of_recipe)
        )
        return np.asarray(moved.variables["params"]["conv0"]["kernel"])

    for make in (lambda **o: on_synthetic(2, **o), lambda **o: on_real(8, batch_size=4, **o)):
        plain, cropped = kernel(make(), none), kernel(make(), crop)
        assert not np.array_equal(plain, cropped)
        np.testing.assert_array_equal(kernel(make(augment=crop), none), cropped)
        np.testing.assert_array_equal(kernel(make(augment=none), crop), plain)


def test_three_steps_and_five_on_real_images_are_eight():
    sgd, table = SGD(0.02, 0.9, 5e-4, batch_size=28), data().table  # 3 steps in an epoch

    def some_steps(state, place, steps):
        return train_on_table(small_model(), state, place, table, sgd, steps=steps)

    train: Any = jax.jit(some_steps)
    state = TrainingState.begin(small_model().init(jax.random.key(0)), sgd)
    start = state, Place.begin(jax.random.key(1), table)
    whole = train(*start, 8)
    assert same(whole, train(*train(*start, 3), 5))
    assert same(whole, train(*train(*train(*start, 1), 6), 1))
    assert train._cache_size() == 1
    state, place = whole
    assert int(place.step) == 8 and sorted(place.order.tolist()) == list(range(90))
    assert not same(state.variables, train(*start, 7)[0].variables)
    momentum = jax.tree.leaves(state.optimizer)
    assert momentum and all(np.abs(x).max() > 0 for x in momentum)


def test_real_minibatches_cover_the_table_in_a_new_order_each_epoch():
    seen = []

    def spy(key, batch):
        jax.debug.callback(
            lambda *x: seen.append([np.asarray(y) for y in x]), *batch[:2], ordered=True
        )
        return batch

    spying = dataclasses.replace(augment.no_augmentation(), per_sample=spy, name="spy")
    table, sgd = data().table, SGD(batch_size=28)
    start = (
        TrainingState.begin(small_model().init(jax.random.key(0)), sgd),
        Place.begin(jax.random.key(1), table),
    )
    train_on_table(small_model(), *start, table, sgd, steps=6, augment=spying)
    jax.effects_barrier()
    whole = np.asarray(take(table, jnp.arange(90))).reshape(90, -1)
    rows = {tuple(image): i for i, image in enumerate(whole)}
    assert len(seen) == 6
    epochs = []
    for epoch in (seen[:3], seen[3:]):
        images = np.concatenate([images for images, _ in epoch]).reshape(84, -1)
        drawn = [rows[tuple(image)] for image in images]
        labels = np.concatenate([labels for _, labels in epoch])
        assert len(set(drawn)) == 84 and labels.tolist() == [row // 30 for row in drawn]
        epochs.append(drawn)
    assert epochs[0] != epochs[1]


def test_momentum_and_place_live_as_long_as_the_network():
    recipe = small("dsa", motion=ON_REAL, networks=2, updates=3)
    state, steps, moments, weights = build(recipe).init(jax.random.key(0), data()), [], [], []
    for _ in range(6):
        state, _ = program(recipe)(state, data(), 1)
        optimizer, place = state.network.rest
        steps.append(int(place.step))
        moments.append(np.concatenate([np.ravel(x) for x in jax.tree.leaves(optimizer)]))
        weights.append(np.asarray(state.network.variables["params"]["conv0"]["kernel"]))
    # 3 images make a first minibatch; 5 images two more after each update but the last.
    assert steps == [3, 5, 5, 3, 5, 5]
    assert not np.array_equal(moments[0], moments[1])
    np.testing.assert_array_equal(moments[1], moments[2])
    np.testing.assert_array_equal(weights[1], weights[2])
    assert not np.array_equal(moments[2], moments[3])
    assert np.abs(weights[3] - weights[2]).max() > 0.05 > np.abs(weights[1] - weights[0]).max()
    assert same(state, run(recipe)[0])
    assert same(state, resumed(recipe, 1, 1, 3, 1))


def test_after_an_update_it_goes_on_where_it_was():
    """The motion of two updates is that of the table for as many steps, with its momentum."""
    motion = on_real(8, learning_rate=0.02, batch_size=4)
    sgd = SGD(0.02, 0.9, 5e-4, 4)
    net = net_of(motion)
    state = TrainingState.begin(net.variables, sgd)
    _, place = net.rest
    move = jax.jit(lambda net: motion.move(jax.random.key(9), net, round_of()))
    table = data().table
    train = jax.jit(lambda s, p: train_on_table(small_model(), s, p, table, sgd, steps=4))
    want, _ = train(state, place)
    got = move(move(net))
    for a, b in zip(jax.tree.leaves(got.variables), jax.tree.leaves(want.variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert int(got.rest[1].step) == 4


def test_more_images_than_the_table_has_are_one_batch():
    motion = on_real(1, batch_size=1000)
    moved = motion.move(jax.random.key(1), net_of(motion), round_of())
    assert int(moved.rest[1].step) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: on_synthetic(-1), "epochs must be at least 0, got -1"),
        (lambda: on_synthetic(0.5), "epochs must be a whole number of at least 0, got 0.5"),  # type: ignore[arg-type]
        (
            lambda: on_synthetic(1, learning_rate=0),
            "learning_rate must be above 0 and finite, got 0",
        ),
        (lambda: on_synthetic(1, momentum=1), "momentum must be at least 0 and below 1, got 1"),
        (lambda: on_synthetic(1, batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: on_real(0), "images must be at least 1, got 0"),
        (lambda: on_real(1, first_images=-1), "first_images must be at least 0, got -1"),
        (lambda: on_real(1, learning_rate=float("nan")), "learning_rate must be above 0"),
        (lambda: on_real(1, weight_decay=-1), "weight_decay must be at least 0 and below 1"),
        (lambda: on_real(1, augment="crop"), "augment must be of kind Augmentation or None"),  # type: ignore[arg-type]
    ],
)
def test_numbers_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        make()
