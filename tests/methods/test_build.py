"""The loop of a recipe: what a step does, purity, compilation, presets under short loops."""

from __future__ import annotations

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdd import augment, baselines, matching, methods, synthetic
from jdd.data import Batch, Data, Draw, Split, class_table, draw_indices, take, uniform
from jdd.matching import Context, Pair, value_of
from jdd.methods import advance, class_gradients, never, on_synthetic
from tests.methods.small_runs import (
    PAPERS,
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

# CAFE's own motion has its own tests, test_query_motion.py.
FIXED = [name for name in PAPERS if name != "cafe"]
ONE_UPDATE = small("dc", networks=4, updates=1, motion=on_synthetic(0))


@pytest.mark.parametrize(
    ("name", "norm"), [*((name, "instance") for name in FIXED), ("dcc", "batch"), ("dm", "batch")]
)
def test_a_run_is_finite_moves_every_image_and_depends_on_its_key(name, norm):
    recipe, model = small(name), small_model(norm)
    first, losses = run(recipe, model=model)
    assert np.isfinite(losses).all() and (losses > 0).all()
    start = build(recipe, model).init(jax.random.key(0), data()).synthetic["images"]
    assert (jnp.abs(first.synthetic["images"] - start).max((2, 3, 4)) > 0).all()
    assert same(first, run(recipe, model=model)[0])
    assert not same(first.synthetic, run(recipe, seed=1, model=model)[0].synthetic)
    assert int(first.step) == int(first.updates) == recipe.total_steps == 8


def test_dispatches_of_any_length_give_the_same_bits_and_one_compilation():
    recipe = small("dsa")
    whole, losses = run(recipe)
    advancing = program(recipe)
    state, parts = build(recipe).init(jax.random.key(0), data()), []
    counts: tuple[Any, ...] = (1, 3, np.int64(4))
    for n in counts:
        state, part = advancing(state, data(), n)
        parts += list(part[:n])
    assert same(whole, state)
    np.testing.assert_array_equal(losses, np.array(parts))
    assert advancing.program._cache_size() == 1


def test_equal_recipes_and_other_data_of_the_same_shape_trace_nothing_anew():
    """One trace for all dispatches; a seed, a count and other images are arguments of the program."""
    method = build(small("dsa"))
    chex.clear_trace_counter()
    traced = method._replace(step=chex.assert_max_traces(lambda s, d: method.step(s, d), 1))
    advancing = advance(traced, 4)
    table = data().table
    other = Data(dataclasses.replace(table, images=255 - table.images))
    for seed, real, n in ((0, data(), 1), (1, data(), 4), (2, other, 3)):
        _, losses = advancing(method.init(jax.random.key(seed), real), real, n)
        assert np.isfinite(losses[:n]).all()
    assert advancing.program._cache_size() == 1


def test_one_step_is_one_optimiser_step_on_the_objective():
    state = build(ONE_UPDATE).init(jax.random.key(3), data())
    after, metrics = step(ONE_UPDATE)(state, data())
    keys = jax.random.split(jax.random.fold_in(state.key, 0), 6)
    network, params = small_model().network(small_model().init(keys[0]))
    draw = Draw(data().table, *draw_indices(keys[2], data().table, 6))
    labels = jnp.tile(jnp.arange(3)[:, None], (1, 2))
    context = Context(network, params, keys[3])
    loss, gradient = jax.value_and_grad(
        lambda x: value_of(class_gradients(), Pair(Batch(x, labels), draw), context)
    )(state.synthetic["images"])
    np.testing.assert_allclose(metrics.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(
        after.synthetic["images"], state.synthetic["images"] - 0.1 * gradient, atol=1e-5
    )


def test_networks_are_fresh_every_t_updates_and_train_in_between():
    recipe = small("dc", networks=2, updates=3, motion=on_synthetic(2))
    state = build(recipe).init(jax.random.key(0), data())
    networks = []
    for _ in range(6):
        state, _ = step(recipe)(state, data())
        networks.append(state.network.variables)
    kernels = [np.asarray(n["params"]["conv0"]["kernel"]) for n in networks]
    # Trained after updates 0 and 1, kept after 2 (no training after the last), fresh at 3.
    assert not np.array_equal(kernels[0], kernels[1])
    assert np.array_equal(kernels[1], kernels[2])
    assert np.abs(kernels[3] - kernels[2]).max() > 0.05 > np.abs(kernels[1] - kernels[0]).max()


def test_batch_norm_statistics_come_from_real_images():
    # Classes of 10: fewer than the 16 images of the policy.
    table = data().table
    few = np.concatenate([np.asarray(table.images[s : s + 10]) for s in table.start])
    few = class_table(Split(few, np.repeat(np.arange(3, dtype=np.int32), 10)), 3, (0.5,), (0.25,))
    model = small_model("batch")
    method = build(small("dc", networks=2, updates=1, motion=on_synthetic(0)), model)
    before = method.init(jax.random.key(0), Data(few))
    after, _ = jax.jit(method.step)(before, Data(few))
    keys = jax.random.split(jax.random.fold_in(before.key, 0), 6)
    indices, _ = draw_indices(keys[1], few, 10)  # 16, or the smallest class
    _, want = model.train(model.init(keys[0]), take(few, indices.reshape(-1)))
    for name, value in want["batch_stats"]["norm0"].items():
        got = after.network.variables["batch_stats"]["norm0"][name]
        np.testing.assert_allclose(got, value, rtol=1e-5)


def test_momentum_persists_across_networks():
    states = [build(ONE_UPDATE).init(jax.random.key(0), data())]
    for _ in range(2):
        states.append(step(ONE_UPDATE)(states[-1], data())[0])
    images = [state.synthetic["images"] for state in states]
    traces = [jax.tree.leaves(state.optimizer)[0] for state in states]
    gradient = traces[2] - 0.5 * traces[1]  # of the second network alone
    np.testing.assert_allclose(
        images[2] - images[1], -0.1 * (gradient + 0.5 * traces[1]), atol=1e-5
    )
    np.testing.assert_allclose(traces[1], (images[0] - images[1]) / 0.1, atol=1e-4)
    assert np.abs(traces[1]).max() > 1e-3


def test_init_and_step_work_under_jit_and_eval_shape():
    method = build(small("dsa"))
    jitted = jax.jit(method.init)(jax.random.key(0), data())
    shapes = jax.eval_shape(method.init, jax.random.key(0), data())
    assert jax.tree.structure(jitted) == jax.tree.structure(shapes)


def test_a_step_under_vmap_runs_several_seeds_at_once():
    method = build(ONE_UPDATE)
    keys = jax.random.split(jax.random.key(0), 2)
    states = jax.vmap(lambda key: method.init(key, data()))(keys)
    _, metrics = jax.jit(jax.vmap(method.step, (0, None)))(states, data())
    alone = [step(ONE_UPDATE)(method.init(key, data()), data())[1].loss for key in keys]
    np.testing.assert_allclose(metrics.loss, alone, rtol=1e-4)


@pytest.mark.parametrize("most", [0, -1, 1.5])
def test_dispatches_of_no_step_are_refused(most):
    with pytest.raises(ValueError, match=r"number of steps per dispatch must be .*at least 1"):
        advance(build(small("dsa")), most)


def test_more_steps_than_a_dispatch_holds_are_refused():
    method = build(small("dsa"))
    with pytest.raises(ValueError, match="0 to 2 steps at a time, got 5"):
        advance(method, 2)(method.init(jax.random.key(0), data()), data(), 5)


def test_state_survives_flattening():
    state = build(small("dsa")).init(jax.random.key(0), data())
    leaves, tree = jax.tree.flatten(state)
    assert same(jax.tree.unflatten(tree, leaves), state)
    assert dataclasses.is_dataclass(state)


def test_unequal_classes_count_with_all_they_have():
    rng = np.random.default_rng(1)
    labels = np.array([0] * 20 + [1] * 3 + [2] * 7, np.int32)
    images = rng.integers(0, 256, (30, 8, 8, 1), np.uint8)
    uneven = Data(class_table(Split(images, labels), 3, (0.5,), (0.25,)))
    method = build(small("dc", networks=2, updates=1, motion=never(), sampler=uniform(20)))
    state = method.init(jax.random.key(0), uneven)
    _, metrics = jax.jit(method.step)(state, uneven)
    assert np.isfinite(metrics.loss)
    _, weights = draw_indices(jax.random.key(0), uneven.table, 20)
    assert weights.sum(1).tolist() == [20, 3, 7]


def test_ipc_above_the_smallest_class_is_refused():
    with pytest.raises(ValueError, match=r"smallest class \(30\), got 31"):
        build(small("dsa", ipc=31)).init(jax.random.key(0), data())


def test_any_optimiser_of_optax_will_do():
    base = small("dsa", ipc=1, networks=2, updates=1, initial=synthetic.from_noise())
    recipe = dataclasses.replace(base, optimizer=optax.adam(1e-2))  # type: ignore[arg-type]
    state, losses = run(recipe)
    assert np.isfinite(losses).all() and int(state.step) == 2
    np.testing.assert_allclose(
        jnp.abs(state.synthetic["images"] - first_images(recipe)).max(), 0.02, rtol=0.05
    )


def first_images(recipe: methods.Recipe) -> Any:
    return build(recipe).init(jax.random.key(0), data()).synthetic["images"]


@pytest.mark.parametrize("name", ["dm", "dc"])
def test_the_loss_of_several_networks_is_their_mean(name):
    """And so is the gradient: one step by hand on each network."""
    changes: dict[str, Any] = {"networks": 2, "updates": 1, "motion": never()}
    changes |= {"augment": augment.no_augmentation()}
    recipe = small(name, **changes, networks_per_update=3)
    method = methods.build(recipe, small_model())
    assert method.recipe is recipe and method.model.name.startswith("3 x ")
    state = method.init(jax.random.key(0), data())
    after, metrics = jax.jit(method.step)(state, data())
    keys = jax.random.split(jax.random.fold_in(state.key, 0), 6)
    draw = Draw(data().table, *draw_indices(keys[2], data().table, 6))

    @jax.jit
    def of_one(variables, images):
        network, params = small_model().network(variables)
        batch = Batch(images, jnp.tile(jnp.arange(3)[:, None], (1, 2)))
        return value_of(recipe.objective, Pair(batch, draw), Context(network, params, keys[3]))

    images = state.synthetic["images"]
    each = [jax.value_and_grad(of_one, 1)(small_model().init(k), images) for k in three(keys[0])]
    losses, gradients = zip(*each, strict=True)
    np.testing.assert_allclose(metrics.loss, np.mean(losses), rtol=1e-5)
    rate = {"dm": 1.0, "dc": 0.1}[name]
    want = -rate * sum(gradients) / 3
    moved = after.synthetic["images"] - images
    assert np.linalg.norm(moved - want) < 1e-4 * np.linalg.norm(want)
    further, metrics = jax.jit(method.step)(after, data())
    assert np.isfinite(metrics.loss) and int(further.step) == 2


def three(key: jax.Array) -> jax.Array:
    """The keys of three stacked networks."""
    return jax.random.split(key, 3)


def test_initial_images_of_several_networks_are_chosen_by_one():
    changes = {"updates": 1, "motion": never(), "initial": baselines.from_herding(1)}
    one, three = (
        methods.build(small("dm", **changes, networks_per_update=k), small_model()) for k in (1, 3)
    )
    states = [method.init(jax.random.key(0), data()) for method in (one, three)]
    assert same(states[0].synthetic, states[1].synthetic)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"updates": 2},
            "networks_per_update above 1 needs updates of 1: several networks are never trained",
        ),
        (
            {"updates": 1, "motion": methods.by_queries(query=16)},
            "networks_per_update above 1 needs a motion that never trains, got by_queries",
        ),
        (
            {"updates": 1, "motion": methods.on_real(4, first_images=4)},
            r"networks_per_update above 1 needs a motion that never trains, got on_real\(4, first",
        ),
        (
            {
                "updates": 1,
                "objective": matching.chain(
                    matching.Stage(lambda key: jnp.zeros(3), lambda v, s, c: (v, s)),
                    class_gradients(),
                ),
            },
            "over_networks needs a stage without state",
        ),
    ],
)
def test_several_networks_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        methods.build(small("dm", **changes, networks_per_update=3), small_model())


