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
    r"""Weighted sum over layers of the squared distance between the class means of both sides.

    .. math:: \sum_l w_l \sum_c \Big\| \frac1n \sum_i s^l_{ci} - \frac1m \sum_j r^l_{cj} \Big\|^2

    Sums over channels and places too, never means: a layer counts by its size.

    Args:
      syn: for each layer ``[C, n, ...]``.
      real: for each layer ``[C, m, ...]``.
      weights: one number per layer (CAFE's for ConvNet-3: 0.1, 0.1, 1, 1, and 1 for the embedding,
        which is the last of them flattened).

    Returns:
      A scalar.

    Raises:
      ValueError: if the three are not of one length, or empty, or a layer is not of these shapes, with
        the same C and the same features, and at least one image.

    Reference: Wang, Zhao, Peng, Zhu, Yang, Wang, Huang, Bilen, Wang, You, "CAFE: Learning to Condense
    Dataset by Aligning Features", CVPR 2022, equation 3.

    >>> layers = [jnp.zeros((3, 1, 4, 4, 2)), jnp.zeros((3, 1, 8))]
    >>> print(feature_alignment(layers, [x + 1 for x in layers], [0.5, 1.0]))
    72.0
    """
    if not len(syn) == len(real) == len(weights) >= 1:
        raise ValueError(
            "feature_alignment takes one weight for each layer of both sides, of at least one, "
            f"got {len(syn)} and {len(real)} layers and {len(weights)} weights"
        )
    total = jnp.float32(0)
    for s, r, weight in zip(syn, real, weights, strict=True):
        fits = s.ndim == r.ndim and s.ndim >= 2 and s.shape[0] == r.shape[0]
        if not fits or s.shape[2:] != r.shape[2:] or 0 in (*s.shape, *r.shape):
            raise ValueError(
                f"feature_alignment takes [C, n, ...] and [C, m, ...], got {s.shape} and {r.shape}"
            )
        total = total + weight * jnp.square(s.mean(1) - r.mean(1)).sum()
    return total


def discrimination(syn: Array, real: Array, *, weights: Array | None = None) -> Array:
    r"""Cross entropy of real embeddings that the synthetic class means classify.

    .. math:: -\sum_c \sum_j \log \frac{\exp \langle r_{cj}, \bar s_c \rangle}
              {\sum_k \exp \langle r_{cj}, \bar s_k \rangle},\qquad \bar s_k = \frac1n \sum_i s_{ki}

    Raw inner products, without temperature; a sum over all real images, so that its weight beside
    other losses grows with the real batch. (With classes over devices, under ``shard_map``, the
    classes of a device compete with each other only.)

    Args:
      syn: ``[C, n, d]``.
      real: ``[C, m, d]``.
      weights: ``[C, m]``, what each real image counts; None: all count 1.

    Returns:
      A scalar.

    Raises:
      ValueError: if the two are not of these shapes, with the same C and d and at least one image,
        or the weights are not ``[C, m]``.

    Reference: CAFE (Wang et al., CVPR 2022), equation 5; a sum over images as in its code.

    >>> centres = 9 * jnp.eye(3)[:, None]
    >>> print(discrimination(centres, jnp.eye(3)[:, None]).round(4))
    0.0007
    """
    fits = syn.ndim == real.ndim == 3 and syn.shape[::2] == real.shape[::2]
    if not fits or 0 in (*syn.shape, *real.shape):
        raise ValueError(
            f"discrimination takes [C, n, d] and [C, m, d], got {syn.shape} and {real.shape}"
        )
    if weights is not None and weights.shape != real.shape[:2]:
        raise ValueError(f"weights must be {real.shape[:2]}, got {weights.shape}")
    counted = jnp.ones(real.shape[:2], real.dtype) if weights is None else weights
    of_each = jax.vmap(own_centre_cross_entropy, (None, 0, 0, 0))
    return of_each(syn.mean(1), real, jnp.arange(len(syn)), counted).sum()


def own_centre_cross_entropy(
    centres: Array, real: Array, index: Array | int, weights: Array | None = None
) -> Array:
    r"""The part of one class in `discrimination`: its real embeddings, classified by all centres.

    .. math:: -\sum_j \log \frac{\exp \langle r_j, \bar s_c \rangle}
              {\sum_k \exp \langle r_j, \bar s_k \rangle}

    Args:
      centres: ``[C, d]``, the mean synthetic embedding of each class.
      real: ``[m, d]``, of one class.
      index: c, which class that is.
      weights: ``[m]``, what each real image counts; None: all count 1.

    Returns:
      A scalar.

    Raises:
      ValueError: if the two are not of these shapes, with the same d and at least one image, the
        weights are not ``[m]``, or the index (where it is a number) is not one of a class.

    Reference: as `discrimination`.

    >>> round(float(own_centre_cross_entropy(3 * jnp.eye(3), jnp.eye(3)[1:2], 1)), 3)
    0.095
    """
    fits = centres.ndim == real.ndim == 2 and centres.shape[1] == real.shape[1]
    if not fits or 0 in (*centres.shape, *real.shape):
        raise ValueError(
            f"own_centre_cross_entropy takes [C, d] and [m, d], got {centres.shape} and {real.shape}"
        )
    if weights is not None and weights.shape != real.shape[:1]:
        raise ValueError(f"weights must be {real.shape[:1]}, got {weights.shape}")
    if isinstance(index, int | np.integer) and not 0 <= index < len(centres):
        raise ValueError(f"index must be from 0 to {len(centres) - 1}, got {index}")
    own = jax.nn.log_softmax(real @ centres.T)[:, index]
    return -(own.sum() if weights is None else weights @ own)
