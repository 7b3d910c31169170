"""DCC's schedule: loops, warm-up, what is reported, and its limits."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jdd import methods
from jdd.data import Split, class_table
from jdd.methods import Loops, WarmUp, dcc_loops
from jdd.nn import convnet


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8, 1), np.uint8)
    return class_table(Split(images, np.arange(30, dtype=np.int32) % 3), 3, (0.5,), (0.25,))


def run(method, table, steps):
    state, losses = methods.advance(method, steps)(
        method.init(jax.random.key(0), table), table, steps
    )
    return np.asarray(state.synthetic["images"]), np.asarray(losses)


def test_the_papers_schedule():
    warm_up = WarmUp.of(dcc_loops(10))
    assert warm_up == WarmUp(250, 10)
    over = np.array([bool(warm_up.is_over(s, updates=10)) for s in range(2490, 2510)])
    assert not over[:10].any() and over[10:].all()
    at_50 = WarmUp.of(dcc_loops(50))
    over = np.array([bool(at_50.is_over(s, updates=50)) for s in range(100)])
    assert list(np.flatnonzero(~over)) == [*range(10), *range(50, 60)]
    assert [tuple(dcc_loops(i))[1:3] for i in (1, 10, 20, 30, 40, 50)] == [
        (10, 5),
        (10, 50),
        (20, 25),
        (30, 20),
        (40, 15),
        (50, 10),
    ]


def test_class_wise_at_first_and_collective_afterwards(table):
    model = convnet(3, (8, 8, 1), width=4, depth=1)
    loops = Loops(2, 2, 1)

    def of(warm_up):
        return run(methods.dcc(model, 2, loops=loops, real_batch=6, warm_up=warm_up), table, 4)

    always, never, mixed = (of(WarmUp(*each)) for each in ((2, 2), (0, 2), (1, 1)))
    assert mixed[1][0] == always[1][0] and mixed[1][1] != always[1][1]
    assert np.isfinite(never[0]).all() and not np.array_equal(never[0], always[0])


@pytest.mark.parametrize("make", [methods.dcc, methods.dsac])
@pytest.mark.parametrize(
    ("warm_up", "message"),
    [
        (WarmUp(5, 1), "warm-up networks must be between 0 and the 4 of the loops, got 5"),
        (WarmUp(1, 3), "warm-up updates must be between 0 and the 2 of the loops, got 3"),
        (WarmUp(-1, 1), "warm-up networks must be between 0"),
    ],
)
def test_a_warm_up_longer_than_the_loops_is_refused(make, warm_up, message):
    with pytest.raises(ValueError, match=message):
        make(convnet(3, (8, 8, 1), width=4, depth=1), 1, loops=Loops(4, 2, 1), warm_up=warm_up)


def test_several_networks_per_update(table):
    model = convnet(3, (8, 8, 1), width=4, depth=1)
    loops = Loops(2, 1, 0)
    images, losses = run(
        methods.dm(model, 2, loops=loops, strategy="crop", networks_per_update=3, real_batch=6),
        table,
        2,
    )
    assert np.isfinite(images).all() and np.isfinite(losses).all()
    with pytest.raises(ValueError, match="networks_per_update must be at least 1"):
        methods.dm(model, 2, networks_per_update=0)