def test_a_sampler_sees_the_first_of_several_networks():
    seen = []

    def draw(key, state, table, view):
        output = view.network(view.params, jnp.zeros((2, 8, 8, 1)))
        seen.append(output.logits.shape)
        return Draw(table, *draw_indices(key, table, 6)), state

    sampler = dataclasses.replace(uniform(6), draw=draw)
    recipe = small("dm", updates=1, motion=never(), sampler=sampler, networks_per_update=2)
    method = methods.build(recipe, small_model())
    jax.eval_shape(method.step, method.init(jax.random.key(0), data()), data())
    assert seen == [(2, 3)]


@pytest.mark.parametrize(
    ("sampled", "message"),
    [
        (lambda draw, state: (draw.of_class(0), state), "got Batch in place of the Draw"),
        (
            lambda draw, state: (draw._replace(indices=draw.indices[:2]), state),
            r"a Draw must have indices \[3, n\], got \(2, 6\)",
        ),
    ],
)
def test_what_a_sampler_cannot_return(sampled, message):
    usual = uniform(6)

    def draw(key, state, table, view):
        return sampled(*usual.draw(key, state, table, view))

    method = build(small("dm", sampler=dataclasses.replace(usual, draw=draw)))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(method.step, method.init(jax.random.key(0), data()), data())


