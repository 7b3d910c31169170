"""Objectives with distances, parametrisations, motions and samplers: every cell of the grid is traced, some are run."""

from __future__ import annotations

import functools
import itertools

import jax
import numpy as np
import optax
import pytest

from jdd import augment, data, matching, methods, synthetic
from tests.methods.samplers import in_order
from tests.methods.small_runs import build, small, step
from tests.methods.small_runs import data as real
from tests.parametrisations import mosaic, tinted

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

OBJECTIVES = {
    "dc": methods.class_gradients,
    "dcc": methods.collective_gradients,
    "dsa": functools.partial(methods.class_gradients, strategy="crop_cutout"),
    "dsac": functools.partial(methods.collective_gradients, strategy="crop_cutout"),
}
DISTANCES = {
    "layerwise": matching.layerwise_cosine,
    "flat": matching.flat_cosine,
    "squared": matching.squared_error,
}
MOTIONS = {
    "never": methods.never(),
    "on_synthetic": methods.on_synthetic(1),
    "on_real": methods.on_real(8, first_images=4, batch_size=4),
    "by_queries": methods.by_queries(window=2, query=8, max_epochs=2),
}
PARAMETRISATIONS = {"pixels": synthetic.pixels, "mosaic": mosaic(), "tinted": tinted()}
SAMPLERS = {"uniform": data.uniform(6), "in_order": in_order(6)}


def both(a, b):
    """Gradients and embeddings at once."""
    return matching.add(a, matching.scale(optax.linear_schedule(0.0, 0.1, 10), b))


COMPOSED = {
    f"{name}-{distance}": objective(make())
    for name, objective in OBJECTIVES.items()
    for distance, make in DISTANCES.items()
} | {
    "dm": methods.class_embeddings(strategy="crop_cutout"),
    "cafe": methods.layer_features(),
    "cafe+dsa": methods.layer_features(strategy="crop_cutout"),
    "dcc+dm": both(methods.collective_gradients(), methods.class_embeddings(strategy="crop")),
}
OF_THE_PAPERS = ["dc-layerwise", "dcc-layerwise", "dm", "cafe"]
GRID = [
    *((name, "pixels", "never", "uniform") for name in COMPOSED if name not in OF_THE_PAPERS),
    *itertools.product(
        OF_THE_PAPERS, PARAMETRISATIONS, ["never", "on_synthetic", "on_real"], SAMPLERS
    ),
]
# What runs: every objective, under augmentation with one of the distances; and every parametrisation,
# motion and sampler with some of them.
RUNS = [
    *(
        (name, "pixels", "never", "uniform")
        for name in COMPOSED
        if not name.startswith("dsa") or name.endswith("layerwise")
    ),
    ("cafe+dsa", "tinted", "by_queries", "uniform"),
    ("dcc-layerwise", "mosaic", "by_queries", "in_order"),
    ("dm", "pixels", "by_queries", "uniform"),
    ("dc-layerwise", "tinted", "on_real", "in_order"),
    ("cafe", "mosaic", "on_synthetic", "in_order"),
]


def composed(objective, parametrisation, motion, sampler):
    return small(
        "dc",
        objective=COMPOSED[objective],
        synthetic=PARAMETRISATIONS[parametrisation],
        motion=MOTIONS[motion],
        sampler=SAMPLERS[sampler],
        optimizer=methods.sgd(0.1),
        augment=augment.no_augmentation(),
        networks=2,
    )


@pytest.mark.parametrize("cell", GRID, ids=["-".join(cell) for cell in GRID])
def test_a_step_of_every_cell_keeps_the_shapes_of_the_state(cell):
    method = build(composed(*cell))
    before = jax.eval_shape(method.init, jax.random.key(0), real())
    after, metrics = jax.eval_shape(method.step, before, real())
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert jax.tree.leaves(after) == jax.tree.leaves(before)
    assert metrics.loss.shape == () and metrics.loss.dtype == np.float32
    decoded = jax.eval_shape(method.decode, before)
    n, variants = {"pixels": (2, 1), "mosaic": (8, 1), "tinted": (2, 3)}[cell[1]]
    assert decoded.images.shape == (3, n, variants, 8, 8, 1)


@pytest.mark.parametrize("cell", RUNS, ids=["-".join(cell) for cell in RUNS])
def test_two_steps(cell):
    recipe = composed(*cell)
    method = build(recipe)
    state = method.init(jax.random.key(0), real())
    before = np.asarray(method.decode(state).images)
    for _ in range(2):
        state, metrics = step(recipe)(state, real())
        assert np.isfinite(metrics.loss)
    after = np.asarray(method.decode(state).images)
    assert np.isfinite(after).all() and (after != before).any((2, 3, 4, 5)).all()
    assert step(recipe)._cache_size() == 1
