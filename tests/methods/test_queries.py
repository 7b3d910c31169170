"""CAFE's dynamic schedule against the original's decisions on recorded queries, and its caps."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.augment import no_augmentation
from jdd.data import Batch, Split, class_table
from jdd.methods import Net, Round, by_original_queries, by_queries, query_motion
from jdd.methods.queries import (
    QueryRule,
    VisitRecord,
    Window,
    accumulated_accuracy,
    binomial_noise,
    constant_noise,
    has_changed,
    has_plateaued,
    mean_accuracy,
)

FACTORIES = {"official": by_original_queries, "corrected": by_queries}
VALUES = {"official": accumulated_accuracy, "corrected": mean_accuracy}
SCRIPTS = [f"s{i}" for i in range(6)]


def script(reference, name):
    arrays = reference("cafe_schedule")
    return {k.removeprefix(f"{name}."): arrays[k] for k in arrays.files if k.startswith(name)}


def rule_of(kind, arrays, **options):
    outer, inner = (float(x) for x in arrays["lambda"])
    # The corrected reference was recorded with constant thresholds, whatever classes and accuracy.
    return QueryRule(outer, inner, VALUES[kind], constant_noise, **options)


def corrected(**options):
    usual = {"outer": 0.04, "inner": 0.03, "value": mean_accuracy, "noise": binomial_noise}
    return QueryRule(**usual | options)


@pytest.mark.parametrize("kind", FACTORIES)
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_value_and_decision(reference, name, kind):
    arrays = script(reference, name)
    rule = rule_of(kind, arrays)
    accuracies = arrays["correct_counts"].astype(np.float32) / 128
    push = jax.jit(functools.partial(Window.push, rule=rule))
    rows = zip(
        *(arrays[f"{kind}.{what}"] for what in ("events", "value", "range", "stop")), strict=True
    )
    windows = {}
    for (is_inner, outer, _, row, length), value, span, stop in rows:
        key = ("inner", int(outer)) if is_inner else "outer"
        window = push(
            windows.get(key, Window.empty(rule, accuracies.shape[1])), accuracies=accuracies[row]
        )
        windows[key] = window
        np.testing.assert_allclose(window.values[-1], value, rtol=1e-6)
        assert bool(window.is_full) == (length == 10) == (span >= 0)
        if span >= 0:
            np.testing.assert_allclose(window.range, span, atol=2e-7)
        decide = has_changed if is_inner else has_plateaued
        assert bool(decide(rule, window, 128)) == bool(stop)


def play(monkeypatch, rule, accuracies, max_updates):
    """The motion of one network whose queries are scripted; the last row repeats.

    Its variables count updates and epochs, so that each query gets the row of its place: one after each
    update and each epoch.
    """
    rows = jnp.asarray(accuracies, jnp.float32)
    classes = rows.shape[1]
    split = Split(np.zeros((classes, 1, 1, 1), np.uint8), np.arange(classes, dtype=np.int32))
    table = class_table(split, classes, (0.5,), (0.5,))
    synthetic = Batch(jnp.zeros((classes, 1, 1, 1)), jnp.arange(classes))

    def scripted(model, variables, table, indices, weights):
        assert indices.shape == (classes, 128)
        place = variables["updates"] + variables["epochs"] - 1
        return rows[jnp.minimum(place, len(rows) - 1)]

    def epoch(key, model, state, images, labels, sgd, *, epochs, augment):
        assert epochs == 1 and augment is None
        variables = {**state.variables, "epochs": state.variables["epochs"] + 1}
        return state._replace(variables=variables), None

    monkeypatch.setattr(query_motion, "class_accuracies", scripted)
    monkeypatch.setattr(query_motion, "train_epochs", epoch)
    motion = query_motion._motion(rule._replace(query=128), 0.01, None)
    assert motion.is_done is not None
    is_done = motion.is_done
    zeros = {"params": {}, "updates": jnp.int32(0), "epochs": jnp.int32(0)}
    model: Any = type("Scripted", (), {"init": staticmethod(lambda key: zeros)})

    def update(net):
        """What the loop does: an update of the set, then the motion."""
        done = net.variables["updates"]
        variables = {**net.variables, "updates": done + 1}
        round = Round(
            model, table, lambda: synthetic, no_augmentation(), 1, max_updates, jnp.int32(0), done
        )
        return motion.move(jax.random.key(0), net._replace(variables=variables), round)

    net = Net(*motion.begin(jax.random.key(0), model, table), VisitRecord.empty(1))
    net = jax.jit(lambda net: jax.lax.while_loop(lambda net: ~is_done(net), update, net))(net)
    recorded = {name: int(column[0]) for name, column in net.record._asdict().items()}
    assert recorded["updates"] == net.variables["updates"] == net.rest.updates
    assert recorded["epochs"] == net.variables["epochs"] == net.rest.epochs
    return recorded


@pytest.mark.parametrize("kind", FACTORIES)
@pytest.mark.parametrize("name", SCRIPTS)
def test_loops_end_where_the_originals_do(reference, monkeypatch, name, kind):
    arrays = script(reference, name)
    total, epochs = (int(arrays[f"{kind}.{n}"]) for n in ("n_image_updates", "n_net_epochs"))
    accuracies = arrays["correct_counts"] / 128
    if arrays[f"{kind}.terminated"]:
        rule = rule_of(kind, arrays, max_epochs=10**5)
        visit = play(monkeypatch, rule, accuracies, max_updates=10**4)
        assert (visit["updates"], visit["epochs"]) == (total, epochs)
        assert not visit["is_capped"] and not visit["capped_trainings"]
    else:  # it never ends: the caps end it
        rule = rule_of(kind, arrays, max_epochs=20)
        visit = play(monkeypatch, rule, accuracies, max_updates=3)
        assert (visit["updates"], visit["epochs"]) == (3, 40)
        assert visit["is_capped"] and visit["capped_trainings"] == 2


def test_caps_and_the_rule_at_the_same_query(monkeypatch):
    flat = np.full((40, 10), 0.5)
    # Ten equal values exhaust the network at the tenth update, which is also the last allowed.
    visit = play(monkeypatch, corrected(max_epochs=1), flat, max_updates=10)
    assert (visit["updates"], visit["epochs"], visit["capped_trainings"]) == (10, 9, 9)
    assert not visit["is_capped"]


def test_thresholds_follow_the_number_of_images():
    def factor(rule, classes, accuracy):
        query = rule.query_size(10**6, 1)
        return float(rule.noise(jnp.full((rule.window, classes), accuracy), query))

    usual = 0.5 - 0.07**0.5  # a (1 - a) = 0.18
    assert factor(corrected(), 10, usual) == pytest.approx(1)
    assert factor(corrected(query=512), 10, usual) == pytest.approx(0.5)
    assert factor(corrected(), 40, usual) == pytest.approx(0.5)
    assert factor(corrected(), 10, accuracy=0.1) == pytest.approx(0.5**0.5)
    original = QueryRule(0.04, 0.03, accumulated_accuracy, constant_noise, query=512)
    assert factor(original, 40, accuracy=0.1) == 1


def test_a_query_is_a_small_part_of_its_class():
    rule = corrected()
    assert [rule.query_size(smallest, 10) for smallest in (5000, 500, 100, 20)] == [
        128,
        125,
        25,
        10,
    ]
    assert corrected(query=7).query_size(5000, 10) == 7


UNEQUAL = [0.95, 0.95, 0.9, 0.9, 0.85, 0.8, 0.6, 0.5, 0.35, 0.2]


@pytest.mark.parametrize(
    ("classes", "query", "accuracy"),
    [
        (10, 128, 0.3),
        (10, 128, 0.95),
        (100, 128, 0.03),
        (2, 32, 0.5),
        (10, 128, UNEQUAL),
        (10, 128, [0.95, 0.8, *[0.01] * 8]),  # hardly more than two classes are ever predicted
        (10, 8, UNEQUAL),
    ],
)
def test_decisions_on_a_network_that_does_not_change_hardly_depend_on_the_noise(
    classes, query, accuracy
):
    """A stationary network: its queries are binomial."""
    rule = corrected(query=query)
    draws = np.random.default_rng(0).binomial(query, accuracy, (2000, rule.window, classes)) / query

    def decisions(accuracies):
        window, _ = jax.lax.scan(
            lambda window, each: (window.push(rule, each), None),
            Window.empty(rule, classes),
            accuracies,
        )
        return has_changed(rule, window, query), has_plateaued(rule, window, query)

    changed, plateaued = (
        x.mean() for x in jax.jit(jax.vmap(decisions))(jnp.asarray(draws, jnp.float32))
    )
    # A window of ten ranges over 3.08 standard deviations on average, with a deviation of 0.8:
    # the thresholds are at 2.53 and 3.37. Normal accuracies: 0.74 and 0.66.
    assert 0.67 < changed < 0.81 and 0.58 < plateaued < 0.74


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("outer", 0.0, "outer threshold must be between 0 and 1"),
        ("outer", 1.0, "outer threshold must be between 0 and 1"),
        ("inner", -0.1, "inner threshold must be between 0 and 1"),
        ("inner", float("nan"), "inner threshold must be between 0 and 1"),
        ("inner", None, "inner threshold must be between 0 and 1, got None"),
        ("max_epochs", 0, "max_epochs must be at least 1"),
        ("window", 1, "window must be at least 2"),
        ("query", 0, "query must be at least 1"),
        ("learning_rate", 0.0, "learning_rate must be above 0"),
        ("augment", "crop", "augment must be of kind Augmentation or None, got 'crop'"),
    ],
)
@pytest.mark.parametrize("kind", FACTORIES)
def test_numbers_that_cannot_be_are_refused(kind, option, value, message):
    with pytest.raises(ValueError, match=message):
        FACTORIES[kind](**{option: value})


@pytest.mark.parametrize(
    ("options", "run", "message"),
    [
        (
            {"window": 101},
            {},
            "window must be at most 100, the larger of updates and max_epochs, got 101",
        ),
        (
            {},
            {"networks": 2**31},
            "networks times updates must be at most 2147483647, got 2147483648",
        ),
        (
            {"max_epochs": 10**12},
            {},
            "max_epochs times updates must be at most 2147483647, got 1000000000000",
        ),
        (
            {"query": 20, "inner": 0.5},
            {"num_classes": 2},
            r"inner threshold of 0\.5 for 1280 images is 2\.83 for the 40 of a query",
        ),
        (
            {"query": 4},
            {"images": 5},
            "query must be at least the 5 synthetic images per class, got 4",
        ),
        (
            {"query": 31},
            {"smallest": 30},
            "query must be at most 30, the images of the smallest class",
        ),
    ],
    ids=str,
)
def test_a_run_that_the_rule_cannot_serve_is_refused(options, run, message):
    usual = {"num_classes": 10, "smallest": 5000, "networks": 1, "max_updates": 1, "images": 1}
    rule = corrected(**options)
    rule.check()
    corrected().check_run(**usual)
    with pytest.raises(ValueError, match=message):
        rule.check_run(**usual | run)
