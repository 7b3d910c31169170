"""A sampler from outside: its state is that of the run, it sees the run, and it resumes."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from jdd import data, methods
from jdd.data import View
from tests.methods.samplers import in_order
from tests.methods.small_runs import build, resumed, run, same, small, small_model, step
from tests.methods.small_runs import data as real


@pytest.mark.parametrize("name", ["dm", "dsa"])
def test_its_state_is_part_of_the_run(name):
    recipe = small(name, sampler=in_order(7))
    whole, losses = run(recipe)
    assert np.isfinite(losses).all()
    # 8 updates of 7 images each, 30 images in a class; update_of_run counts from 0.
    assert whole.sampler["place"].tolist() == [56 % 30] * 3
    assert int(whole.sampler["updates"]) == 7
    assert same(whole, resumed(recipe, 3, 1, 4))
    assert methods.Recipe.from_json(recipe.to_json()) == recipe


def test_it_decides_which_images_are_matched():
    """With one image of each class, and the same one as initial image, embeddings agree at once."""
    base = small("dm", ipc=1, options={"strategy": "none"}, updates=1, motion=methods.never())
    recipe = dataclasses.replace(base, sampler=in_order(1), optimizer=methods.sgd(1e-30))
    state = build(recipe).init(jax.random.key(0), real())
    table = real().table
    first = data.take(table, table.start)[:, None]
    losses = []
    for images in (first, first + 1):
        begun = dataclasses.replace(state, synthetic={"images": images})
        losses.append(float(step(recipe)(begun, real())[1].loss))
    assert losses[0] < 1e-6 < losses[1]
    second = data.take(table, table.start + 1)[:, None]
    begun = dataclasses.replace(state, synthetic={"images": second})
    begun, _ = step(recipe)(begun, real())
    assert step(recipe)(begun, real())[1].loss < 1e-6


def test_what_it_sees_of_the_run():
    """Updates of the run and of the network, the network itself, and whether images are coupled."""
    usual = in_order(4)

    def draw(key, state, table, view: View):
        output = view.network(view.params, jax.numpy.zeros((2, 8, 8, 1)))
        assert output.logits.shape == (2, 3) and output.embedding is not None
        drawn, _ = usual.draw(key, state["usual"], table, view)
        logged = jax.numpy.stack([view.update_of_run, view.update_of_network, view.coupled * 1])
        kept = jax.lax.dynamic_update_slice(
            state["log"], logged[None].astype(np.int32), (state["row"], 0)
        )
        kernel = jax.tree.leaves(view.params)[0].ravel()[0]
        return drawn, state | {"log": kept, "row": state["row"] + 1, "weight": kernel}

    def init(key, table):
        zeros = jax.numpy.zeros((8, 3), np.int32)
        return {"usual": usual.init(key, table), "log": zeros, "row": np.int32(0) + zeros[0, 0]} | {
            "weight": jax.numpy.float32(0)
        }

    sampler = dataclasses.replace(usual, init=init, draw=draw)
    for norm in ("instance", "batch"):
        recipe = small("dm", sampler=sampler, networks=2, updates=4, motion=methods.never())
        state, _ = run(recipe, model=small_model(norm))
        want = [[i, i % 4, int(norm == "batch")] for i in range(8)]
        assert state.sampler["log"].tolist() == want
        variables = state.network.variables["params"]
        assert state.sampler["weight"] == jax.tree.leaves(variables)[0].ravel()[0]


def test_a_key_of_its_own():
    """The key of init is not that of a step, and each update has another."""

    def init(key, table):
        return {"first": jax.random.bits(key), "later": jax.random.bits(key)}

    def draw(key, state, table, view):
        drawn, _ = data.uniform(4).draw(key, (), table, view)
        return drawn, state | {"later": jax.random.bits(key)}

    sampler = dataclasses.replace(data.uniform(4), init=init, draw=draw)
    recipe = small("dm", options={"strategy": "none"}, sampler=sampler, updates=1)
    state = build(recipe).init(jax.random.key(0), real())
    seen = [int(state.sampler["first"])]
    for _ in range(3):
        state, _ = step(recipe)(state, real())
        seen.append(int(state.sampler["later"]))
        assert int(state.sampler["first"]) == seen[0]
    assert len(set(seen)) == 4
