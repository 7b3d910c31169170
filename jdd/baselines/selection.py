"""Which images of a class stand for it, by their features: herding and k-centre."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

_Reach = tuple[Array, Array, Array]  # squared distances to the nearest pick, what is free, the pick


@functools.partial(jax.jit, static_argnames="n")
def herding(features: Array, n: int, *, valid: Array | None = None) -> Array:
    r"""Greedily, the n samples whose running mean stays nearest to the mean of all.

    .. math:: p_k = \arg\min_i \Big\lVert \mu - \frac{1}{k} \Big(x_i + \sum_{j < k} x_{p_j}\Big) \Big\rVert

    Without replacement; of equally good samples the first is taken. The first pick is the sample
    nearest to the mean, and the first m of n picks are the m picks.

    Args:
      features: float ``[N, d]``, of one class. iCaRL normalises each to length 1 before; DC does not.
      n: how many; static.
      valid: bool ``[N]``, which rows are samples; None for all. At least n must be.

    Returns:
      int32 ``[n]``, rows in the order in which they were picked.

    Raises:
      ValueError: if n is not between 1 and N, or features are not of rank 2.

    Reference: Welling, "Herding Dynamical Weights to Learn", ICML 2009; in this form Rebuffi,
    Kolesnikov, Sperl, Lampert, "iCaRL", CVPR 2017, algorithm 4.

    >>> herding(jnp.array([[0.0], [1.0], [5.0]]), 3).tolist()  # the mean is 2
    [1, 2, 0]
    """
    free, offsets = _offsets(features, n, valid)

    def pick(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        total, free = carry
        # The mean is the origin here, so that k * (mu - mean of k) is minus the sum of k offsets.
        distance = jnp.sum((total[None] + offsets) ** 2, axis=1)
        i = jnp.argmin(jnp.where(free, distance, jnp.inf)).astype(jnp.int32)
        return (total + offsets[i], free.at[i].set(False)), i

    return lax.scan(pick, (jnp.zeros_like(offsets[0]), free), length=n)[1]


@functools.partial(jax.jit, static_argnames="n")
def k_centre(features: Array, n: int, *, valid: Array | None = None) -> Array:
    r"""Greedily, n samples such that no sample is far from the nearest of them.

    The first is the sample nearest to the mean; each further one is the sample farthest from those
    already picked:

    .. math:: p_k = \arg\max_i \min_{j < k} \lVert x_i - x_{p_j} \rVert

    The largest distance of a sample to its nearest pick is at most twice the smallest possible. Of
    equally good samples the first is taken.

    Args:
      features: float ``[N, d]``, of one class.
      n: how many; static.
      valid: bool ``[N]``, which rows are samples; None for all. At least n must be.

    Returns:
      int32 ``[n]``, rows in the order in which they were picked.

    Raises:
      ValueError: if n is not between 1 and N, or features are not of rank 2.

    Reference: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985; as coreset
    of features Sener, Savarese, ICLR 2018. Where to begin is open there; the nearest to the mean
    makes it one with herding at n = 1.

    >>> k_centre(jnp.array([[0.0], [1.0], [5.0]]), 3).tolist()  # the mean is 2
    [1, 2, 0]
    """
    free, offsets = _offsets(features, n, valid)
    first = jnp.argmin(jnp.where(free, jnp.sum(offsets**2, axis=1), jnp.inf)).astype(jnp.int32)

    def pick(carry: _Reach, _: None) -> tuple[_Reach, Array]:
        nearest, free, i = carry
        nearest = jnp.minimum(nearest, jnp.sum((offsets - offsets[i][None]) ** 2, axis=1))
        free = free.at[i].set(False)
        following = jnp.argmax(jnp.where(free, nearest, -1.0)).astype(jnp.int32)
        return (nearest, free, following), i

    start = jnp.full(free.shape, jnp.inf, jnp.float32), free, first
    return lax.scan(pick, start, length=n)[1]


def _offsets(features: Array, n: int, valid: Array | None) -> tuple[Array, Array]:
    """Which rows are samples, and the rows less the mean of the samples, in float32."""
    if features.ndim != 2 or not 1 <= n <= features.shape[0]:
        raise ValueError(
            f"features must be [N, d] with N at least n = {n} and n at least 1, got {features.shape}"
        )
    free = jnp.ones(features.shape[0], bool) if valid is None else valid
    rows = features.astype(jnp.float32)
    mean = jnp.sum(jnp.where(free[:, None], rows, 0.0), axis=0) / jnp.sum(free)
    return free, rows - mean[None]
