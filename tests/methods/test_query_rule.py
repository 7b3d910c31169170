"""CAFE's dynamic schedule against the original's decisions on recorded queries, and its caps."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.methods import original_query_rule, query_rule
from jdd.methods.query_rule import Visit, Window, has_moved, is_exhausted, turn

RULES = {"official": original_query_rule, "corrected": functools.partial(query_rule, 10)}
SCRIPTS = [f"s{i}" for i in range(6)]


def script(reference, name):
    arrays = reference("cafe_schedule")
    return {k.removeprefix(f"{name}."): arrays[k] for k in arrays.files if k.startswith(name)}


def rule_of(kind, arrays, **options):
    outer, inner = (float(x) for x in arrays["lambda"])
    rule = RULES[kind](outer=outer, inner=inner, **options)
    # The corrected reference was recorded with unscaled thresholds, whatever the classes.
    return rule._replace(outer=outer, inner=inner)


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
        window = push(windows.get(key, Window.empty(rule)), accuracies=accuracies[row])
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

    start = (jnp.zeros(2, jnp.int32), Visit.begin(rule))
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
        seen = play(rule_of(kind, arrays, max_updates=10**6, max_epochs=10**6), accuracies)
        assert (seen.updates, seen.epochs) == (total, epochs)
        assert not seen.is_capped and not seen.capped_trainings
    else:  # it never ends: the caps end it
        seen = play(rule_of(kind, arrays, max_updates=3, max_epochs=20), accuracies)
        assert (seen.updates, seen.epochs) == (3, 40)
        assert seen.is_capped and seen.capped_trainings == 2


def test_caps_and_the_rule_at_the_same_query():
    flat = np.full((40, 10), 0.5)
    # Ten equal values exhaust the network at the tenth update, which is also the last allowed.
    seen = play(query_rule(10, max_updates=10, max_epochs=1), flat)
    assert (seen.updates, seen.epochs, seen.capped_trainings) == (10, 9, 9)
    assert not seen.is_capped


def test_thresholds_follow_the_number_of_images():
    usual = query_rule(10)
    assert (usual.outer, usual.inner) == (0.04, 0.03)
    assert query_rule(10, query=512).outer == pytest.approx(0.02)
    assert query_rule(40).inner == pytest.approx(0.015)
    assert original_query_rule(query=512).outer == 0.04


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("outer", 0.0, "outer threshold must be between 0 and 1"),
        ("outer", 1.0, "outer threshold must be between 0 and 1"),
        ("inner", -0.1, "inner threshold must be between 0 and 1"),
        ("inner", float("nan"), "inner threshold must be between 0 and 1"),
        ("max_updates", 0, "max_updates must be at least 1"),
        ("max_epochs", 0, "max_epochs must be at least 1"),
        ("window", 1, "window must be at least 2"),
        ("query", 0, "query must be at least 1"),
        ("networks", 0, "networks must be at least 1"),
    ],
)
@pytest.mark.parametrize("kind", RULES)
def test_refuses_numbers_that_cannot_be(kind, option, value, says):
    with pytest.raises(ValueError, match=says):
        RULES[kind](**{option: value})
