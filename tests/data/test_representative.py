"""Samplers that choose images by their features: which images, when, and at what size."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.choice import from_json, parse
from jdd.data import (
    Clustering,
    Split,
    View,
    boundary,
    central,
    class_table,
    k_means_plus_plus,
    network_features,
    original_k_means,
    pixel_features,
    random_network_features,
    representative,
    uniform,
)
from jdd.data.clustering import lloyd, move_to_origin, nearest_points
from jdd.data.feature_space import embedded, stored_images
from jdd.data.representative import choose_images
from jdd.data.table import ClassTable, take
from jdd.interop import params_from_torch
from jdd.network_output import Output
from jdd.nn import convnet

COUNTS = (40, 12, 25)


@pytest.fixture(scope="module")
def table() -> ClassTable:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), COUNTS)
    # A colour for each of six groups of a class, and noise.
    colour = rng.integers(20, 230, (3, 6, 2, 2, 3))[labels, np.arange(sum(COUNTS)) % 6]
    images = (colour + rng.integers(-9, 10, (sum(COUNTS), 2, 2, 3))).astype(np.uint8)
    order = rng.permutation(sum(COUNTS))
    split = Split(images[order], labels[order].astype(np.int32))
    return class_table(split, 3, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def flat(params, images):
    """A network whose embedding is the pixels."""
    return Output(images, (), images.reshape(len(images), -1) * params)


def view(run=0, of_network=0, *, coupled=False, network=flat, params=1.0):
    return View(network, params, jnp.int32(run), jnp.int32(of_network), coupled)


def draws(sampler, table, views, seed=0):
    """The indices of successive draws, and the states after them."""
    state = sampler.init(jax.random.key(seed), table)
    draw = jax.jit(
        lambda key, state, run, update: sampler.draw(key, state, table, view(run, update))
    )
    results = []
    for run, of_network in views:
        drawn, state = draw(jax.random.key(100 + run), state, run, of_network)
        results.append((np.asarray(drawn.indices), jax.tree.map(np.asarray, state)))
    return results


def first_draw(sampler, table, **options):
    state = sampler.init(jax.random.key(0), table)
    return sampler.draw(jax.random.key(1), state, table, view(**options))[0]


def is_of_its_class(table, indices):
    start, count = np.asarray(table.start)[:, None], np.asarray(table.count)[:, None]
    return ((indices >= start) & (indices < start + count)).all()


# which images


def test_the_images_of_the_original(reference):
    arrays = reference("dream_select")
    images = np.moveaxis(arrays["images.x"], 1, -1)
    prefix = "images.w."
    state = {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}
    model = convnet(3, (32, 32, 3), width=8)
    network, params = model.network(params_from_torch(model, state))
    # Floats: used as they are, like the un-normalised images of the original.
    count = jnp.array([len(images)])
    ones = jnp.ones(3)
    whole = ClassTable(jnp.asarray(images), 0 * count, count, ones, ones, len(images), len(images))
    embed = network_features().bind(jax.random.key(0), whole, view(network=network, params=params))
    everyone = jnp.arange(len(images))
    # Chunks of 10, 10 and 10 of 24 images.
    points = embedded(embed, whole, everyone, normalise=False, chunk=10)
    channels_first = jnp.moveaxis(points.reshape(-1, 4, 4, 8), -1, 1).reshape(points.shape)
    np.testing.assert_allclose(channels_first, arrays["images.embed"], rtol=0, atol=5e-6)
    start = np.sort(arrays["images.init_index"])

    def choose(key, points, valid):
        del key
        fit = functools.partial(lloyd, when_empty=move_to_origin, tolerance=1e-4)
        centroids = fit(points, valid, points[: len(start)], steps=100)
        return nearest_points(points, valid, centroids)[:, 0]

    chosen = choose_images(
        *(jax.random.key(0), whole, embed, choose, jnp.asarray(start)[None]),
        pool=None,
        normalise=False,
        chunk=10,
    )
    # The original starts from the same images in another order.
    order = np.argsort(arrays["images.init_index"])
    np.testing.assert_array_equal(chosen[0], arrays["images.query"][order])


@pytest.mark.parametrize(("pool", "coupled"), [(12, False), (20, False), (None, True)])
@pytest.mark.parametrize("make", [representative, central, boundary])
def test_draws_are_of_their_class_distinct_and_all_count(table, make, pool, coupled):
    drawn = first_draw(make(12, pool=pool), table, coupled=coupled)
    assert drawn.indices.shape == drawn.weights.shape == (3, 12)
    assert drawn.indices.dtype == jnp.int32 and (drawn.weights == 1).all()
    assert is_of_its_class(table, np.asarray(drawn.indices))
    assert [len(set(row)) for row in np.asarray(drawn.indices).tolist()] == [12] * 3


def test_every_group_of_a_class_is_represented(table):
    images = np.asarray(stored_images(table, jnp.arange(sum(COUNTS)))).reshape(sum(COUNTS), -1)
    chosen = np.asarray(
        first_draw(representative(6, pool=None, clustering=k_means_plus_plus()), table).indices
    )
    for c, row in enumerate(chosen):
        of_class = images[int(table.start[c]) :][: COUNTS[c]]
        distance = np.linalg.norm(of_class[:, None] - images[row][None], axis=-1).min(1)
        assert distance.max() < 0.25  # groups are at distances of about 1


def test_subsample_takes_the_nearest_images_of_each_cluster(table):
    one = first_draw(representative(4, pool=None), table).indices
    three = first_draw(representative(12, subsample=3, pool=None), table).indices
    np.testing.assert_array_equal(three.reshape(3, 4, 3)[:, :, 0], one)


def test_central_and_boundary_images_are_sorted_by_their_distance_to_the_mean(table):
    images = np.asarray(stored_images(table, jnp.arange(sum(COUNTS)))).reshape(sum(COUNTS), -1)
    near, far = (first_draw(make(5, pool=None), table).indices for make in (central, boundary))
    for c in range(3):
        rows = int(table.start[c]) + np.arange(COUNTS[c])
        distance = np.linalg.norm(images[rows] - images[rows].mean(0), axis=1)
        np.testing.assert_array_equal(near[c], rows[np.argsort(distance)][:5])
        np.testing.assert_array_equal(far[c], rows[np.argsort(-distance)][:5])


def test_the_images_chosen_before_are_in_the_pool_and_start_the_clustering(table):
    starts = []

    def fit(key, points, valid, start):
        jax.debug.callback(lambda start: starts.append(np.asarray(start)), start)
        return start

    sampler = representative(6, every=1, pool=9, clustering=Clustering(fit))
    results = draws(sampler, table, [(0, 0), (1, 0), (2, 0)])
    jax.effects_barrier()
    before = np.sort(np.asarray(sampler.init(jax.random.key(0), table).indices), axis=1)
    for i, (indices, _) in enumerate(results):
        # Centroids stay at the start: the images are those chosen before, of nine.
        np.testing.assert_array_equal(indices, before)
        for c in range(3):
            expected = stored_images(table, jnp.asarray(before[c])).reshape(6, -1)
            np.testing.assert_allclose(starts[3 * i + c], expected, atol=1e-6)


def test_an_image_chosen_twice_starts_one_cluster(table):
    def choose(key, points, valid):
        return jnp.arange(3)

    previous = jnp.asarray(table.start)[:, None] + jnp.array([[4, 4, 7]])
    chosen = choose_images(
        *(jax.random.key(0), table, lambda x: x.reshape(len(x), -1), choose, previous),
        pool=10,
        normalise=True,
        chunk=4,
    )
    assert [len(set(row)) for row in np.asarray(chosen).tolist()] == [3] * 3
    np.testing.assert_array_equal(chosen[:, :2] - table.start[:, None], [[4, 7]] * 3)


@pytest.mark.parametrize("coupled", [False, True])
def test_a_pool_has_the_images_chosen_before_and_new_ones(table, coupled):
    previous = jnp.asarray(table.start)[:, None] + jnp.array([[2, 9, 5]])

    @jax.jit
    def pool(key):
        return choose_images(
            *(key, table, lambda x: x.reshape(len(x), -1), lambda *_: jnp.arange(20), previous),
            pool=20,
            normalise=True,
            chunk=8,
            coupled=coupled,
        )

    first, second = (np.asarray(pool(jax.random.key(seed))) for seed in (0, 1))
    size = 12 if coupled else 20
    for indices in (first, second):
        assert is_of_its_class(table, indices)
        np.testing.assert_array_equal(indices[:, :3], np.sort(previous, axis=1))
        # The class of 12 images is in the pool as a whole.
        assert [len(set(row[: min(size, n)])) for row, n in zip(indices, COUNTS, strict=True)] == [
            size,
            12,
            size,
        ]
    assert set(first[0, :size]) != set(second[0, :size])


# features


@pytest.mark.parametrize("normalise", [False, True])
def test_images_are_compared_with_or_without_normalisation(table, normalise):
    indices = jnp.arange(5)
    embed = network_features().bind(jax.random.key(0), table, view(params=2.0))
    points = embedded(embed, table, indices, normalise=normalise, chunk=2)
    pixels = np.asarray(table.images[:5]) / 255
    images = (pixels - np.asarray(table.mean)) / np.asarray(table.std) if normalise else pixels
    np.testing.assert_allclose(points, 2 * images.reshape(5, -1), rtol=1e-5, atol=1e-6)


def test_floats_of_a_table_are_used_as_they_are(table):
    whitened = ClassTable(
        take(table, jnp.arange(sum(COUNTS))),
        *(table.start, table.count, table.mean, table.std, table.largest, table.smallest),
    )
    np.testing.assert_array_equal(stored_images(whitened, jnp.arange(3)), whitened.images[:3])


@pytest.mark.parametrize("chunk", [1, 3, 7, 10, 11, 50])
def test_chunks_have_no_filler(table, chunk):
    sizes = []

    def embed(images):
        sizes.append(len(images))
        # Of images with filler the standard deviation would be another.
        return jnp.concatenate([images.reshape(len(images), -1)], axis=1)

    indices = jnp.array([9, 3, 0, 5, 8, 1, 2, 7, 4, 6])
    points = embedded(embed, table, indices, normalise=True, chunk=chunk)
    np.testing.assert_allclose(points, take(table, indices).reshape(10, -1), atol=1e-6)
    assert set(sizes) == {min(chunk, 10)}


def test_a_coupled_chunk_sees_distinct_valid_images_only(table):
    seen = []

    def network(params, images):
        jax.debug.callback(lambda x: seen.append(np.asarray(x).reshape(len(x), -1)), images)
        return flat(params, images)

    sampler = representative(6, pool=20, chunk=5)
    first_draw(sampler, table, coupled=True, network=network)
    jax.effects_barrier()
    # 12 of each class, the images of the smallest, in chunks of 5, 5 and 5.
    assert [chunk.shape for chunk in seen] == [(5, 12)] * 9
    assert all(len(np.unique(chunk, axis=0)) == 5 for chunk in seen)


@pytest.mark.parametrize(
    "features", [pixel_features(), random_network_features("mlp"), network_features()]
)
def test_every_feature_space_gives_distinct_images(table, features):
    sampler = representative(8, pool=None, features=features)
    indices = np.asarray(first_draw(sampler, table).indices)
    assert is_of_its_class(table, indices)
    assert [len(set(row)) for row in indices.tolist()] == [8] * 3


def test_a_random_network_is_another_one_for_every_clustering(table):
    bind = random_network_features("mlp").bind
    images = take(table, jnp.arange(4))
    first, second = (bind(jax.random.key(i), table, view())(images) for i in (0, 1))
    assert first.shape == second.shape and not np.allclose(first, second)


def test_a_network_without_embedding_is_refused(table):
    with pytest.raises(ValueError, match=r"^network_features needs the embedding"):
        first_draw(representative(4), table, network=lambda params, images: Output(images))


# when


def clustered_at(every, lengths):
    """The updates of a run at which images are chosen, for networks with these numbers of updates."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 2, 2, 1), np.uint8)
    table = class_table(Split(images, np.arange(60, dtype=np.int32) % 2), 2, (0.5,), (0.5,))

    def fit(key, points, valid, start):
        return jax.random.normal(key, start.shape)

    sampler = representative(8, every=every, clustering=Clustering(fit))
    updates = [(k, u) for k, length in enumerate(lengths) for u in range(length)]
    results = draws(sampler, table, [(i, u) for i, (_, u) in enumerate(updates)])
    before = [np.asarray(sampler.init(jax.random.key(0), table).indices)]
    before += [indices for indices, _ in results]
    return [i for i in range(len(updates)) if not np.array_equal(before[i], before[i + 1])]


