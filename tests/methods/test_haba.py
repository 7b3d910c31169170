"""HaBa as a recipe: the authors' constants, a run with trajectories and adversary that resumes, bad input."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jdd
from jdd import augment, data, matching, methods
from jdd.methods import view_similarity
from jdd.synthetic import flat
from tests.methods.small_runs import build, program, resumed, same, small_model, table

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs


def arguments(choice: Any) -> dict[str, Any]:
    return dict(choice.expression.arguments)


@pytest.mark.parametrize(
    ("bases", "steps", "starts", "log_rate", "step_size"),
    [
        (1, 50, 2, 1e-3, 0.01),
        (3, 50, 2, 1e-3, 0.01),
        (10, 30, 20, 0.1, 1e-3),
        (50, 30, 20, 0.1, 0.01),
    ],
)
def test_the_authors_constants(bases, steps, starts, log_rate, step_size):
    recipe = jdd.haba(bases, data="cifar10")
    trajectories = matching.chain(matching.unroll(steps), matching.trajectory_distance())
    assert recipe.objective == matching.add(trajectories, matching.scale(0.1, view_similarity()))
    groups = arguments(recipe.optimizer)
    for group in ("bases", "hallucinators"):
        assert groups[group] == methods.sgd(100.0, momentum=0.95)
    assert arguments(groups["step_size"])["learning_rate"] == pytest.approx(log_rate)
    assert arguments(groups["step_size"])["momentum"] == 0.9
    assert recipe.step_size == methods.log_step_size(step_size)
    assert recipe.start_epochs == methods.uniform_epochs(starts)
    assert (recipe.expert_epochs, recipe.iterations) == (2, 15_000)
    assert repr(recipe.protocol.augment) == "batch_standardised(dsa_augmentation())"
    assert recipe.augment == augment.dsa_augmentation()
    assert jdd.TrajectoryRecipe.from_json(recipe.to_json()) == recipe


def test_its_options():
    recipe = jdd.haba(
        1, data="digits", hallucinators=1, base_channels=1, adversary_weight=0, batches="plain"
    )
    assert str(recipe.synthetic) == "hallucinated(1, channels=1)"
    assert (
        recipe.protocol.name == "dsa-no-flip"
        and recipe.objective == jdd.mtt(1, data="digits").objective
    )
    for options, message in (
        ({"hallucinators": 1}, "hallucinators must be at least 2 with the adversary on"),
        ({"hallucinators": 0}, "num_hallucinators must be at least 1"),
        ({"base_channels": 3}, "channels of a basis must be 1 or None"),
        ({"adversary_weight": -1.0}, "adversary_weight must be at least 0"),
        ({"batches": "half"}, "unknown batches 'half'"),
    ):
        with pytest.raises(ValueError, match=message):
            jdd.haba(1, **options)  # type: ignore[arg-type]


def small_haba(**changes: Any) -> Any:
    options = {"hallucinators": 2, "steps": 2, "max_start_epoch": 1, "strategy": "none"}
    recipe = jdd.haba(2, data="digits", learning_rate=1.0, **options)
    return dataclasses.replace(recipe, **{"iterations": 3, "expert_epochs": 1} | changes)


def real():
    """Three classes and two experts of an epoch each."""
    flat_params = ravel_pytree(small_model().init(jax.random.key(0))["params"])[0]
    shape = (2, 2, flat_params.size)
    steps = 0.1 * jax.random.normal(jax.random.key(1), shape, jnp.float32)
    return data.Data(table(), data.Trajectories(flat_params[None, None] + steps))


def test_a_run_moves_everything_and_resumes_bit_for_bit():
    recipe = small_haba()
    start = build(recipe).init(jax.random.key(0), real())
    before = jax.tree.map(np.asarray, start.synthetic)
    state, losses = program(recipe)(start, real(), 3)
    assert np.isfinite(losses).all()
    for group in ("bases", "hallucinators", "step_size"):
        for x, y in zip(
            jax.tree.leaves(before[group]),
            jax.tree.leaves(state.synthetic[group]),
            strict=True,
        ):
            assert np.isfinite(y).all() and (x != y).any()
    assert int(state.objective[1]["steps"]) == 3
    batch = flat(build(recipe).decode(state))
    assert batch.images.shape == (6, 2, 8, 8, 1)
    assert same(state, resumed(recipe, 1, 2, real=real()))


def test_the_objective_is_the_sum_of_both_terms():
    """From one state, with the same keys: the loss with the adversary is larger by a tenth of a similarity."""
    recipe = small_haba()
    trajectories = matching.chain(matching.unroll(2), matching.trajectory_distance())
    alone = dataclasses.replace(recipe, objective=matching.add(trajectories))
    losses = []
    for each in (recipe, alone):
        state = build(each).init(jax.random.key(0), real())
        losses.append(jax.jit(build(each).step)(state, real())[1].loss)
    assert 0 < losses[0] - losses[1] < 0.1
    assert jnp.isfinite(losses[0])
