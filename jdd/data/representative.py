"""Samplers that choose real images by their features: representative, central and boundary ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.choice import register
from jdd.data.batch import Draw
from jdd.data.clustering import Clustering, k_means, mean_point, nearest_points
from jdd.data.feature_space import (
    COUPLED_CHUNK,
    Embed,
    FeatureSpace,
    default_chunk,
    embedded,
    network_features,
)
from jdd.data.sampler import Sampler, View
from jdd.data.table import ClassTable, draw_indices
from jdd.validation import at_least, of_kind

Choose = Callable[[Array, Array, Array], Array]
"""``choose(key, points [N, d], valid [N]) -> rows [n]``. The first rows are those chosen before."""


class Chosen(NamedTuple):
    """State of a sampler that chooses images every few updates.

    Attributes:
      indices: int32 ``[C, n]``, the images of each class, cluster by cluster.
      age: int32, updates since they were chosen.
      on_network: int32, updates of the current network so far.
    """

    indices: Array
    age: Array
    on_network: Array


@register
def representative(
    n: int = 128,
    *,
    every: int = 10,
    subsample: int = 1,
    pool: int | None = 1000,
    clustering: Clustering = k_means(),
    features: FeatureSpace = network_features(),
    normalise: bool = False,
    chunk: int | None = None,
) -> Sampler:
    """Real images that represent their class: of each of its clusters those nearest to the centroid (DREAM).

    The features of each class are clustered within the step, on the device. Between two clusterings the
    same images are drawn, and a draw costs nothing. A new network has its images chosen at its first
    update too, if the network before it had at least ``every`` updates.

    Args:
      n: images per class and update.
      every: updates of the run between two clusterings.
      subsample: images of each cluster; a class has ``n / subsample`` clusters.
      pool: images of each class that are clustered: those chosen before and random others, new ones
        for each clustering. None for all images of the class.
      clustering: how a class is divided.
      features: what images are compared by.
      normalise: whether images are normalised before they are compared. The authors' code does not, although
        its networks train on normalised images. Images of a table of floats are used as they are.
      chunk: images at a time in the pass through the network; None for the platform's default. (In a
        network with BatchNorm in training mode the statistics are those of the chunk: 256 images.)

    Raises:
      ValueError: if a number is below 1, n is no multiple of subsample, or the pool is smaller than n; when
        a run begins, if a class has fewer images than clusters.

    Reference: Liu, Gu, Wang, Zhu, Jiang, You, "DREAM: Efficient Dataset Distillation by Representative
    Matching", ICCV 2023, https://arxiv.org/abs/2302.14416. Deviations, all for less time: a pool where
    its code clusters the whole class, few Lloyd steps from the images chosen before, and empty clusters
    that move to other images. ``representative(pool=None, clustering=original_k_means())`` is its code.

    >>> representative(64)
    representative(64)
    >>> representative(64, subsample=3)
    Traceback (most recent call last):
        ...
    ValueError: n must be a multiple of subsample, got 64 and 3
    """
    at_least("n", n, 1)
    at_least("subsample", subsample, 1)
    if n % subsample:
        raise ValueError(f"n must be a multiple of subsample, got {n} and {subsample}")
    of_kind("clustering", clustering, Clustering)
    clusters = n // subsample

    def choose(key: Array, points: Array, valid: Array) -> Array:
        centroids = clustering.fit(key, points, valid, points[:clusters])
        return nearest_points(points, valid, centroids, subsample).reshape(-1)

    return _sampler(choose, n, subsample, every, pool, features, normalise, chunk)


@register
def central(
    n: int = 128,
    *,
    every: int = 10,
    pool: int | None = 1000,
    features: FeatureSpace = network_features(),
    normalise: bool = False,
    chunk: int | None = None,
) -> Sampler:
    """The images of each class that are nearest to its mean: an ablation of `representative`.

    Args:
      n, every, pool, features, normalise, chunk: as in `representative`.

    Raises:
      ValueError: as `representative`.

    Reference: the ablation "central samples" of DREAM, https://arxiv.org/abs/2302.14416.

    >>> central(64)
    central(64)
    """

    def choose(key: Array, points: Array, valid: Array) -> Array:
        del key
        return nearest_points(points, valid, mean_point(points, valid)[None], n)[0]

    return _sampler(choose, n, 1, every, pool, features, normalise, chunk)


@register
def boundary(
    n: int = 128,
    *,
    every: int = 10,
    pool: int | None = 1000,
    features: FeatureSpace = network_features(),
    normalise: bool = False,
    chunk: int | None = None,
) -> Sampler:
    """The images of each class that are farthest from its mean: an ablation of `representative`.

    Args:
      n, every, pool, features, normalise, chunk: as in `representative`.

    Raises:
      ValueError: as `representative`.

    Reference: the ablation "boundary samples" of DREAM, https://arxiv.org/abs/2302.14416.

    >>> boundary(64)
    boundary(64)
    """

    def choose(key: Array, points: Array, valid: Array) -> Array:
        del key
        squared = jnp.sum((points - mean_point(points, valid)[None]) ** 2, axis=1)
        return lax.top_k(jnp.where(valid, squared, -1.0), n)[1].astype(jnp.int32)

    return _sampler(choose, n, 1, every, pool, features, normalise, chunk)


def choose_images(
    key: Array,
    table: ClassTable,
    embed: Embed,
    choose: Choose,
    previous: Array,
    *,
    pool: int | None,
    normalise: bool,
    chunk: int,
    coupled: bool = False,
) -> Array:
    """Chooses images of every class by their features, one class at a time.

    Args:
      key: typed PRNG key.
      table: the real set.
      embed: of a feature space.
      choose: which rows of the features.
      previous: int32 ``[C, k]``, images chosen before: they are in the pool, and the first k rows that
        ``choose`` sees are these (where they repeat, filled up with random ones).
      pool: images of each class that take part; None for all.
      normalise: whether images are normalised first.
      chunk: images at a time in the pass through the network.
      coupled: whether the images of a chunk influence each other; then the pool is at most the
        smallest class, and has no filler.

    Returns:
      int32 ``[C, n]``, into the table.
    """
    size = min(pool or table.largest, table.smallest if coupled else table.largest)

    def of_class(c: Array) -> Array:
        rank_key, choose_key = jax.random.split(jax.random.fold_in(key, c))
        start, images = table.start[c], table.count[c]
        ranks = jax.random.uniform(rank_key, (table.largest,))
        ranks = jnp.where(jnp.arange(table.largest) < images, ranks, -1.0)
        # Of equal ranks top_k takes the first, so that the start is free of repetitions.
        ranks = ranks.at[previous[c] - start].set(2.0)
        valid = jnp.arange(size) < images
        places = start + jnp.where(valid, lax.top_k(ranks, size)[1], 0)
        points = embedded(embed, table, places, normalise=normalise, chunk=chunk)
        return places[choose(choose_key, points, valid)].astype(jnp.int32)

    return lax.map(of_class, jnp.arange(table.num_classes))


def _sampler(
    choose: Choose,
    n: int,
    of_cluster: int,
    every: int,
    pool: int | None,
    features: FeatureSpace,
    normalise: bool,
    chunk: int | None,
) -> Sampler:
    """A sampler that chooses n images of each class every few updates, ``of_cluster`` of each cluster."""
    at_least("n", n, 1)
    at_least("every", every, 1)
    if pool is not None:
        at_least("pool", pool, 1)
        if pool < n:
            raise ValueError(f"pool must be at least n, got {pool} and {n}")
    if chunk is not None:
        at_least("chunk", chunk, 1)
    of_kind("features", features, FeatureSpace)

    def init(key: Array, table: ClassTable) -> Chosen:
        clusters = n // of_cluster
        name, value = ("n", n) if of_cluster == 1 else ("n / subsample", f"{n} / {of_cluster}")
        for what, number, text in ((name, clusters, value), ("subsample", of_cluster, of_cluster)):
            if number > table.smallest:
                raise ValueError(
                    f"{what} must be at most the images of the smallest class, {table.smallest}, got {text}"
                )
        first, _ = draw_indices(key, table, clusters)
        indices = jnp.repeat(first, of_cluster, axis=1)
        return Chosen(indices, jnp.int32(every), jnp.int32(0))

    def draw(key: Array, state: Chosen, table: ClassTable, view: View) -> tuple[Draw, Chosen]:
        def chosen() -> Array:
            bind_key, choose_key = jax.random.split(key)
            return choose_images(
                choose_key,
                table,
                features.bind(bind_key, table, view),
                choose,
                state.indices[:, ::of_cluster],
                pool=pool,
                normalise=normalise,
                chunk=chunk or (COUPLED_CHUNK if view.coupled else default_chunk()),
                coupled=view.coupled,
            )

        is_lasting = state.on_network >= every
        is_due = (state.age >= every) | ((view.update_of_network == 0) & is_lasting)
        indices = lax.cond(is_due, chosen, lambda: state.indices)
        age = jnp.where(is_due, 0, state.age) + 1
        after = Chosen(indices, age, jnp.asarray(view.update_of_network + 1, jnp.int32))
        return Draw(table, indices, jnp.ones(indices.shape, jnp.float32)), after

    return Sampler(init, draw)
