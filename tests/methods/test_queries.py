"""CAFE's dynamic schedule against the original's decisions on recorded queries, and its caps."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jdd.methods.query_rule import Visit, Window, has_moved, is_exhausted, turn

from jdd.methods import original_query_rule, query_rule

RULES = {"official": original_query_rule, "corrected": query_rule}
SCRIPTS = [f"s{i}" for i in range(6)]


def script(reference, name):
    arrays = reference("cafe_schedule")
    return {k.removeprefix(f"{name}."): arrays[k] for k in arrays.files if k.startswith(name)}


def rule_of(kind, arrays, **options):
    outer, inner = (float(x) for x in arrays["lambda"])
    rule = RULES[kind](outer=outer, inner=inner, **options)
    # The corrected reference was recorded with constant thresholds, whatever classes and accuracy.
    return rule._replace(noise=original_query_rule().noise)


@pytest.mark.parametrize("kind", RULES)
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
        decide = has_moved if is_inner else is_exhausted
        assert bool(decide(rule, window)) == bool(stop)


def play(rule, accuracies):
    """Visits a network whose queries are scripted; the last row repeats."""
    rows = jnp.asarray(accuracies, jnp.float32)

    def one(inside):
        """The carry counts updates and epochs itself."""
        return turn(
            rule,
            *inside,
            update=lambda carry, i: carry.at[0].add(jnp.where(i == carry[0], 1, -(10**6))),
            train=lambda carry, j: carry.at[1].add(jnp.where(j == carry[1], 1, -(10**6))),
            # A query is asked once, after each update and each epoch, in order.
            query=lambda carry, q: jnp.where(
                q == carry.sum() - 1, rows[jnp.minimum(q, len(rows) - 1)], jnp.nan
            ),
        )

    start = (jnp.zeros(2, jnp.int32), Visit.begin(rule, rows.shape[1]))
    counted, seen = jax.jit(
        lambda: jax.lax.while_loop(lambda inside: ~inside[1].is_left, one, start)
    )()
    assert counted.tolist() == [seen.updates, seen.epochs]
    return jax.tree.map(int, seen._replace(window=None))


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("name", SCRIPTS)
def test_loops_end_where_the_originals_do(reference, name, kind):
    arrays = script(reference, name)
    total, epochs = (int(arrays[f"{kind}.{n}"]) for n in ("n_image_updates", "n_net_epochs"))
    accuracies = arrays["correct_counts"] / 128
    if arrays[f"{kind}.terminated"]:
        seen = play(rule_of(kind, arrays, max_updates=10**4, max_epochs=10**5), accuracies)
        assert (seen.updates, seen.epochs) == (total, epochs)
        assert not seen.is_capped and not seen.capped_trainings
    else:  # it never ends: the caps end it
        seen = play(rule_of(kind, arrays, max_updates=3, max_epochs=20), accuracies)
        assert (seen.updates, seen.epochs) == (3, 40)
        assert seen.is_capped and seen.capped_trainings == 2


def test_caps_and_the_rule_at_the_same_query():
    flat = np.full((40, 10), 0.5)
    # Ten equal values exhaust the network at the tenth update, which is also the last allowed.
    seen = play(query_rule(max_updates=10, max_epochs=1), flat)
    assert (seen.updates, seen.epochs, seen.capped_trainings) == (10, 9, 9)
    assert not seen.is_capped


def test_thresholds_follow_the_number_of_images():
    def factor(rule, classes, accuracy):
        return float(rule.noise(jnp.full((rule.window, classes), accuracy), rule.query))

    usual = 0.5 - 0.07**0.5  # a (1 - a) = 0.18
    assert factor(query_rule(), 10, usual) == pytest.approx(1)
    assert factor(query_rule(query=512), 10, usual) == pytest.approx(0.5)
    assert factor(query_rule(), 40, usual) == pytest.approx(0.5)
    assert factor(query_rule(), 10, accuracy=0.1) == pytest.approx(0.5**0.5)
    assert factor(original_query_rule(query=512), 40, accuracy=0.1) == 1


UNEQUAL = [0.95, 0.95, 0.9, 0.9, 0.85, 0.8, 0.6, 0.5, 0.35, 0.2]


@pytest.mark.parametrize(
    ("classes", "query", "accuracy"),
    [
        (10, 128, 0.3),
        (10, 128, 0.95),
        (100, 128, 0.03),
        (2, 32, 0.5),
        (10, 128, UNEQUAL),
        (10, 128, [0.95, 0.8, *[0.01] * 8]),  # hardly more than two classes are ever answered
        (10, 8, UNEQUAL),
    ],
)
def test_networks_that_do_not_change_are_answered_alike_whatever_the_noise(
    classes, query, accuracy
):
    """A stationary network: its queries are binomial, and what the rule says of them hardly depends on more."""
    rule = query_rule(query=query)
    draws = np.random.default_rng(0).binomial(query, accuracy, (2000, rule.window, classes)) / query

    def answers(accuracies):
        window, _ = jax.lax.scan(
            lambda window, each: (window.push(rule, each), None),
            Window.empty(rule, classes),
            accuracies,
        )
        return has_moved(rule, window), is_exhausted(rule, window)

    moved, exhausted = (
        x.mean() for x in jax.jit(jax.vmap(answers))(jnp.asarray(draws, jnp.float32))
    )
    # A window of ten ranges over 3.08 standard deviations on average, with a deviation of 0.8:
    # the thresholds are at 2.53 and 3.37. Normal answers: 0.74 and 0.66.
    assert 0.67 < moved < 0.81 and 0.58 < exhausted < 0.74


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("outer", 0.0, "outer threshold must be between 0 and 1"),
        ("outer", 1.0, "outer threshold must be between 0 and 1"),
        ("inner", -0.1, "inner threshold must be between 0 and 1"),
        ("inner", float("nan"), "inner threshold must be between 0 and 1"),
        ("max_updates", 0, "max_updates must be at least 1"),
        ("max_epochs", 0, "max_epochs must be at least 1"),
        ("inner", None, "inner threshold must be between 0 and 1, got None"),
        ("window", 1, "window must be at least 2"),
        ("window", 101, "window must be at most 100, the larger of max_updates and max_epochs"),
        ("query", 0, "query must be at least 1"),
        ("networks", 0, "networks must be at least 1"),
        ("networks", 2**31, "networks times max_updates must be at most 2147483647"),
        ("max_epochs", 10**12, "max_epochs times max_updates must be at most 2147483647"),
    ],
)
@pytest.mark.parametrize("kind", RULES)
def test_refuses_numbers_that_cannot_be(kind, option, value, says):
    with pytest.raises(ValueError, match=says):
        RULES[kind](**{option: value})


def test_refuses_a_threshold_that_no_accuracy_of_so_few_images_ranges_over():
    with pytest.raises(
        ValueError, match=r"inner threshold of 0\.5 for 1280 images is 2\.83 for the 40"
    ):
        query_rule(query=20, inner=0.5).check(2)