@pytest.mark.parametrize(
    ("every", "lengths", "expected"),
    [
        (4, [1] * 10, [0, 4, 8]),  # DM: a network for each update
        (4, [2] * 5, [0, 4, 8]),
        (4, [12], [0, 4, 8]),
        (5, [10, 10], [0, 5, 10, 15]),  # IDC
        (4, [6, 6, 3], [0, 4, 6, 10, 12]),  # and at each network
        (4, [9, 2, 2, 3], [0, 4, 8, 9, 13]),  # CAFE: as long as queries decide
        (1, [2, 1], [0, 1, 2]),
        (100, [3, 3], [0]),
    ],
)
def test_images_are_chosen_every_few_updates_and_at_lasting_networks(every, lengths, expected):
    assert clustered_at(every, lengths) == expected


def test_between_two_clusterings_nothing_is_computed(table):
    calls = []

    def network(params, images):
        jax.debug.callback(lambda: calls.append(1))
        return flat(params, images)

    sampler = representative(6, every=3, chunk=100)
    state = sampler.init(jax.random.key(0), table)
    draw = jax.jit(lambda i, s: sampler.draw(jax.random.key(i), s, table, view(i, network=network)))
    counts = []
    for i in range(7):
        _, state = draw(i, state)
        jax.effects_barrier()
        counts.append(len(calls))
    assert counts == [3, 3, 3, 6, 6, 6, 9]


