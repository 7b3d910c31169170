"""Losses on the features of every layer, with a class axis."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def feature_alignment(
    syn: Sequence[Array], real: Sequence[Array], weights: Sequence[float]
) -> Array:
    r"""Weighted sum over layers of the squared distances between synthetic and real class means.

    .. math:: \sum_l w_l \sum_c \Big\| \frac1n \sum_i s^l_{ci} - \frac1m \sum_j r^l_{cj} \Big\|^2

    Channels and positions are summed, not averaged, so a larger layer has a larger influence.

    Args:
      syn: synthetic features ``[C, n, ...]``, one array per layer.
      real: real features ``[C, m, ...]``, one array per layer.
      weights: one number per layer. CAFE's for ConvNet-3 are 0.1, 0.1, 1, 1, and 1 for the embedding,
        which is the last layer flattened.

    Returns:
      A scalar.

    Raises:
      ValueError: if the three differ in length or are empty, or the shapes of a layer are others, differ
        in C or in the features, or have no images.

    Reference: Wang, Zhao, Peng, Zhu, Yang, Wang, Huang, Bilen, Wang, You, "CAFE: Learning to Condense
    Dataset by Aligning Features", CVPR 2022, https://arxiv.org/abs/2203.01531, equation 3.

    >>> layers = [jnp.zeros((3, 1, 4, 4, 2)), jnp.zeros((3, 1, 8))]
    >>> print(feature_alignment(layers, [x + 1 for x in layers], [0.5, 1.0]))
    72.0
    """
    if not len(syn) == len(real) == len(weights) >= 1:
        raise ValueError(
            "feature_alignment takes one weight for each layer, and at least one layer, "
            f"got {len(syn)} synthetic layers, {len(real)} real layers and {len(weights)} weights"
        )
    total = jnp.float32(0)
    for s, r, weight in zip(syn, real, weights, strict=True):
        fits = s.ndim == r.ndim and s.ndim >= 2 and s.shape[0] == r.shape[0]
        if not fits or s.shape[2:] != r.shape[2:] or 0 in (*s.shape, *r.shape):
            raise ValueError(
                "feature_alignment takes [C, n, ...] and [C, m, ...], each axis at least 1, "
                f"got {s.shape} and {r.shape}"
            )
        total = total + weight * jnp.square(s.mean(1) - r.mean(1)).sum()
    return total


def discrimination(syn: Array, real: Array, *, weights: Array | None = None) -> Array:
    r"""Cross entropy of real embeddings, classified by the synthetic class means.

    .. math:: -\sum_c \sum_j \log \frac{\exp \langle r_{cj}, \bar s_c \rangle}
              {\sum_k \exp \langle r_{cj}, \bar s_k \rangle},\qquad \bar s_k = \frac1n \sum_i s_{ki}

    The logits are inner products, without temperature. The loss is a sum over all real images, so its
    weight beside other losses grows with the real batch. Under ``shard_map`` with classes over devices,
    the softmax runs over the classes of one device only.

    Args:
      syn: synthetic embeddings ``[C, n, d]``.
      real: real embeddings ``[C, m, d]``.
      weights: weight of each real image, ``[C, m]``; None for 1 each.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shapes are others, C or d differ, or there are no images.

    Reference: Wang et al., "CAFE", CVPR 2022, https://arxiv.org/abs/2203.01531, equation 5; a sum over
    images as in its code.

    >>> centres = 9 * jnp.eye(3)[:, None]
    >>> print(discrimination(centres, jnp.eye(3)[:, None]).round(4))
    0.0007
    """
    fits = syn.ndim == real.ndim == 3 and syn.shape[::2] == real.shape[::2]
    if not fits or 0 in (*syn.shape, *real.shape):
        raise ValueError(
            "discrimination takes [C, n, d] and [C, m, d], each axis at least 1, "
            f"got {syn.shape} and {real.shape}"
        )
    if weights is not None and weights.shape != real.shape[:2]:
        raise ValueError(f"weights must be {real.shape[:2]}, got {weights.shape}")
    if weights is None:
        weights = jnp.ones_like(real[:, :, 0])
    of_classes = jax.vmap(class_discrimination, (None, 0, 0, 0))
    return of_classes(syn.mean(1), real, jnp.arange(len(syn)), weights).sum()


def class_discrimination(
    centres: Array, real: Array, index: Array | int, weights: Array | None = None
) -> Array:
    r"""The term of one class in `discrimination`: its real embeddings, classified by all centres.

    .. math:: -\sum_j \log \frac{\exp \langle r_j, \bar s_c \rangle}
              {\sum_k \exp \langle r_j, \bar s_k \rangle}

    Args:
      centres: ``[C, d]``, the mean synthetic embedding of each class.
      real: ``[m, d]``, the real embeddings of one class.
      index: number c of this class.
      weights: weight of each real image, ``[m]``; None for 1 each.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shapes are others, d differs, there are no images, or the index is a Python or
        numpy integer outside 0 to C - 1.

    Reference: as `discrimination`.

    >>> round(float(class_discrimination(3 * jnp.eye(3), jnp.eye(3)[1:2], 1)), 3)
    0.095
    """
    fits = centres.ndim == real.ndim == 2 and centres.shape[1] == real.shape[1]
    if not fits or 0 in (*centres.shape, *real.shape):
        raise ValueError(
            "class_discrimination takes [C, d] and [m, d], each axis at least 1, "
            f"got {centres.shape} and {real.shape}"
        )
    if weights is not None and weights.shape != real.shape[:1]:
        raise ValueError(f"weights must be {real.shape[:1]}, got {weights.shape}")
    if isinstance(index, int | np.integer) and not 0 <= index < len(centres):
        raise ValueError(f"index must be from 0 to {len(centres) - 1}, got {index}")
    log_p = jax.nn.log_softmax(real @ centres.T)[:, index]
    return -(log_p.sum() if weights is None else weights @ log_p)
