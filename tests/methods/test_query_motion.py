"""Query-driven motion on a real network: bounds, determinism, summary, decay, refusals."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import methods
from jdd.data import Batch, Data, Draw, Split, class_table, uniform
from jdd.evaluate import class_accuracies
from jdd.matching import Context, Pair, value_of
from jdd.methods import by_original_queries, by_queries, layer_features, query_motion
from jdd.methods.queries import QueryRule, constant_noise
from jdd.network_output import Output
from jdd.nn import convnet, mlp
from tests.methods.small_runs import (
    SHAPE,
    arrays,
    build,
    data,
    program,
    run,
    same,
    small,
    small_model,
    step,
)

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

ONE_UPDATE = small(
    "cafe",
    networks=10,
    updates=1,
    motion=by_queries(window=2, query=16),
    sampler=uniform(30),
    optimizer=methods.sgd(0.1),
)


@pytest.mark.parametrize("strategy", ["none", "crop_cutout"])
def test_networks_are_used_within_the_caps(strategy):
    recipe = small("cafe", options={"strategy": strategy})
    method = build(recipe)
    state, losses = run(recipe)
    assert np.isfinite(losses).all() and (losses > 0).all()
    updates, epochs = (np.asarray(x) for x in state.network.record[:2])
    assert (updates >= 3).all() and (updates <= 5).all() and updates.sum() == state.updates
    # A window of three is full after three epochs at the earliest; the last update is not followed by any.
    assert (3 * (updates - 1) <= epochs).all() and (epochs <= 4 * (updates - 1)).all()
    assert int(state.step) == 15 and bool(state.network.rest.is_done)
    assert same(state, run(recipe)[0])
    summary = method.summary(state)
    assert summary["networks"] == 3 and summary["updates_mean"] == updates.mean()
    assert summary["epochs_median"] == np.median(epochs)
    assert 0 <= summary["share_of_networks_capped"] <= 1
    assert 0 <= summary["share_of_trainings_capped"] <= 1
    assert method.summary(method.init(jax.random.key(0), data())) == {}


def test_dispatches_of_any_length_give_the_same_bits():
    recipe = small("cafe")
    whole, _ = run(recipe)
    advancing, state = program(recipe), build(recipe).init(jax.random.key(0), data())
    for n in (1, 8, 6):
        state, _ = advancing(state, data(), n)
    assert same(whole, state)
    assert advancing.program._cache_size() == 1


def scripted(*, outer: float, inner: float, window: int, max_epochs: int) -> methods.Motion:
    """Queries whose values alternate, so that every full window ranges over 0.3."""
    rule = QueryRule(
        outer, inner, lambda last, _: 0.3 - last, constant_noise, window, 16, max_epochs
    )
    return query_motion._motion(rule, 0.01, None)


def test_a_rule_that_is_never_met_is_ended_by_its_caps():
    motion = scripted(outer=0.1, inner=0.9, window=2, max_epochs=3)
    state, _ = run(small("cafe", networks=2, updates=4, motion=motion))
    record = state.network.record
    np.testing.assert_array_equal(record.updates, [4, 4])
    np.testing.assert_array_equal(record.epochs, [9, 9])
    np.testing.assert_array_equal(record.is_capped, [True, True])
    np.testing.assert_array_equal(record.capped_trainings, [3, 3])


def test_a_rule_that_is_always_met_takes_one_window():
    motion = scripted(outer=0.9, inner=0.1, window=4, max_epochs=100)
    recipe = small("cafe", networks=1, updates=9, motion=motion)
    state, losses = run(recipe)
    record = state.network.record
    assert (int(record.updates[0]), int(record.epochs[0])) == (4, 3 * 4)
    assert not record.is_capped[0] and not record.capped_trainings[0]
    # The five steps that were left do nothing, and report the last loss.
    assert len(set(losses[:4].tolist())) == 4 and set(losses[3:].tolist()) == {float(losses[3])}
    early, _ = run(recipe, 4)
    assert all(map(np.array_equal, arrays(early.network), arrays(state.network)))
    decode = build(recipe).decode
    assert np.array_equal(decode(early).images, decode(state).images)
    assert (int(early.step), int(state.step)) == (4, 9)
    assert int(early.updates) == int(state.updates) == 4


def test_the_first_update_is_the_gradient_of_the_objective():
    """One update of the loop, against the objective called by hand on the same draw."""
    recipe = dataclasses.replace(ONE_UPDATE, decay=None)
    method = build(recipe)
    start = method.init(jax.random.key(3), data())
    before = start.synthetic["images"]
    after, metrics = step(recipe)(start, data())
    moved = np.asarray(after.synthetic["images"] - before)

    # All images of a class are drawn, so that the draw's order is all that is random.
    network, params = small_model().network(after.network.variables)
    context = Context(network, params, jax.random.key(0))
    labels = jnp.tile(jnp.arange(3)[:, None], (1, 2))
    table = data().table
    real = Draw(table, table.start[:, None] + jnp.arange(30), jnp.ones((3, 30)))

    @jax.jit
    def of(images):
        return value_of(layer_features(), Pair(Batch(images, labels), real), context)

    value, gradient = jax.value_and_grad(of)(before)
    np.testing.assert_allclose(metrics.loss, value, rtol=1e-5)
    assert np.linalg.norm(moved + 0.1 * gradient) < 1e-4 * np.linalg.norm(moved)


def test_the_rate_falls_by_network():
    state = build(ONE_UPDATE).init(jax.random.key(0), data())

    def move(network):
        """How far the images move, with the randomness of one step and the rate of another."""
        at = dataclasses.replace(state, step=jnp.int32(network))
        after, _ = step(ONE_UPDATE)(at, data())
        return float(jnp.linalg.norm(after.synthetic["images"] - at.synthetic["images"]))

    # Steps differ in their draws too; the rate halves at 6, 8 and 9 of 10 networks.
    factor = methods.halved_after().factor
    assert [float(factor(k, 10)) for k in (5, 6, 7, 8, 9)] == [1.0, 0.5, 0.5, 0.25, 0.125]
    assert move(9) < 0.5 * move(5)


@pytest.mark.parametrize(
    ("make", "model"),
    [
        (by_queries, convnet(3, SHAPE, width=4, depth=1, norm="batch")),
        (by_original_queries, mlp(3, SHAPE)),
    ],
    ids=["corrected", "original"],
)
def test_the_papers_rules_run_on_other_networks(make, model):
    motion = make(window=2, query=8, max_epochs=2)
    recipe = small("cafe", networks=1, updates=3, motion=motion)
    state, losses = run(recipe, model=model)
    assert np.isfinite(losses).all() and int(state.network.record.updates[0]) >= 2


def test_class_accuracies_count_only_what_has_weight():
    """A network that always predicts class 1, in micro-batches that do not divide."""

    def forward(variables, images, *, training=False):
        return Output(jnp.tile(jnp.array([0.0, 1.0, 0.0]), (len(images), 1))), variables

    table = data().table
    model = dataclasses.replace(small_model(), forward=forward)
    indices = table.start[:, None] + jnp.arange(5)
    weights = jnp.ones((3, 5)).at[2, 3:].set(0)
    accuracies = class_accuracies(model, {}, table, indices, weights, micro_batch=4)
    np.testing.assert_array_equal(accuracies, [0.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="micro_batch"):
        class_accuracies(model, {}, table, indices, weights, micro_batch=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": 4}, "query must be at least the 5 synthetic images per class, got 4"),
        ({"query": 31}, "query must be at most 30, the images of the smallest class, got 31"),
        (
            {"query": 8, "outer": 0.5},
            r"outer threshold of 0\.5 for 1280 images is 3\.65 for the 24",
        ),
        ({"window": 101}, "window must be at most 100, the larger of updates and max_epochs"),
    ],
    ids=str,
)
def test_runs_that_queries_cannot_serve_are_refused(options, message):
    recipe = small("cafe", ipc=5, motion=by_queries(**options))
    with pytest.raises(ValueError, match=message):
        build(recipe).init(jax.random.key(0), data())


def test_a_query_of_small_classes_has_as_many_images_as_the_set():
    labels = np.repeat(np.arange(3, dtype=np.int32), 6)
    few = Data(class_table(Split(np.zeros((18, *SHAPE), np.uint8), labels), 3, (0.5,), (0.25,)))
    build(small("cafe", ipc=5, motion=by_queries())).init(jax.random.key(0), few)


@pytest.mark.parametrize(
    ("weights", "discrimination", "message"),
    [
        ([1.0, -1.0], 0.01, "weights must be at least 0 and finite"),
        ([1.0, float("nan")], 0.01, "weights must be at least 0 and finite"),
        ([1.0, float("inf")], 0.01, "weights must be at least 0 and finite"),
        (None, -1.0, "weights must be at least 0 and finite"),
        (None, float("nan"), "weights must be at least 0 and finite"),
        (None, float("inf"), "weights must be at least 0 and finite"),
        (None, None, "weights must be at least 0 and finite"),
        ((), 0.01, "one for each layer, got none"),
        ([0.0, 0.0], 0.0, "not all of them 0"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, discrimination, message):
    with pytest.raises(ValueError, match=message):
        layer_features(weights, discrimination_weight=discrimination)


@pytest.mark.parametrize("name", ["cafe", "cafe-fixed"])
def test_weights_for_another_number_of_layers_are_refused(name):
    """ConvNet-1 has two taps and an embedding."""
    method = build(small(name, options={"layer_weights": (1.0,) * 7}))
    state = method.init(jax.random.key(0), data())
    with pytest.raises(ValueError, match=r"one weight for each layer.* 7 weights"):
        jax.eval_shape(method.step, state, data())