def test_draws_depend_on_their_keys_alone(table):
    sampler = representative(6, every=2, pool=8)
    views = [(i, 0) for i in range(4)]
    first, again, other = (draws(sampler, table, views, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


# bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"n": 2.5}, "n must be a whole number of at least 1, got 2.5"),
        ({"n": 10, "subsample": 3}, "n must be a multiple of subsample, got 10 and 3"),
        ({"subsample": 0}, "subsample must be at least 1, got 0"),
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"n": 10, "pool": 9}, "pool must be at least n, got 9 and 10"),
        ({"pool": 0}, "pool must be at least 1, got 0"),
        ({"chunk": 0}, "chunk must be at least 1, got 0"),
        ({"features": "pixels"}, "features must be of kind FeatureSpace, got 'pixels'"),
        ({"clustering": "k_means"}, "clustering must be of kind Clustering, got 'k_means'"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError) as error:
        representative(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (representative(13), "n must be at most the images of the smallest class, 12, got 13"),
        (
            representative(26, subsample=2),
            "n / subsample must be at most the images of the smallest class, 12, got 26 / 2",
        ),
        (
            representative(26, subsample=13),
            "subsample must be at most the images of the smallest class, 12, got 13",
        ),
        (central(13), "n must be at most the images of the smallest class, 12, got 13"),
        (boundary(13), "n must be at most the images of the smallest class, 12, got 13"),
    ],
)
def test_a_class_with_too_few_images_is_refused(table, sampler, message):
    with pytest.raises(ValueError) as error:
        jax.eval_shape(lambda key: sampler.init(key, table), jax.random.key(0))
    assert str(error.value) == message


@pytest.mark.parametrize(
    "sampler",
    [
        representative(),
        representative(64, subsample=2, pool=None, clustering=k_means_plus_plus(20), every=3),
        representative(clustering=original_k_means(), features=pixel_features(), normalise=True),
        representative(features=random_network_features("convnet", width=16)),
        central(10),
        boundary(10, pool=None),
    ],
)
def test_a_sampler_is_read_back(sampler):
    assert from_json(sampler.to_json()) == sampler == parse(str(sampler))
    assert sampler != uniform()
    assert sampler.with_arguments(n=32).describe().startswith(str(sampler).split("(")[0])