@pytest.mark.parametrize("changes", [{"networks": 1}, {"updates": 3}], ids=str)
def test_a_warm_up_of_another_run_is_refused(changes):
    """`dataclasses.replace` changes the loops of a recipe, not the schedule of its objective."""
    recipe = small("dcc", **changes)
    if "networks" in changes:
        recipe = dataclasses.replace(
            recipe, objective=small("dcc", options={"warm_up_networks": 2}).objective
        )
    with pytest.raises(
        ValueError, match=r"the warm-up is . networks? of 2 updates, the recipe has"
    ):
        methods.build(recipe, small_model())
    # Without a warm-up the collective objective is the same at every step.
    none = small("dcc", options={"warm_up_networks": 0}).objective
    methods.build(dataclasses.replace(recipe, objective=none), small_model())


def test_initial_images_of_another_number_are_refused():
    usual = synthetic.from_real()
    fewer = dataclasses.replace(usual, images=lambda *args: usual.images(*args)[:, :1])
    method = methods.build(small("dm", ipc=2, initial=fewer), small_model())
    with pytest.raises(ValueError, match=r"must return images \(3, 2, 8, 8, 1\), got \(3, 1, 8"):
        method.init(jax.random.key(0), data())


def test_a_state_that_shares_arrays_with_the_table_leaves_it_alone():
    """The state is donated; a sampler of a user's may keep an array of the table, and one array twice."""
    usual = uniform(6)

    def init(key, table):
        return {"counts": table.count, "again": table.count}

    def draw(key, state, table, view):
        return usual.draw(key, (), table, view)[0], state

    sampler = dataclasses.replace(usual, init=init, draw=draw)
    recipe = small("dm", updates=1, motion=never(), sampler=sampler)
    real = Data(jax.tree.map(jnp.array, data().table))
    method = methods.build(recipe, small_model())
    _, losses = advance(method, 2)(method.init(jax.random.key(0), real), real, 2)
    assert np.isfinite(losses).all() and real.table.count.tolist() == [30, 30, 30]
