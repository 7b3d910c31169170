"""k-means: against the arrays of DREAM's code and against scikit-learn, from the same start."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from jdd.choice import from_json, parse
from jdd.data.clustering import (
    k_means,
    k_means_plus_plus,
    lloyd,
    move_to_farthest,
    move_to_origin,
    nearest_centroid,
    nearest_points,
    original_k_means,
    plus_plus_points,
)

RUNS = ("lloyd", "empty_duplicate", "empty_far")


def everyone(points):
    return jnp.ones(len(points), bool)


def run_of_the_original(arrays, run, **options):
    points = jnp.asarray(arrays[f"{run}.features"])
    start = jnp.asarray(arrays[f"{run}.init_centroids"])
    return points, lloyd(
        points, everyone(points), start, when_empty=move_to_origin, tolerance=-1.0, **options
    )


@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize("run", RUNS)
def test_lloyd_steps_are_those_of_the_original(reference, run, steps):
    arrays = reference("dream_select")
    _, centroids = run_of_the_original(arrays, run, steps=steps)
    for suffix, atol in (("", 5e-7), ("_f64", 1e-6)):
        np.testing.assert_allclose(
            centroids, arrays[f"{run}.centroids_it{steps}{suffix}"], rtol=0, atol=atol
        )


@pytest.mark.parametrize("run", RUNS)
def test_the_original_returns_the_labels_of_its_last_update(reference, run):
    arrays = reference("dream_select")
    points, before = run_of_the_original(arrays, run, steps=4)
    np.testing.assert_array_equal(nearest_centroid(points, before)[0], arrays[f"{run}.labels_it5"])


@pytest.mark.parametrize("run", RUNS)
def test_the_original_stops_and_selects_the_same_images(reference, run):
    arrays = reference("dream_select")
    points = jnp.asarray(arrays[f"{run}.features"])
    start = jnp.asarray(arrays[f"{run}.init_centroids"])
    fit = functools.partial(lloyd, points, everyone(points), start, when_empty=move_to_origin)
    centroids = fit(steps=100, tolerance=1e-4)
    np.testing.assert_allclose(centroids, arrays[f"{run}.final_centroids"], rtol=0, atol=5e-7)
    chosen = nearest_points(points, everyone(points), centroids)
    np.testing.assert_array_equal(chosen[:, 0], arrays[f"{run}.query"])
    if run == "lloyd":
        two = nearest_points(points, everyone(points), centroids, 2)
        np.testing.assert_array_equal(two.reshape(-1), arrays["lloyd.query_match"])
    if run == "empty_duplicate":
        lowest = int(arrays["empty_duplicate.lowest_norm_sample"])
        assert (np.asarray(chosen[:, 0]) == lowest).sum() == 2


def test_nearest_points_are_those_of_the_original(reference):
    arrays = reference("dream_select")
    points = jnp.asarray(arrays["given.features"])
    centroids = jnp.asarray(arrays["given.centroids"])
    one = nearest_points(points, everyone(points), centroids)
    np.testing.assert_array_equal(one[:, 0], arrays["given.nearest"])
    several = nearest_points(points, everyone(points), centroids, int(arrays["given.sub"]))
    np.testing.assert_array_equal(several.reshape(-1), arrays["given.nearest_sub"])
    labels, squared = nearest_centroid(points, centroids)
    distances = arrays["given.distances"]
    np.testing.assert_array_equal(labels, distances.argmin(0))
    np.testing.assert_allclose(jnp.sqrt(squared), distances.min(0), rtol=1e-5)


def scikit_learn(points, start, steps) -> Any:
    """The centroids of scikit-learn after some Lloyd steps from a start, and their inertia."""
    options: dict[str, Any] = {"init": start, "n_init": 1, "max_iter": steps, "tol": 0}
    model: Any = KMeans(len(start), algorithm="lloyd", **options).fit(points)
    return model.cluster_centers_, model.inertia_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("steps", [1, 3, 50])
@pytest.mark.parametrize("clusters", [2, 7, 30])
def test_lloyd_is_that_of_scikit_learn(clusters, steps):
    rng = np.random.default_rng(clusters)
    points = rng.normal(size=(200, 12)).astype(np.float32) + 3
    start = points[rng.choice(200, clusters, replace=False)]
    ours = lloyd(jnp.asarray(points), everyone(points), jnp.asarray(start), steps=steps)
    np.testing.assert_allclose(ours, scikit_learn(points, start, steps)[0], rtol=0, atol=2e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("copies", [2, 5])
def test_empty_clusters_move_as_those_of_scikit_learn(copies):
    rng = np.random.default_rng(copies)
    points = rng.normal(size=(60, 5)).astype(np.float32)
    start = np.concatenate([points[:4], np.tile(points[:1] + 40, (copies, 1))])
    ours = lloyd(jnp.asarray(points), everyone(points), jnp.asarray(start), steps=1)
    theirs = scikit_learn(points, start, 1)[0]
    # Which empty cluster takes which of the farthest points is free.
    np.testing.assert_allclose(ours[:4], theirs[:4], rtol=0, atol=2e-6)
    order = [np.lexsort(np.asarray(c[4:]).T) for c in (ours, theirs)]
    np.testing.assert_allclose(
        np.asarray(ours)[4:][order[0]], theirs[4:][order[1]], rtol=0, atol=2e-6
    )
    assert len(np.unique(ours, axis=0)) == len(start)


def test_a_cluster_whose_only_point_is_taken_stays_where_it_was():
    points = jnp.array([[0.0], [1.0], [9.0]])
    start = jnp.array([[0.5], [7.0], [50.0], [60.0]])
    moved = lloyd(points, everyone(points), start, steps=1)
    # The farthest points are 9, of the second cluster, then 0 or 1, of the first.
    assert np.isfinite(moved).all() and float(moved[1, 0]) == 7.0
    assert 9.0 in moved[2:, 0].tolist()


@pytest.mark.parametrize("rule", [move_to_farthest, move_to_origin])
def test_places_that_are_not_valid_change_nothing(rule):
    rng = np.random.default_rng(0)
    points = jnp.asarray(rng.normal(size=(40, 3)), jnp.float32)
    start = jnp.concatenate([points[:5], points[:1] + 30])
    padded = jnp.concatenate([points, 100 * jnp.ones((9, 3))])
    valid = jnp.arange(49) < 40
    alone = lloyd(points, everyone(points), start, steps=4, when_empty=rule)
    np.testing.assert_allclose(
        lloyd(padded, valid, start, steps=4, when_empty=rule), alone, atol=1e-6
    )
    assert np.array_equal(
        nearest_points(padded, valid, alone, 3), nearest_points(points, everyone(points), alone, 3)
    )
    assert int(nearest_points(padded, valid, 200 + start).max()) < 40
    chosen = np.asarray(plus_plus_points(jax.random.key(3), padded, valid, 40))
    assert sorted(chosen) == list(range(40))


def test_distances_do_not_suffer_from_a_common_offset():
    rng = np.random.default_rng(0)
    points = (rng.normal(size=(100, 8)) + 1e4).astype(np.float32)
    exact = ((points[:, None].astype(float) - points[None, :6].astype(float)) ** 2).sum(-1)
    np.testing.assert_array_equal(
        nearest_points(jnp.asarray(points), everyone(points), jnp.asarray(points[:6]), 4),
        np.argsort(exact, axis=0, kind="stable")[:4].T,
    )


def test_the_chunks_change_nothing():
    rng = np.random.default_rng(0)
    points = jnp.asarray(rng.normal(size=(101, 6)), jnp.float32)
    whole, parts = (nearest_centroid(points, points[:9], chunk=chunk) for chunk in (1000, 10))
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_allclose(whole[1], parts[1], atol=1e-6)


def test_plus_plus_takes_a_point_of_every_far_group():
    rng = np.random.default_rng(0)
    points = jnp.asarray(rng.normal(size=(60, 4)) + 1000 * (np.arange(60) % 6)[:, None])
    points = points.astype(jnp.float32)
    for seed in range(5):
        chosen = plus_plus_points(jax.random.key(seed), points, everyone(points), 6)
        assert sorted(np.asarray(chosen) % 6) == list(range(6))


def test_plus_plus_follows_squared_distances():
    points = jnp.array([[0.0], [1.0], [3.0]])
    draw = jax.jit(jax.vmap(lambda key: plus_plus_points(key, points, jnp.ones(3, bool), 2)))
    chosen = np.asarray(draw(jax.random.split(jax.random.key(0), 6000)))
    first, second = chosen.T
    np.testing.assert_allclose(np.bincount(first) / 6000, 1 / 3, atol=0.03)
    after_zero = second[first == 0]
    np.testing.assert_allclose(np.mean(after_zero == 2), 9 / 10, atol=0.03)


def test_equal_points_are_taken_once_each():
    points = jnp.zeros((6, 2))
    chosen = plus_plus_points(jax.random.key(0), points, everyone(points), 6)
    assert sorted(np.asarray(chosen)) == list(range(6))


def grouped_points():
    """500 points in ten groups, as the features of a class of CIFAR-100."""
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(10, 64))
    points = centres[np.arange(500) % 10] + 0.5 * rng.normal(size=(500, 64))
    return jnp.asarray(points, jnp.float32)


def distinct_counts(choice, points, seeds=6, clusters=128):
    """How many of the chosen images differ, of one per cluster, for several seeds."""
    valid = everyone(points)

    @jax.jit
    def chosen(key):
        start = jax.random.choice(key, points, (clusters,), replace=False)
        return nearest_points(points, valid, choice.fit(key, points, valid, start))

    return [len(np.unique(chosen(jax.random.key(seed)))) for seed in range(seeds)]


def test_a_start_from_distinct_points_repeats_hardly_any_image():
    points = grouped_points()
    # Of 128 draws from 500 points 113 are distinct on average.
    assert 108 < np.mean(distinct_counts(original_k_means(), points)) < 120
    for choice in (k_means(steps=5), k_means(steps=100), k_means_plus_plus()):
        assert min(distinct_counts(choice, points)) >= 127, choice


def test_full_k_means_reaches_the_inertia_of_scikit_learn():
    points = grouped_points()
    start = points[:128]
    fitted = k_means(steps=100).fit(jax.random.key(0), points, everyone(points), start)
    inertia = scikit_learn(points, np.asarray(start), 100)[1]
    ours = float(nearest_centroid(points, fitted)[1].sum())
    np.testing.assert_allclose(ours, inertia, rtol=1e-4)


@pytest.mark.parametrize(
    "choice", [k_means(), k_means(steps=3), k_means_plus_plus(), original_k_means()]
)
def test_a_clustering_is_read_back(choice):
    assert from_json(choice.to_json()) == choice == parse(str(choice))


@pytest.mark.parametrize("make", [k_means, k_means_plus_plus])
@pytest.mark.parametrize("steps", [0, 1.5, "many"])
def test_steps_must_be_a_number(make, steps):
    with pytest.raises(
        ValueError, match=r"^steps must be .* of at least 1|^steps must be at least"
    ):
        make(steps=steps)
