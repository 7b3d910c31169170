"""Synthetic images that start at the centres of the clusters of their class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jdd.choice import register
from jdd.data import (
    Clustering,
    FeatureSpace,
    View,
    draw_indices,
    k_means_plus_plus,
    network_features,
    take,
)
from jdd.data.clustering import nearest_points
from jdd.data.feature_space import default_chunk
from jdd.data.representative import choose_images
from jdd.data.table import ClassTable
from jdd.methods.motion import Motion, never
from jdd.nn import Model
from jdd.synthetic import Initial
from jdd.validation import at_least, of_kind


@register
def from_clusters(
    *,
    clustering: Clustering = k_means_plus_plus(),
    features: FeatureSpace = network_features(),
    motion: Motion = never(),
    pool: int | None = None,
    normalise: bool = False,
    chunk: int | None = None,
) -> Initial:
    """Starts at real images that represent their class: of as many clusters as images, the nearest to each.

    With `multi_formation` an image starts as a mosaic of several of them.

    Args:
      clustering: how a class is divided.
      features: what images are compared by.
      motion: how the network of the features begins: `never` for a random one; ``on_real(...)`` with images
        before the first update for one that is trained on them.
      pool: random images of each class that are clustered; None for all of them.
      normalise: whether images are normalised before they are compared.
      chunk: images at a time in the pass through the network; None for the platform's default.

    Returns:
      The start. It needs as many images of each class as there are clusters.

    Raises:
      ValueError: if a number is below 1; when a run begins, if a class has fewer images than clusters, or the
        pool has.

    Reference: DREAM (Liu et al., ICCV 2023, https://arxiv.org/abs/2302.14416), whose code clusters the features
    of a random network; DREAM+ (https://arxiv.org/abs/2310.15052), of one that was trained for an epoch.

    >>> from_clusters(pool=500)
    from_clusters(pool=500)
    """
    for name, value in (("pool", pool), ("chunk", chunk)):
        if value is not None:
            at_least(name, value, 1)
    of_kind("clustering", clustering, Clustering)
    of_kind("features", features, FeatureSpace)
    of_kind("motion", motion, Motion)

    def choose(key: Array, points: Array, valid: Array, n: int) -> Array:
        centroids = clustering.fit(key, points, valid, points[:n])
        return nearest_points(points, valid, centroids)[:, 0]

    def images(key: Array, table: ClassTable, model: Model, n: int) -> Array:
        most = min(table.smallest, pool or table.smallest)
        if n > most:
            raise ValueError(
                "ipc (times the tiles of a stored image) must be at most the images of a class that are "
                f"clustered, {most}, got {n}"
            )
        network_key, bind_key, draw_key, choose_key = jax.random.split(key, 4)
        variables, _ = motion.begin(network_key, model, table)
        start = jnp.int32(0)
        view = View(*model.network(variables), start, start)
        indices = choose_images(
            choose_key,
            table,
            features.bind(bind_key, table, view),
            lambda key, points, valid: choose(key, points, valid, n),
            draw_indices(draw_key, table, n)[0],
            pool=pool,
            normalise=normalise,
            chunk=chunk or default_chunk(),
        )
        return take(table, indices)

    return Initial(images)
