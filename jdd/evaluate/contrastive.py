"""How far the synthetic gradient of a class depends on the other classes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def contrastive_signal(syn: Any, real: Any) -> Array:
    r"""How much of each class's synthetic gradient points along each class's real gradient.

    .. math:: r_{ck} = \frac{s_{ck}}{\sum_{k'} s_{ck'}}, \qquad
              s_{ck} = \sum_{\text{layers}} \sum_{\text{units}} |\langle g^S_c, g^R_k \rangle|

    A row with all its weight on the diagonal carries no signal between classes. Leaves of rank 1 (biases,
    norm scales) are left out, and the last axis of a leaf is its output unit, as in DC's distance.

    Args:
      syn: gradients of synthetic images with a leading class axis on every leaf, as from
        ``matching.per_class(matching.gradients())``.
      real: gradients of real images, of the same structure.

    Returns:
      ``[C, C]``; every row sums to 1 (a row of zeros where a gradient vanishes).

    Raises:
      ValueError: if the two pytrees differ in structure or shapes.

    Reference: Lee, Chun, Jung, Yun, Yoon, "Dataset Condensation with Contrastive Signals", ICML 2022,
    https://arxiv.org/abs/2202.02916; in its code this is a helper for one class, which nothing calls.

    >>> g = {"w": jnp.eye(3)[:, None, :] * jnp.ones((3, 2, 1))}
    >>> print(contrastive_signal(g, g))
    [[1. 0. 0.]
     [0. 1. 0.]
     [0. 0. 1.]]
    """
    a, b = jax.tree.leaves(syn), jax.tree.leaves(real)
    shapes = [x.shape for x in a], [x.shape for x in b]
    if jax.tree.structure(syn) != jax.tree.structure(real) or shapes[0] != shapes[1]:
        raise ValueError("synthetic and real gradients must have the same structure and shapes")
    total = jnp.zeros((a[0].shape[0],) * 2)
    for x, y in zip(a, b, strict=True):
        if x.ndim < 3:  # a bias or norm scale, with the class axis
            continue
        x, y = (z.reshape(z.shape[0], -1, z.shape[-1]) for z in (x, y))
        total += jnp.abs(jnp.einsum("cpu,kpu->cku", x, y)).sum(-1)
    return total / jnp.maximum(total.sum(1, keepdims=True), 1e-30)
