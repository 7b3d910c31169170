"""Distances between two pytrees of equal structure (gradients, parameters, embeddings)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

PyTree = Any


def layerwise_cosine(syn: PyTree, real: PyTree, *, eps: float = 1e-6) -> Array:
    r"""One minus the cosine, per output unit, summed over units and layers (DC's "ours").

    .. math:: \sum_{\text{leaf}} \sum_i
        \Big(1 - \frac{\langle a_i, b_i\rangle}{\|a_i\|\,\|b_i\| + \epsilon}\Big)

    A row :math:`a_i` holds the weights of output unit i, which is the *last* axis of a leaf (kernels
    HWIO, dense kernels (in, out), layer-norm scales [H, W, C]). Leaves of rank 0 and 1 (biases, norm
    scales) are skipped. A row that is zero on either side adds exactly 1, and the derivative of its norm
    is taken as 0, which avoids NaN. Computed in float32 at least.

    Args:
      syn: pytree of gradients of the synthetic batch.
      real: pytree of gradients of the real batch, same structure and shapes.
      eps: added to the product of the norms; the smaller it is, the more do rows of tiny norm count.

    Returns:
      A scalar between 0 and twice the number of rows.

    Raises:
      ValueError: if the two pytrees differ in structure or shapes.

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021,
    https://arxiv.org/abs/2006.05929.

    >>> import jax.numpy as jnp
    >>> a = {"kernel": jnp.array([[1.0, 0.0], [0.0, 1.0]]), "bias": jnp.ones(2)}
    >>> b = {"kernel": jnp.array([[1.0, 0.0], [0.0, -1.0]]), "bias": jnp.zeros(2)}
    >>> print(f"{layerwise_cosine(a, b):.3f}")
    2.000
    """

    def leaf_distance(a: Array, b: Array) -> Array:
        if a.ndim < 2:
            return jnp.zeros((), a.dtype)
        a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
        return jnp.sum(1 - jnp.sum(a * b, 0) / (_norm(a, 0) * _norm(b, 0) + eps))

    return _sum_over_leaves(leaf_distance, syn, real)


def flat_cosine(syn: PyTree, real: PyTree, *, eps: float = 1e-6) -> Array:
    r"""One minus the cosine of two pytrees, each flattened to one vector (DC's "cos").

    .. math:: 1 - \frac{\langle a, b\rangle}{\|a\|\,\|b\| + \epsilon}

    Every leaf counts, biases and norm scales included. A pytree of zeros gives 1.

    Args:
      syn: pytree of arrays.
      real: pytree of the same structure and shapes.
      eps: added to the product of the norms.

    Returns:
      A scalar between 0 and 2.

    Raises:
      ValueError: if the two pytrees differ in structure or shapes.

    Reference: the option "cos" in the code of DC, https://arxiv.org/abs/2006.05929.

    >>> import jax.numpy as jnp
    >>> print(f"{flat_cosine([jnp.ones(2)], [jnp.array([1.0, -1.0])]):.3f}")
    1.000
    """
    dot = _sum_over_leaves(lambda a, b: jnp.sum(a * b), syn, real)
    syn_square = _sum_over_leaves(lambda a, b: jnp.sum(a * a), syn, real)
    real_square = _sum_over_leaves(lambda a, b: jnp.sum(b * b), syn, real)
    return 1 - dot / (_safe_sqrt(syn_square) * _safe_sqrt(real_square) + eps)


def squared_error(syn: PyTree, real: PyTree) -> Array:
    r"""Sum of squared differences over all leaves, :math:`\sum (a - b)^2`: a sum, not a mean.

    Args:
      syn: pytree of arrays.
      real: pytree of the same structure and shapes.

    Returns:
      A scalar.

    Raises:
      ValueError: if the two pytrees differ in structure or shapes.

    Reference: the option "mse" in the code of DC, https://arxiv.org/abs/2006.05929.

    >>> import jax.numpy as jnp
    >>> print(squared_error({"w": jnp.ones(3)}, {"w": jnp.zeros(3)}))
    3.0
    """
    return _sum_over_leaves(lambda a, b: jnp.sum(jnp.square(a - b)), syn, real)


def absolute_error(syn: PyTree, real: PyTree) -> Array:
    r"""Sum of absolute differences over all leaves, :math:`\sum |a - b|`: a sum, not a mean.

    Args:
      syn: pytree of arrays.
      real: pytree of the same structure and shapes.

    Returns:
      A scalar.

    Raises:
      ValueError: if the two pytrees differ in structure or shapes.

    Reference: Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization"
    (IDC), ICML 2022, https://arxiv.org/abs/2205.14959.

    >>> import jax.numpy as jnp
    >>> print(absolute_error({"w": jnp.ones(3)}, {"w": -jnp.ones(3)}))
    6.0
    """
    return _sum_over_leaves(lambda a, b: jnp.sum(jnp.abs(a - b)), syn, real)


def mean_absolute_error(syn: PyTree, real: PyTree) -> Array:
    r"""Mean absolute difference of each output unit, summed over units and leaves.

    .. math:: \sum_{\text{leaf}} \sum_i \frac{1}{|a_i|} \sum |a_i - b_i|

    where :math:`a_i`, :math:`b_i` hold everything that leads to output unit i, which is the *last*
    axis of a leaf, as in `layerwise_cosine`. Each entry of a leaf of rank 0 or 1 is a unit of its own.

    Args:
      syn: pytree of arrays.
      real: pytree of the same structure and shapes.

    Returns:
      A scalar.

    Raises:
      ValueError: if the two pytrees differ in structure or shapes.

    Reference: the option "l1_mean" of IDC's code (ICML 2022).

    >>> import jax.numpy as jnp
    >>> print(mean_absolute_error({"w": jnp.ones((4, 3))}, {"w": -jnp.ones((4, 3))}))
    6.0
    """

    def leaf_distance(a: Array, b: Array) -> Array:
        difference = jnp.abs(a - b)
        units = difference.shape[-1] if difference.ndim else 1
        return jnp.sum(difference.reshape(-1, units).mean(0))

    return _sum_over_leaves(leaf_distance, syn, real)


def trajectory_distance(student: PyTree, target: PyTree, start: PyTree) -> Array:
    r"""How far a student is from its target, in units of how far the target is from the start (MTT).

    .. math:: \frac{\|\theta - \theta^*\|^2}{\|\theta_0 - \theta^*\|^2}

    A student that did not move has the distance 1. The denominator carries no gradient.

    Args:
      student: pytree of parameters, :math:`\theta`.
      target: those that it should have, :math:`\theta^*`; same structure and shapes.
      start: those that it started from, :math:`\theta_0`; other than the target.

    Returns:
      A scalar, at least 0; not finite where start and target are equal.

    Raises:
      ValueError: if the pytrees differ in structure or shapes.

    Reference: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022,
    https://arxiv.org/abs/2203.11932.

    >>> import jax.numpy as jnp
    >>> start, target = {"w": jnp.zeros(2)}, {"w": jnp.full(2, 2.0)}
    >>> print(trajectory_distance({"w": jnp.ones(2)}, target, start))
    0.25
    """
    return squared_error(student, target) / lax.stop_gradient(squared_error(start, target))


def _sum_over_leaves(function: Any, syn: PyTree, real: PyTree) -> Array:
    syn_leaves, syn_tree = jax.tree.flatten(syn)
    real_leaves, real_tree = jax.tree.flatten(real)
    if syn_tree != real_tree:
        raise ValueError(
            f"both sides must have the same pytree structure, got {syn_tree} and {real_tree}"
        )
    total = jnp.zeros((), jnp.float32)
    for a, b in zip(syn_leaves, real_leaves, strict=True):
        if jnp.shape(a) != jnp.shape(b):
            raise ValueError(
                f"leaves must have equal shapes, got {jnp.shape(a)} and {jnp.shape(b)}"
            )
        total = total + function(_at_least_float32(a), _at_least_float32(b))
    return total


def _at_least_float32(x: Array) -> Array:
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _norm(x: Array, axis: int) -> Array:
    return _safe_sqrt(jnp.sum(jnp.square(x), axis))


def _safe_sqrt(square: Array) -> Array:
    # sqrt has an infinite derivative at 0; the inner where keeps it out of both derivatives.
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
