"""Losses on embeddings with a class axis."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def mean_embedding(syn: Array, real: Array) -> Array:
    r"""Sum over classes of the squared distance between the mean embeddings of both sides.

    .. math:: \sum_c \Big\| \frac1n \sum_i s_{ci} - \frac1m \sum_j r_{cj} \Big\|^2

    Args:
      syn: ``[C, n, d]``.
      real: ``[C, m, d]``.

    Returns:
      A scalar.

    Raises:
      ValueError: if the two are not of these shapes, with the same C and d and at least one image.

    Reference: Zhao, Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, equation 5.

    >>> print(mean_embedding(jnp.zeros((3, 1, 4)), jnp.ones((3, 5, 4))))
    12.0
    """
    fits = syn.ndim == real.ndim == 3 and syn.shape[::2] == real.shape[::2]
    if not fits or 0 in (*syn.shape, *real.shape):
        raise ValueError(
            f"mean_embedding takes [C, n, d] and [C, m, d], got {syn.shape} and {real.shape}"
        )
    return jnp.square(syn.mean(1) - real.mean(1)).sum()
