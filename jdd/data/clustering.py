"""k-means as pure functions of arrays, and as choices of a recipe.

Points are rows ``[N, d]``. ``valid`` tells which rows are points, so that a class with fewer images
fits an array of a fixed size. Everything runs inside jit and is deterministic on every device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.choice import Choice, register
from jdd.validation import at_least

CHUNK = 1024
"""Points whose distances to all centroids are in memory at once."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Clustering(Choice):
    """How the points of a class are divided into clusters.

    Attributes:
      fit: ``fit(key, points [N, d], valid [N], start [K, d]) -> centroids [K, d]``. ``start`` holds K
        distinct points: those chosen at the clustering before, or random ones at the first.
    """

    fit: Callable[[Array, Array, Array, Array], Array]


WhenEmpty = Callable[["Assignment", Array, Array], tuple[Array, Array]]
"""``rule(assignment, sums, counts) -> (sums, counts)`` for clusters without points."""


class Assignment:
    """Which cluster each point belongs to.

    Attributes:
      points: ``[N, d]``.
      valid: bool ``[N]``.
      labels: int32 ``[N]``, the nearest centroid of each point.
      squared: ``[N]``, its squared distance to it.
    """

    def __init__(self, points: Array, valid: Array, centroids: Array) -> None:
        self.points, self.valid = points, valid
        self.labels, self.squared = nearest_centroid(points, centroids)


def move_to_farthest(assignment: Assignment, sums: Array, counts: Array) -> tuple[Array, Array]:
    """Moves each empty cluster to a point that is far from its centroid; the point changes cluster.

    The first empty cluster takes the point that is farthest from the centroid of its cluster, the next
    one the second farthest, and so on.

    Reference: the rule of scikit-learn's ``KMeans``.
    """
    clusters = len(counts)
    squared = jnp.where(assignment.valid, assignment.squared, -1.0)
    farthest = lax.top_k(squared, min(clusters, len(squared)))[1]
    is_empty = counts == 0
    rank = jnp.cumsum(is_empty) - 1
    taken = farthest[jnp.minimum(rank, len(farthest) - 1)]
    points = assignment.points[taken]
    left = jnp.where(is_empty, assignment.labels[taken], clusters)
    leaves = jax.nn.one_hot(left, clusters, dtype=sums.dtype)  # no row for those that are not empty
    sums, counts = sums - leaves.T @ points, counts - leaves.sum(0)
    return jnp.where(is_empty[:, None], points, sums), jnp.where(is_empty, 1.0, counts)


def move_to_origin(assignment: Assignment, sums: Array, counts: Array) -> tuple[Array, Array]:
    """Moves each empty cluster to the zero vector.

    Reference: the rule of the library that DREAM's code uses, fast_pytorch_kmeans. Several empty clusters
    then choose the same image, the one with the smallest norm.
    """
    del assignment
    return sums, jnp.maximum(counts, 1.0)


def mean_point(points: Array, valid: Array) -> Array:
    """The mean ``[d]`` of the rows ``[N, d]`` that are points."""
    weights = valid.astype(points.dtype)
    return weights @ points / weights.sum()


def nearest_centroid(points: Array, centroids: Array, *, chunk: int = CHUNK) -> tuple[Array, Array]:
    """The nearest centroid of every point, and the squared distance to it.

    Args:
      points: ``[N, d]``.
      centroids: ``[K, d]``.
      chunk: points at a time.

    Returns:
      int32 ``[N]`` and float ``[N]``. Of equally near centroids the first is taken.

    >>> labels, squared = nearest_centroid(jnp.array([[0.0], [9.0]]), jnp.array([[1.0], [8.0]]))
    >>> labels.tolist(), squared.tolist()
    ([0, 1], [1.0, 1.0])
    """
    norms = jnp.sum(centroids**2, axis=1)

    def nearest(point: Array) -> tuple[Array, Array]:
        relative = norms - 2 * centroids @ point
        label = jnp.argmin(relative).astype(jnp.int32)
        return label, jnp.maximum(relative[label] + jnp.sum(point**2), 0.0)

    return lax.map(nearest, points, batch_size=min(chunk, len(points)))


def nearest_points(
    points: Array, valid: Array, centroids: Array, n: int = 1, *, chunk: int = 64
) -> Array:
    """The n nearest points of every centroid, whichever cluster they belong to.

    Args:
      points: ``[N, d]``.
      valid: bool ``[N]``, which rows are points; at least n.
      centroids: ``[K, d]``.
      n: how many; static.
      chunk: centroids at a time.

    Returns:
      int32 ``[K, n]``, rows, nearest first. Two centroids may have the same point.

    >>> points = jnp.array([[0.0], [2.0], [9.0]])
    >>> nearest_points(points, jnp.ones(3, bool), jnp.array([[8.0], [0.5]]), 2).tolist()
    [[2, 1], [0, 1]]
    """
    # A common offset would cost digits: distances are differences of squares.
    offset = mean_point(points, valid)
    points, centroids = points - offset[None], centroids - offset[None]
    norms = jnp.where(valid, jnp.sum(points**2, axis=1), jnp.inf)

    def nearest(centroid: Array) -> Array:
        return lax.top_k(2 * points @ centroid - norms, n)[1].astype(jnp.int32)

    return lax.map(nearest, centroids, batch_size=min(chunk, len(centroids)))


