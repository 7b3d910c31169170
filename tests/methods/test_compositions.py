"""Every objective with every distance, parametrisation and loop: two steps, finite, compiled once."""

from __future__ import annotations

import functools

import jax
import numpy as np
import optax
import pytest

from jdd import matching, methods, synthetic
from jdd.data import Split, class_table
from jdd.nn import convnet

OBJECTIVES = {
    "dc": methods.dc_objective,
    "dsa": functools.partial(methods.dsa_objective, "crop_cutout"),
    "dcc": methods.dcc_objective,
    "dsac": functools.partial(methods.dcc_objective, "crop_cutout"),
}
DISTANCES = {
    "layerwise": matching.layerwise_cosine,
    "flat": matching.flat_cosine,
    "squared": matching.squared_error,
}
RULE = methods.query_rule(networks=2, window=2, query=4, max_updates=2, max_epochs=2)
LOOPS = {
    "fixed": (methods.network_matching, {"loops": methods.Loops(2, 1, 0)}),
    "queries": (methods.query_matching, {"rule": RULE}),
}
PARAMETRISATIONS = {"pixels": synthetic.pixels}


def both(a, b):
    """Gradients and embeddings at once."""
    return matching.add(a, matching.scale(optax.linear_schedule(0.0, 0.1, 10), b))


COMPOSED = {
    f"{name}-{distance}": functools.partial(objective, distance=make())
    for name, objective in OBJECTIVES.items()
    for distance, make in DISTANCES.items()
} | {
    "dm": functools.partial(methods.dm_objective, "crop_cutout"),
    "cafe": methods.cafe_objective,
    "cafe+dsa": functools.partial(methods.cafe_objective, "crop_cutout"),
    "dcc+dm": lambda: both(methods.dcc_objective(), methods.dm_objective("crop")),
}
# A loop does not look into its objective: a few of them are enough for the second.
CASES = [(name, "fixed") for name in COMPOSED]
CASES += [(name, "queries") for name in ("cafe+dsa", "dcc-layerwise", "dm")]


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8, 1), np.uint8)
    return class_table(Split(images, np.arange(30, dtype=np.int32) % 3), 3, (0.5,), (0.25,))


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize(("objective", "loop"), CASES, ids=["-".join(case) for case in CASES])
def test_two_steps(table, objective, loop, parametrisation):
    make, schedule = LOOPS[loop]
    method = make(
        "composed",
        model=convnet(3, (8, 8, 1), width=4, depth=1),
        objective=COMPOSED[objective](),
        synthetic=PARAMETRISATIONS[parametrisation],
        start=functools.partial(synthetic.noise, ipc=2),
        optimizer=optax.sgd(0.1),
        **schedule,
        real_batch=6,
    )
    traces = []

    @jax.jit
    def step(state):
        traces.append(1)
        return method.step(state, table)

    state = method.init(jax.random.key(0), table)
    before = np.asarray(method.decode(state)[0])
    for _ in range(2):
        state, metrics = step(state)
        assert np.isfinite(metrics.loss)
    after = np.asarray(method.decode(state)[0])
    assert np.isfinite(after).all() and (after != before).any((1, 2, 3, 4)).all()
    assert len(traces) == 1
