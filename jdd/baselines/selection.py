"""Selection of representative images of a class by their features: herding and k-centre."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

# Squared distances to the nearest pick, which rows are not picked yet, and the next pick.
_State = tuple[Array, Array, Array]


@functools.partial(jax.jit, static_argnames="n")
def herding(features: Array, n: int, *, valid: Array | None = None) -> Array:
    r"""Picks samples one by one, so that their mean stays nearest to the mean of all.

    .. math:: p_k = \arg\min_i \Big\lVert \mu - \frac{1}{k} \Big(x_i + \sum_{j < k} x_{p_j}\Big) \Big\rVert

    No sample is picked twice; of equally good samples the first is picked. The first pick is the sample
    nearest to the mean. The first m of n picks are the picks for m.

    Args:
      features: float ``[N, d]``, of one class. iCaRL first scales each row to length 1; DC does not.
      n: number of picks; static.
      valid: bool ``[N]``, which rows are samples, at least n; None for all.

    Returns:
      int32 ``[n]``, the rows in the order in which they were picked.

    Raises:
      ValueError: if n is not between 1 and N, or features are not of rank 2.

    Reference: Welling, "Herding Dynamical Weights to Learn", ICML 2009; in this form Rebuffi,
    Kolesnikov, Sperl, Lampert, "iCaRL", CVPR 2017, https://arxiv.org/abs/1611.07725, algorithm 4.

    >>> herding(jnp.array([[0.0], [1.0], [5.0]]), 3).tolist()  # the mean is 2
    [1, 2, 0]
    """
    free, offsets = _offsets(features, n, valid)

    def pick(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        total, free = carry
        # With the mean as the origin, k (mu - mean of k picks) is minus the sum of the picks.
        distance = jnp.sum((total[None] + offsets) ** 2, axis=1)
        i = jnp.argmin(jnp.where(free, distance, jnp.inf)).astype(jnp.int32)
        return (total + offsets[i], free.at[i].set(False)), i

    return lax.scan(pick, (jnp.zeros_like(offsets[0]), free), length=n)[1]


@functools.partial(jax.jit, static_argnames="n")
def k_centre(features: Array, n: int, *, valid: Array | None = None) -> Array:
    r"""Picks samples one by one, so that no sample is far from its nearest pick.

    The first pick is the sample nearest to the mean; every other is the sample farthest from the picks
    before it:

    .. math:: p_k = \arg\max_i \min_{j < k} \lVert x_i - x_{p_j} \rVert

    The largest distance of a sample to its nearest pick is at most twice the smallest possible. Of
    equally good samples the first is picked.

    Args:
      features: float ``[N, d]``, of one class.
      n: number of picks; static.
      valid: bool ``[N]``, which rows are samples, at least n; None for all.

    Returns:
      int32 ``[n]``, the rows in the order in which they were picked.

    Raises:
      ValueError: if n is not between 1 and N, or features are not of rank 2.

    Reference: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985; for coresets of
    features Sener, Savarese, ICLR 2018, https://arxiv.org/abs/1708.00489. Both leave the first pick open;
    with the sample nearest to the mean it is the same as in herding.

    >>> k_centre(jnp.array([[0.0], [1.0], [5.0]]), 3).tolist()  # the mean is 2
    [1, 2, 0]
    """
    free, offsets = _offsets(features, n, valid)
    first = jnp.argmin(jnp.where(free, jnp.sum(offsets**2, axis=1), jnp.inf)).astype(jnp.int32)

    def pick(carry: _State, _: None) -> tuple[_State, Array]:
        nearest, free, i = carry
        nearest = jnp.minimum(nearest, jnp.sum((offsets - offsets[i][None]) ** 2, axis=1))
        free = free.at[i].set(False)
        following = jnp.argmax(jnp.where(free, nearest, -1.0)).astype(jnp.int32)
        return (nearest, free, following), i

    start = jnp.full(free.shape, jnp.inf, jnp.float32), free, first
    return lax.scan(pick, start, length=n)[1]


def _offsets(features: Array, n: int, valid: Array | None) -> tuple[Array, Array]:
    """Which rows are samples, and all rows minus the mean of the samples, in float32."""
    if features.ndim != 2 or not 1 <= n <= features.shape[0]:
        raise ValueError(
            f"features must be [N, d] with N at least n = {n} and n at least 1, got {features.shape}"
        )
    free = jnp.ones(features.shape[0], bool) if valid is None else valid
    rows = features.astype(jnp.float32)
    mean = jnp.sum(jnp.where(free[:, None], rows, 0.0), axis=0) / jnp.sum(free)
    return free, rows - mean[None]
