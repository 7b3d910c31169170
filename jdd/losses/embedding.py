"""Losses on embeddings with a class axis."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def mean_embedding(syn: Array, real: Array) -> Array:
    r"""Sum over classes of the squared distance between synthetic and real mean embeddings.

    .. math:: \sum_c \Big\| \frac1n \sum_i s_{ci} - \frac1m \sum_j r_{cj} \Big\|^2

    Args:
      syn: synthetic embeddings ``[C, n, d]``.
      real: real embeddings ``[C, m, d]``.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shapes are others, C or d differ, or there are no images.

    Reference: Zhao, Bilen, "Dataset Condensation with Distribution Matching", WACV 2023,
    https://arxiv.org/abs/2110.04181, equation 5.

    >>> print(mean_embedding(jnp.zeros((3, 1, 4)), jnp.ones((3, 5, 4))))
    12.0
    """
    fits = syn.ndim == real.ndim == 3 and syn.shape[::2] == real.shape[::2]
    if not fits or 0 in (*syn.shape, *real.shape):
        raise ValueError(
            "mean_embedding takes [C, n, d] and [C, m, d], each axis at least 1, "
            f"got {syn.shape} and {real.shape}"
        )
    return jnp.square(syn.mean(1) - real.mean(1)).sum()
