"""The query-driven loop on a real network: bounds, determinism, summary, decay, refusals; CAFE's presets."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.data import Split, class_table
from jdd.data.batch import Batch, Draw
from jdd.evaluate import class_accuracies
from jdd.matching import Context, Pair, value_of
from jdd.methods import (
    advance,
    cafe,
    cafe_fixed,
    cafe_objective,
    cafe_rate,
    dc_loops,
    original_query_rule,
    query_rule,
)
from jdd.network_output import Output
from jdd.nn import convnet, mlp

SHAPE = (8, 8, 1)
UNSCALED = original_query_rule().noise


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    labels = np.arange(90, dtype=np.int32) % 3
    images = (
        rng.integers(0, 128, (90, *SHAPE), np.uint8)
        + (40 * labels).astype(np.uint8)[:, None, None, None]
    )
    return class_table(Split(images, labels), 3, (0.5,), (0.25,))


def make(rule=None, model=None, **options):
    model = model or convnet(3, SHAPE, width=4, depth=1)
    rule = rule or query_rule(networks=3, window=3, query=16, max_updates=5, max_epochs=4)
    return cafe(model, 2, rule=rule, real_batch=6, **options)


def run(method, table, seed=0):
    """All steps of all networks."""
    steps = method.loops.total_steps
    return advance(method, steps)(method.init(jax.random.key(seed), table), table, steps)


def leaves(tree):
    typed = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in jax.tree.leaves(tree)
    ]
    return [np.asarray(x) for x in typed]


@pytest.mark.parametrize("strategy", ["none", "crop_cutout"])
def test_networks_are_visited_within_the_caps(table, strategy):
    method = make(strategy=strategy)
    state, losses = run(method, table)
    assert np.isfinite(losses).all() and (losses > 0).all()
    updates, epochs = np.asarray(state.updates), np.asarray(state.epochs)
    assert (updates >= 3).all() and (updates <= 5).all()
    # A window of three is full after three epochs at the earliest; the last update is not followed by any.
    assert (3 * (updates - 1) <= epochs).all() and (epochs <= 4 * (updates - 1)).all()
    assert int(state.step) == 15 and bool(state.visit.is_left)
    again, _ = run(method, table)
    assert all(map(np.array_equal, leaves(state), leaves(again)))
    assert method.summary is not None
    summary = method.summary(state)
    assert summary["networks"] == 3 and summary["updates_mean"] == updates.mean()
    assert summary["epochs_median"] == np.median(epochs)
    assert 0 <= summary["share_of_networks_capped"] <= 1
    assert 0 <= summary["share_of_trainings_capped"] <= 1
    assert method.summary(method.init(jax.random.key(0), table)) == {}


def test_dispatches_of_any_length_give_the_same_bits(table):
    method = make()
    whole, _ = run(method, table)
    program, state = advance(method, 15), method.init(jax.random.key(0), table)
    for n in (1, 8, 6):
        state, _ = program(state, table, n)
    assert all(map(np.array_equal, leaves(whole), leaves(state)))
    assert program.program._cache_size() == 1


def test_a_rule_that_is_never_met_is_ended_by_its_caps(table):
    rule = query_rule(networks=2, window=2, query=16, max_updates=4, max_epochs=3)
    state, _ = run(make(rule._replace(outer=0.0, inner=2.0, noise=UNSCALED)), table)
    np.testing.assert_array_equal(state.updates, [4, 4])
    np.testing.assert_array_equal(state.epochs, [9, 9])
    np.testing.assert_array_equal(state.is_capped, [True, True])
    np.testing.assert_array_equal(state.capped_trainings, [3, 3])


def test_a_rule_that_is_always_met_takes_one_window(table):
    rule = query_rule(networks=1, window=4, query=16, max_updates=9)
    method = make(rule._replace(outer=2.0, inner=-1.0, noise=UNSCALED))
    state, losses = run(method, table)
    assert (int(state.updates[0]), int(state.epochs[0])) == (4, 3 * 4)
    assert not state.is_capped[0] and not state.capped_trainings[0]
    # The five steps that were left do nothing, and report the last loss.
    assert len(set(losses[:4].tolist())) == 4 and set(losses[3:9].tolist()) == {float(losses[3])}
    early, _ = advance(method, 9)(method.init(jax.random.key(0), table), table, 4)
    assert all(map(np.array_equal, leaves(early.network), leaves(state.network)))
    assert np.array_equal(method.decode(early)[0], method.decode(state)[0])


def test_the_first_update_is_the_gradient_of_the_objective(table):
    """One update of the loop, against the objective called by hand on the same draw."""
    rule = query_rule(networks=10, window=2, query=16, max_updates=1)
    method = cafe(convnet(3, SHAPE, width=4, depth=1), 2, rule=rule, real_batch=30, momentum=0.0)
    start = method.init(jax.random.key(3), table)
    before = jnp.array(method.decode(start)[0])  # the run donates its state
    after, losses = advance(method, 1)(start, table, 1)
    moved = np.asarray(method.decode(after)[0] - before)

    # All images of a class are drawn, so that the draw's order is all that is random.
    model = convnet(3, SHAPE, width=4, depth=1)
    apply, params = model.frozen(after.network)
    context = Context(
        apply, params, jax.random.key(0), features=model.frozen_features(after.network)
    )
    images, labels = before, jnp.tile(jnp.arange(3)[:, None], (1, 2))
    indices = table.start[:, None] + jnp.arange(30)
    real = Draw(table, indices, jnp.ones((3, 30)))

    def of(images):
        return value_of(cafe_objective(), Pair(Batch(images, labels), real), context)

    value, gradient = jax.value_and_grad(of)(images)
    np.testing.assert_allclose(losses[0], value / 3, rtol=1e-5)
    assert np.linalg.norm(moved + 0.1 * gradient) < 1e-4 * np.linalg.norm(moved)


def test_the_rate_falls_by_network(table):
    model = convnet(3, SHAPE, width=4, depth=1)
    rule = query_rule(networks=10, window=2, query=16, max_updates=1)
    method = cafe(model, 2, rule=rule, real_batch=6, momentum=0.0)
    state = method.init(jax.random.key(0), table)
    step = jax.jit(method.step)

    def move(network):
        """How far the images move, with the randomness of one step and the rate of another."""
        at = dataclasses.replace(state, step=jnp.int32(network * rule.max_updates))
        return float(jnp.linalg.norm(method.decode(step(at, table)[0])[0] - method.decode(at)[0]))

    # Steps differ in their draws too; the rate halves at 6, 8 and 9 of 10 networks.
    assert [float(cafe_rate(10)(k)) for k in (5, 6, 7, 8, 9)] == [1.0, 0.5, 0.5, 0.25, 0.125]
    assert move(9) < 0.5 * move(5)


@pytest.mark.parametrize(
    ("rule", "model"),
    [
        (query_rule(networks=1), convnet(3, SHAPE, width=4, depth=1, norm="batch")),
        (original_query_rule(networks=1), mlp(3, SHAPE)),
    ],
    ids=["corrected", "original"],
)
def test_the_papers_rules_run_on_other_networks_and_class_counts(table, rule, model):
    short = rule._replace(window=2, query=8, max_updates=3, max_epochs=2)
    state, losses = run(make(short, model), table)
    assert np.isfinite(losses).all() and int(state.updates[0]) >= 2


def test_class_accuracies_count_what_they_are_given(table):
    """A network that always says class 1, in micro-batches that do not divide."""

    def forward(variables, images, *, training=False):
        return Output(jnp.tile(jnp.array([0.0, 1.0, 0.0]), (len(images), 1))), variables

    model = dataclasses.replace(convnet(3, SHAPE, width=4, depth=1), forward=forward)
    indices = table.start[:, None] + jnp.arange(5)
    weights = jnp.ones((3, 5)).at[2, 3:].set(0)
    found = class_accuracies(model, {}, table, indices, weights, micro_batch=4)
    np.testing.assert_array_equal(found, [0.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="micro_batch"):
        class_accuracies(model, {}, table, indices, weights, micro_batch=0)


def test_refusals(table):
    model = convnet(3, SHAPE, width=4, depth=1)
    with pytest.raises(ValueError, match="a query has 4 real images per class, fewer than the 5"):
        cafe(model, 5, rule=query_rule(query=4)).init(jax.random.key(0), table)
    with pytest.raises(ValueError, match="31 real images per class, and a class has 30"):
        cafe(model, 5, rule=query_rule(query=31)).init(jax.random.key(0), table)
    with pytest.raises(
        ValueError, match=r"outer threshold of 0\.5 for 1280 images is 3\.65 for the 24"
    ):
        cafe(model, 5, rule=query_rule(query=8, outer=0.5)).init(jax.random.key(0), table)
    for make_one in (cafe, cafe_fixed):
        with pytest.raises(ValueError, match="ipc must be at least 1"):
            make_one(model, 0, start=lambda key, table: jnp.zeros((3, 1, *SHAPE)))
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weights must be at least 0 and finite"):
            cafe_objective(layer_weights=[1.0, weight])
        with pytest.raises(ValueError, match="weights must be at least 0 and finite"):
            cafe_objective(discrimination_weight=weight)
    with pytest.raises(ValueError, match="one for each layer, got none"):
        cafe_objective(layer_weights=())
    with pytest.raises(ValueError, match="not all of them 0"):
        cafe_objective(layer_weights=[0.0, 0.0], discrimination_weight=0.0)
    for make_one in (cafe, cafe_fixed):
        with pytest.raises(ValueError, match=r"layer_weights must be 3 for ConvNet-1.*got 7"):
            make_one(model, 2, layer_weights=[0.0] * 7)
    with pytest.raises(ValueError, match="weights must be at least 0 and finite"):
        cafe_objective(discrimination_weight=None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="rule must be a QueryRule"):
        cafe(model, 2, rule=dc_loops(1))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="networks must be at least 1"):
        cafe_rate(0)
