"""The network-matching loop: what a step does, purity, compilation, presets."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdd import synthetic
from jdd.data import Split, class_table, draw_indices, take
from jdd.data.batch import Batch, Draw
from jdd.matching import Context, Pair, value_of
from jdd.methods import METHODS, Loops, advance, dc, dc_loops, dsa
from jdd.methods.dc import dc_objective
from jdd.nn import convnet

# CAFE's own schedule has its own tests, test_query_matching.py.
MAKERS = {name: entry.factory for name, entry in METHODS.items() if entry.loops is not None}
AUGMENTED = ("dsa", "dsac", "dm")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8, 1), np.uint8)
    return class_table(Split(images, np.arange(30, dtype=np.int32) % 3), 3, (0.5,), (0.25,))


def model(norm="instance"):
    return convnet(3, (8, 8, 1), width=4, depth=1, norm=norm)


def make(name="dsa", loops=Loops(4, 2, 1), norm="instance", **options):
    if name in AUGMENTED:  # two ops of the six compile in half the time
        options = {"strategy": "crop_cutout"} | options
    return MAKERS[name](model(norm), 2, loops=loops, real_batch=6, **options)


def same(a, b):
    return all(
        np.array_equal(x, y)
        for x, y in zip(
            jax.tree.leaves(jax.tree.map(_raw, a)),
            jax.tree.leaves(jax.tree.map(_raw, b)),
            strict=True,
        )
    )


def _raw(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


@pytest.mark.parametrize(
    ("name", "norm"), [*((name, "instance") for name in MAKERS), ("dcc", "batch"), ("dm", "batch")]
)
def test_a_run_is_finite_moves_every_image_and_depends_on_its_key(table, name, norm):
    method = make(name, norm=norm)
    run = advance(method, 8)
    first, losses = run(method.init(jax.random.key(0), table), table, 8)
    assert np.isfinite(losses).all() and (losses > 0).all()
    start = method.init(jax.random.key(0), table).synthetic["images"]
    assert (jnp.abs(first.synthetic["images"] - start).max((2, 3, 4)) > 0).all()
    again, _ = run(method.init(jax.random.key(0), table), table, 8)
    assert same(first, again)
    other, _ = run(method.init(jax.random.key(1), table), table, 8)
    assert not same(first.synthetic, other.synthetic)


def test_dispatches_of_any_length_give_the_same_bits_and_one_compilation(table):
    method = make()
    run = advance(method, 8)
    whole, losses = run(method.init(jax.random.key(0), table), table, 8)
    state, parts = method.init(jax.random.key(0), table), []
    for n in (1, 3, 4):
        state, part = run(state, table, n)
        parts += list(part[:n])
    assert same(whole, state)
    np.testing.assert_array_equal(losses, np.array(parts))
    assert run.program._cache_size() == 1


def test_one_step_is_one_optimiser_step_on_the_objective(table):
    method = dc(model(), 2, loops=Loops(3, 1, 0), real_batch=6, start=None)
    state = method.init(jax.random.key(3), table)
    after, metrics = jax.jit(method.step)(state, table)
    keys = jax.random.split(jax.random.fold_in(state.key, 0), 6)
    network = model().init(keys[0])
    draw = Draw(table, *draw_indices(keys[2], table, 6))
    labels = jnp.tile(jnp.arange(3)[:, None], (1, 2))
    context = Context(*model().frozen(network), keys[3])
    loss, gradient = jax.value_and_grad(
        lambda x: value_of(dc_objective(), Pair(Batch(x, labels), draw), context)
    )(state.synthetic["images"])
    np.testing.assert_allclose(metrics.loss, loss / 3, rtol=1e-5)
    np.testing.assert_allclose(
        after.synthetic["images"], state.synthetic["images"] - 0.1 * gradient, atol=1e-5
    )


def test_networks_are_fresh_every_t_updates_and_train_in_between(table):
    method = make("dc", loops=Loops(2, 3, 2))
    step = jax.jit(method.step)
    state = method.init(jax.random.key(0), table)
    networks = []
    for _ in range(6):
        state, _ = step(state, table)
        networks.append(state.network)
    kernels = [np.asarray(n["params"]["conv0"]["kernel"]) for n in networks]
    # Trained after updates 0 and 1, kept after 2 (no training after the last), fresh at 3.
    assert not np.array_equal(kernels[0], kernels[1])
    assert np.array_equal(kernels[1], kernels[2])
    assert np.abs(kernels[3] - kernels[2]).max() > 0.05 > np.abs(kernels[1] - kernels[0]).max()


def test_batch_norm_statistics_come_from_real_images(table):
    method = make("dc", loops=Loops(2, 1, 0), norm="batch")
    before = method.init(jax.random.key(0), table)
    after, _ = jax.jit(method.step)(before, table)
    keys = jax.random.split(jax.random.fold_in(before.key, 0), 6)
    indices, _ = draw_indices(keys[1], table, 10)  # 16, or the smallest class
    _, want = model("batch").train(model("batch").init(keys[0]), take(table, indices.reshape(-1)))
    for name, value in want["batch_stats"]["norm0"].items():
        np.testing.assert_allclose(after.network["batch_stats"]["norm0"][name], value, rtol=1e-5)


def test_momentum_persists_across_networks(table):
    method = make(loops=Loops(4, 1, 0))
    step = jax.jit(method.step)
    states = [method.init(jax.random.key(0), table)]
    for _ in range(2):
        states.append(step(states[-1], table)[0])
    images = [state.synthetic["images"] for state in states]
    traces = [jax.tree.leaves(state.optimizer)[0] for state in states]
    gradient = traces[2] - 0.5 * traces[1]  # of the second network alone
    np.testing.assert_allclose(
        images[2] - images[1], -0.1 * (gradient + 0.5 * traces[1]), atol=1e-5
    )
    np.testing.assert_allclose(traces[1], (images[0] - images[1]) / 0.1, atol=1e-4)
    assert np.abs(traces[1]).max() > 1e-3


def test_init_and_step_work_under_jit_and_eval_shape(table):
    method = make()
    jitted = jax.jit(method.init)(jax.random.key(0), table)
    shapes = jax.eval_shape(method.init, jax.random.key(0), table)
    assert jax.tree.structure(jitted) == jax.tree.structure(shapes)


def test_a_step_under_vmap_runs_several_seeds_at_once(table):
    method = make("dc", loops=Loops(2, 1, 0))
    keys = jax.random.split(jax.random.key(0), 2)
    states = jax.vmap(lambda key: method.init(key, table))(keys)
    _, metrics = jax.jit(jax.vmap(method.step, (0, None)))(states, table)
    alone = [jax.jit(method.step)(method.init(key, table), table)[1].loss for key in keys]
    np.testing.assert_allclose(metrics.loss, alone, rtol=1e-4)


@pytest.mark.parametrize(
    ("loops", "message"),
    [
        (Loops(0, 1, 1), "loops.networks must be at least 1, got 0"),
        (Loops(1, 0, 0), "loops.updates must be at least 1, got 0"),
        (Loops(1, 1, -1), "loops.net_epochs must be at least 0, got -1"),
    ],
)
def test_impossible_loops_are_refused(loops, message):
    with pytest.raises(ValueError, match=message):
        make(loops=loops)


def test_more_steps_than_a_dispatch_holds_are_refused(table):
    run = advance(make(), 2)
    with pytest.raises(ValueError, match="0 to 2 steps at a time, got 5"):
        run(make().init(jax.random.key(0), table), table, 5)


def test_state_survives_flattening(table):
    state = make().init(jax.random.key(0), table)
    leaves, tree = jax.tree.flatten(state)
    assert same(jax.tree.unflatten(tree, leaves), state)
    assert dataclasses.is_dataclass(state)


def test_unequal_classes_count_with_all_they_have():
    rng = np.random.default_rng(1)
    labels = np.array([0] * 20 + [1] * 3 + [2] * 7, np.int32)
    images = rng.integers(0, 256, (30, 8, 8, 1), np.uint8)
    uneven = class_table(Split(images, labels), 3, (0.5,), (0.25,))
    method = dc(model(), 2, loops=Loops(2, 1, 0), real_batch=20)
    state = method.init(jax.random.key(0), uneven)
    _, metrics = jax.jit(method.step)(state, uneven)
    assert np.isfinite(metrics.loss)
    _, weights = draw_indices(jax.random.key(0), uneven, 20)
    assert weights.sum(1).tolist() == [20, 3, 7]


@pytest.mark.parametrize(
    ("ipc", "want"),
    [(1, (1, 1)), (10, (10, 50)), (20, (20, 25)), (30, (30, 20)), (40, (40, 15)), (50, (50, 10))],
)
def test_the_papers_loop_table(ipc, want):
    assert dc_loops(ipc) == Loops(1000, *want)


def test_other_ipcs_are_interpolated_and_say_so():
    assert dc_loops(5) == Loops(1000, 5, 23, interpolated=True)
    assert dc_loops(45) == Loops(1000, 45, 12, interpolated=True)
    assert dc_loops(100) == Loops(1000, 50, 10, interpolated=True)
    with pytest.raises(ValueError, match="at least 1"):
        dc_loops(0)


def test_ipc_above_the_smallest_class_is_refused(table):
    with pytest.raises(ValueError, match=r"smallest class \(10\), got 11"):
        dsa(model(), 11, loops=Loops(1, 1, 0)).init(jax.random.key(0), table)


def test_any_optimiser_of_optax_will_do(table):
    from jdd.methods import network_matching
    from jdd.methods.dsa import dsa_objective

    method = network_matching(
        "own",
        model=model(),
        objective=dsa_objective("crop"),
        synthetic=synthetic.pixels,
        start=lambda key, table: synthetic.noise(key, table, 1),
        optimizer=optax.adam(1e-2),
        loops=Loops(2, 1, 0),
    )
    state, losses = advance(method, 2)(method.init(jax.random.key(0), table), table, 2)
    assert np.isfinite(losses).all() and int(state.step) == 2