def plus_plus_points(key: Array, points: Array, valid: Array, k: int) -> Array:
    """k distinct rows by k-means++: each with a probability that grows with its distance to those before.

    The probability is proportional to the squared distance to the nearest row taken before; the first is
    uniform.

    Args:
      key: typed PRNG key.
      points: ``[N, d]``.
      valid: bool ``[N]``, which rows are points; at least k.
      k: how many; static.

    Returns:
      int32 ``[k]``, in the order in which they were taken.

    Reference: Arthur, Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.

    >>> points = jnp.array([[0.0], [0.0], [9.0]])
    >>> 2 in plus_plus_points(jax.random.key(0), points, jnp.ones(3, bool), 2).tolist()
    True
    """
    tiny = jnp.finfo(points.dtype).tiny  # so that equal points can be taken, once no other is left

    def take(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        chosen, squared, free = carry
        logits = jnp.where(free, jnp.log(jnp.maximum(squared, tiny)), -jnp.inf)
        row = jax.random.categorical(jax.random.fold_in(key, i), logits).astype(jnp.int32)
        squared = jnp.minimum(squared, jnp.sum((points - points[row][None]) ** 2, axis=1))
        return chosen.at[i].set(row), squared, free.at[row].set(False)

    # Equal distances: the first row is uniform.
    start = (jnp.zeros(k, jnp.int32), jnp.full(len(points), jnp.finfo(points.dtype).max), valid)
    return lax.fori_loop(0, k, take, start)[0]


def lloyd(
    points: Array,
    valid: Array,
    centroids: Array,
    *,
    steps: int,
    tolerance: float = 0.0,
    when_empty: WhenEmpty = move_to_farthest,
) -> Array:
    """Lloyd's algorithm: every centroid becomes the mean of the points that are nearest to it.

    Args:
      points: ``[N, d]``.
      valid: bool ``[N]``, which rows are points.
      centroids: ``[K, d]``, where it starts.
      steps: at most.
      tolerance: ends after a step whose squared shifts of all centroids sum to at most this; negative
        for all steps.
      when_empty: what becomes of a cluster without points.

    Returns:
      The centroids ``[K, d]``.

    >>> points = jnp.array([[0.0], [2.0], [8.0]])
    >>> lloyd(points, jnp.ones(3, bool), jnp.array([[0.0], [7.0]]), steps=9).tolist()
    [[1.0], [8.0]]
    """
    clusters = len(centroids)

    def step(centroids: Array) -> Array:
        assignment = Assignment(points, valid, centroids)
        # A matrix product, not a scatter: sums in one order, so the same bits on every run.
        members = jax.nn.one_hot(
            jnp.where(valid, assignment.labels, clusters), clusters, dtype=points.dtype
        )
        sums, counts = when_empty(assignment, members.T @ points, members.sum(0))
        means = sums / jnp.maximum(counts, 1.0)[:, None]
        return jnp.where(counts[:, None] > 0, means, centroids)

    def goes_on(carry: tuple[Array, Array, Array]) -> Array:
        _, done, shift = carry
        return (done < steps) & (shift > tolerance)

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        centroids, done, _ = carry
        moved = step(centroids)
        return moved, done + 1, jnp.sum((moved - centroids) ** 2)

    start = (centroids, jnp.int32(0), jnp.asarray(jnp.inf, points.dtype))
    return lax.while_loop(goes_on, body, start)[0]


@register
def k_means(steps: int = 3) -> Clustering:
    """Few Lloyd steps from the points that the clustering before chose.

    Features move little between two clusterings on a network. Under a fresh network the points are still
    distinct and evenly spread. More steps than the default gain nothing where the pool is new at every
    clustering (figures: docs/performance-choices.md, section "Representative images").

    Args:
      steps: Lloyd steps at most.

    Raises:
      ValueError: if steps is below 1.

    >>> k_means()
    k_means()
    """
    at_least("steps", steps, 1)

    def fit(key: Array, points: Array, valid: Array, start: Array) -> Array:
        del key
        return _centred_lloyd(points, valid, start, steps)

    return Clustering(fit)


@register
def k_means_plus_plus(steps: int = 100) -> Clustering:
    """Lloyd steps from new k-means++ points at every clustering.

    Args:
      steps: Lloyd steps at most; it ends earlier where nothing moves.

    Raises:
      ValueError: if steps is below 1.

    Reference: Arthur, Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.

    >>> k_means_plus_plus(20)
    k_means_plus_plus(20)
    """
    at_least("steps", steps, 1)

    def fit(key: Array, points: Array, valid: Array, start: Array) -> Array:
        rows = plus_plus_points(key, points, valid, len(start))
        return _centred_lloyd(points, valid, points[rows], steps)

    return Clustering(fit)


@register
def original_k_means() -> Clustering:
    """The k-means of DREAM's code, which can choose an image several times.

    It starts from random points that may repeat, and moves empty clusters to the zero vector, where all
    of them choose the same image. At most 100 Lloyd steps; it ends when the squared shifts sum to 1e-4.

    Reference: fast_pytorch_kmeans 0.2.2 with its defaults, as called by the code of DREAM (Liu et al., ICCV
    2023, https://arxiv.org/abs/2302.14416). That code does not fix the version; some older ones start
    from distinct points.

    >>> original_k_means()
    original_k_means()
    """

    def fit(key: Array, points: Array, valid: Array, start: Array) -> Array:
        logits = jnp.where(valid, 0.0, -jnp.inf)
        rows = jax.random.categorical(key, logits, shape=(len(start),))
        return lloyd(
            points, valid, points[rows], steps=100, tolerance=1e-4, when_empty=move_to_origin
        )

    return Clustering(fit)


def _centred_lloyd(points: Array, valid: Array, start: Array, steps: int) -> Array:
    """`lloyd`, with the mean of all points as the origin: distances are differences of squares."""
    offset = mean_point(points, valid)
    return lloyd(points - offset[None], valid, start - offset[None], steps=steps) + offset[None]
