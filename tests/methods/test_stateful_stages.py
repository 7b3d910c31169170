"""A stage with a network and an optimiser of its own: an adversary beside an objective."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

import jdd
from jdd import matching, methods
from jdd.data import Batch, Draw, draw_indices, take
from jdd.matching import Context, Pair, Stage
from tests.methods.small_runs import build, data, resumed, run, same, small, step

PIXELS = 64
OPTIMIZER = optax.adam(0.01)


def gap(params: dict[str, Array], synthetic: Array, real: Array) -> Array:
    """How much higher the scorer ranks real images; smooth in its parameters."""
    scores = (x.reshape(-1, PIXELS) @ params["weight"] + params["bias"] for x in (real, synthetic))
    real_scores, synthetic_scores = scores
    return jnp.tanh(real_scores).mean() - jnp.tanh(synthetic_scores).mean()


@jdd.register
def adversary() -> Stage:
    """The gap of a linear scorer between real and synthetic images; the scorer ascends at every step."""

    def init(key: Array) -> Any:
        params = {"weight": 0.01 * jax.random.normal(key, (PIXELS,)), "bias": jnp.zeros(())}
        return {"params": params, "optimizer": OPTIMIZER.init(params)}

    def apply(pair: Pair, state: Any, context: Context) -> tuple[Array, Any]:
        del context
        draw: Draw = pair.real
        real, synthetic = take(draw.table, draw.indices), pair.synthetic.images
        fixed = jax.lax.stop_gradient(synthetic)
        ascent = jax.tree.map(jnp.negative, jax.grad(gap)(state["params"], fixed, real))
        updates, optimizer = OPTIMIZER.update(ascent, state["optimizer"], state["params"])
        after = {"params": optax.apply_updates(state["params"], updates), "optimizer": optimizer}
        return gap(jax.lax.stop_gradient(state["params"]), synthetic, real), after

    return Stage(init, apply)


RECIPE = small(
    "dsa",
    objective=matching.add(methods.class_gradients(), matching.scale(0.1, adversary())),
)


def test_it_learns_beside_an_objective_and_resumes_bit_for_bit():
    start = build(RECIPE).init(jax.random.key(0), data())
    whole, losses = run(RECIPE)
    assert np.isfinite(losses).all()
    (empty, before), (still_empty, after) = start.objective, whole.objective
    assert jax.tree.leaves((empty, still_empty)) == []
    for name in ("weight", "bias"):
        assert (before["params"][name] != after["params"][name]).all()
    assert int(after["optimizer"][0].count) == 8  # one ascent per update
    assert same(whole, resumed(RECIPE, 1, 4, 3))
    assert methods.Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert str(RECIPE.objective) == "add(class_gradients(), scale(0.1, stage=adversary()))"


def test_its_step_is_an_ascent_on_what_it_sees_and_moves_the_images():
    """One step by hand: the scorer on the first images, the images by the scorer before its ascent."""
    recipe = dataclasses.replace(
        RECIPE,
        objective=matching.scale(0.1, adversary()),
        updates=1,
        motion=methods.never(),
        optimizer=methods.sgd(1.0),
    )
    state = build(recipe).init(jax.random.key(0), data())
    after, metrics = step(recipe)(state, data())
    key = jax.random.split(jax.random.fold_in(state.key, 0), 6)[2]
    real = take(data().table, draw_indices(key, data().table, 6)[0])
    images, params = state.synthetic["images"], state.objective["params"]
    want, gradient = jax.value_and_grad(lambda x: 0.1 * gap(params, x, real))(images)
    np.testing.assert_allclose(metrics.loss, want, rtol=1e-5)
    np.testing.assert_allclose(after.synthetic["images"], images - gradient, atol=1e-6)
    better = gap(after.objective["params"], images, real)
    assert better > gap(params, images, real)


def pair_and_context() -> tuple[Pair, Context]:
    images = jax.random.normal(jax.random.key(3), (3, 2, 8, 8, 1))
    draw = Draw(data().table, *draw_indices(jax.random.key(4), data().table, 5))
    batch = Batch(images, jnp.tile(jnp.arange(3)[:, None], (1, 2)))
    network = lambda w, x: x.reshape(len(x), -1) @ w  # noqa: E731
    return Pair(batch, draw), Context(network, jnp.ones((PIXELS, 3)), jax.random.key(5), step=2)


def count(state: Any) -> list[int]:
    """How many ascents each adversary in a state has made."""
    is_adversary = lambda x: isinstance(x, dict) and "params" in x  # noqa: E731
    return [int(x["optimizer"][0].count) for x in jax.tree.leaves(state, is_leaf=is_adversary)]


def same_pair() -> Stage:
    return matching.stateless(lambda pair, context: pair)


@pytest.mark.parametrize(
    ("stage", "counts"),
    [
        (adversary(), [1]),
        (matching.scale(2.0, adversary()), [1]),
        (matching.chain(same_pair(), adversary()), [1]),
        (matching.add(adversary(), adversary()), [1, 1]),
        (matching.switch(lambda step: step >= 2, adversary(), adversary()), [0, 1]),
        (matching.when_coupled(adversary(), adversary()), [0, 1]),
        (
            matching.add(
                matching.scale(0.5, matching.chain(same_pair(), adversary())),
                matching.switch(lambda step: step >= 9, adversary(), adversary()),
            ),
            [1, 1, 0],
        ),
    ],
    ids=["alone", "scale", "chain", "add", "switch", "when_coupled", "nested"],
)
def test_combinators_pass_its_state(stage, counts):
    pair, context = pair_and_context()
    state = stage.init(jax.random.key(0))
    value, after = stage.apply(pair, state, context)
    assert value.shape == () and np.isfinite(value)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert count(state) == [0] * len(counts) and count(after) == counts
    # Adversaries begin apart: each has a key of its own.
    weights = [x for x in jax.tree.leaves(state) if x.shape == (PIXELS,) and x.any()]
    assert len({float(x[0]) for x in weights}) == len(counts)


@pytest.mark.parametrize(
    ("name", "lift"),
    [
        ("per_class", matching.per_class),
        ("collective", matching.collective),
        ("each_against_all", lambda stage: matching.each_against_all(matching.features(), stage)),
        (
            "each_against_all",
            lambda stage: matching.each_against_all(stage, matching.discrimination()),
        ),
        ("over_networks", matching.over_networks),
    ],
)
def test_what_runs_a_stage_several_times_refuses_it(name, lift):
    with pytest.raises(ValueError, match=f"{name} needs a stage without state"):
        lift(adversary())
