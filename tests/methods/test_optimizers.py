"""Optimisers by group, decay by network and group, and their order with the projection."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdd import choice, methods
from jdd.methods import Decay, Optimizer, adam, by_group, descend, halved_after, sgd
from tests.methods.small_runs import build, data, resumed, run, same, small, step
from tests.parametrisations import mosaic, tinted

# One update of each network, which is never trained: a short program.
TINTED = small(
    "dm", options={"strategy": "none"}, updates=1, motion=methods.never(), synthetic=tinted()
)


def first_steps(recipe: methods.Recipe, n: int = 2) -> list[Any]:
    """The synthetic parameters before and after each of the first updates."""
    states = [build(recipe).init(jax.random.key(0), data())]
    for _ in range(n):
        states.append(step(recipe)(states[-1], data())[0])
    return [jax.tree.map(np.asarray, state.synthetic) for state in states]


def test_each_group_has_its_optimiser():
    """As two runs in which one optimiser moves everything."""
    both, images, tints = (
        first_steps(dataclasses.replace(TINTED, optimizer=optimizer), 1)[1]
        for optimizer in (by_group(images=sgd(0.5), tints=adam(0.01)), sgd(0.5), adam(0.01))
    )
    np.testing.assert_allclose(both["images"], images["images"], rtol=1e-6)
    np.testing.assert_allclose(both["tints"], tints["tints"], rtol=1e-6)
    assert np.abs(both["tints"] - images["tints"]).max() > 1e-5


def test_states_by_group_are_resumed_and_saved():
    recipe = dataclasses.replace(TINTED, optimizer=by_group(images=sgd(0.5, 0.5), tints=adam(0.01)))
    whole, losses = run(recipe)
    assert np.isfinite(losses).all() and same(whole, resumed(recipe, 3, 1))
    again = methods.Recipe.from_json(recipe.to_json())
    assert again == recipe and same(whole, run(again)[0])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"images": sgd(0.1)}, "by_group has the groups images, the parameters have images, tints"),
        (
            {"images": sgd(0.1), "tint": sgd(0.1)},
            "by_group has the groups images, tint, the parameters have images, tints",
        ),
    ],
)
def test_groups_that_are_not_those_of_the_parameters_are_refused(groups, message):
    recipe = dataclasses.replace(TINTED, optimizer=by_group(**groups))
    with pytest.raises(ValueError, match=message):
        methods.build(recipe, build(TINTED).model).init(jax.random.key(0), data())


def test_groups_need_a_dictionary():
    optimizer = by_group(images=sgd(0.1))
    with pytest.raises(
        ValueError, match="by_group has the groups images, the parameters have none"
    ):
        optimizer.transform.init(jnp.zeros(3))
    with pytest.raises(ValueError, match="by_group needs at least one group"):
        by_group()
    with pytest.raises(ValueError, match="images must be of kind Optimizer, got GradientTransf"):
        by_group(images=optax.sgd(0.1))  # type: ignore[arg-type]


def test_decay_is_a_factor_on_the_steps_of_each_network():
    def factor(network, networks):
        assert networks == 4
        return jnp.where(network == 0, 1.0, 0.25)

    plain = dataclasses.replace(TINTED, optimizer=sgd(0.5, 0.9))
    decayed = dataclasses.replace(plain, decay=Decay(factor))
    a, b = first_steps(plain), first_steps(decayed)
    for name in ("images", "tints"):
        np.testing.assert_array_equal(a[1][name], b[1][name])
        step_of_plain, step_of_decayed = (x[2][name] - x[1][name] for x in (a, b))
        # The momentum is not decayed, only what is added.
        np.testing.assert_allclose(step_of_decayed, 0.25 * step_of_plain, rtol=1e-3, atol=1e-6)


def test_decay_by_group():
    decay = Decay(
        lambda network, networks: {"images": 0.5, "tints": jnp.where(network > 9, 1.0, 0)}
    )
    plain = dataclasses.replace(TINTED, optimizer=sgd(0.5))
    a, b = first_steps(plain, 1), first_steps(dataclasses.replace(plain, decay=decay), 1)
    np.testing.assert_allclose(
        b[1]["images"] - b[0]["images"], 0.5 * (a[1]["images"] - a[0]["images"]), atol=1e-6
    )
    np.testing.assert_array_equal(b[1]["tints"], b[0]["tints"])
    assert not np.array_equal(a[1]["tints"], a[0]["tints"])


def test_decay_comes_between_the_optimiser_and_the_projection():
    """From 1 a step of -4: decayed to -2, then projected; any other order gives another number."""
    transform = optax.sgd(1.0)

    def loss(x):
        return 4.0 * x, ()

    def moved(**options):
        return float(descend(transform, loss, jnp.float32(1), transform.init(1.0), **options)[0])

    assert moved() == -3.0 and moved(decay=0.5) == -1.0
    assert moved(project=lambda x: x.clip(-0.75, 1)) == -0.75
    assert moved(decay=0.5, project=lambda x: x.clip(-0.75, 1)) == -0.75
    assert moved(decay=0.25, project=lambda x: x.clip(-0.75, 1)) == 0.0
    assert moved(decay=0.5, project=lambda x: x + 10) == 9.0  # (1 - 2) + 10, not 1 + 0.5 * 6


def test_decay_and_projection_in_a_run():
    """All pixels would leave [0, 1]: without decay they are clipped, with a decay of 0 they stay."""
    each = dataclasses.replace(mosaic(), projected="update")
    base = small("dm", options={"strategy": "none"}, updates=1, motion=methods.never())
    recipe = dataclasses.replace(base, synthetic=each, optimizer=sgd(1e4))
    stays = dataclasses.replace(recipe, decay=Decay(lambda network, networks: 0.0))
    before, after = (x["images"] for x in first_steps(stays, 1))
    np.testing.assert_array_equal(before, after)
    clipped = first_steps(recipe, 1)[1]["images"]
    assert clipped.min() == 0 and clipped.max() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sgd(0.0), "learning_rate must be above 0 and finite, got 0.0"),
        (lambda: sgd(float("nan")), "learning_rate must be above 0 and finite, got nan"),
        (lambda: sgd("0.1"), "learning_rate must be above 0 and finite, got '0.1'"),  # type: ignore[arg-type]
        (lambda: sgd(0.1, 1.0), "momentum must be at least 0 and below 1, got 1.0"),
        (lambda: sgd(0.1, -0.5), "momentum must be at least 0 and below 1, got -0.5"),
        (lambda: adam(0.1, b1=1.0), "b1 must be at least 0 and below 1, got 1.0"),
        (lambda: adam(-1), "learning_rate must be above 0 and finite, got -1"),
        (lambda: halved_after((0.5, 1.0)), "shares must be between 0 and 1, got 1.0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        make()


def test_what_is_registered_equals_what_it_makes():
    assert isinstance(choice.parse("sgd(0.1)"), Optimizer)
    assert choice.parse("by_group(images=sgd(0.1), tints=adam(0.01))") == by_group(
        images=sgd(0.1), tints=adam(0.01)
    )
    assert isinstance(choice.parse("halved_after((0.5, 0.9))"), Decay)
    assert [float(halved_after((0.5, 0.9)).factor(k, 10)) for k in (4, 5, 9)] == [1.0, 0.5, 0.25]
