"""The empirical neural tangent kernel of some images, and its velocity while a network trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer


def empirical_ntk(function: Callable[[Any, Array], Array], params: Any, probe: Array) -> Array:
    r"""The neural tangent kernel of a network: inner products of its parameter gradients.

    .. math:: K_{ij} = \sum_k \big\langle \nabla_\theta f_k(x_i), \nabla_\theta f_k(x_j) \big\rangle

    The kernel is computed row by row: a vector-Jacobian product gives the gradient of one output, and the
    transpose of that map its inner products with all others. This keeps no Jacobian in memory, and uses
    only reverse mode, which every convolution of ``jdd.nn`` supports.

    Args:
      function: ``function(params, images) -> [n, outputs]``. With the logits, the result is summed over
        classes; for the kernel of the sum of logits, return ``[n, 1]``.
      params: pytree of parameters, at which the gradients are taken.
      probe: images ``[n, ...]``.

    Returns:
      ``[n, n]``, symmetric and positive semi-definite.

    Raises:
      ValueError: if the function does not return one row per image.

    Reference: Jacot, Gabriel, Hongler, "Neural Tangent Kernel", NeurIPS 2018,
    https://arxiv.org/abs/1806.07572.

    >>> linear = lambda w, x: x @ w
    >>> print(empirical_ntk(linear, jnp.zeros((2, 3)), jnp.array([[1.0, 0.0], [1.0, 2.0]])))
    [[ 3.  3.]
     [ 3. 15.]]
    """
    outputs, pull_back = jax.vjp(lambda params: function(params, probe), params)
    n = probe.shape[0]
    if outputs.ndim != 2 or outputs.shape[0] != n:
        raise ValueError(
            f"the function must return [{n}, outputs] for {n} images, got {outputs.shape}"
        )

    def gradient(cotangent: Array) -> Any:
        return pull_back(cotangent)[0]

    # The gradient is linear in the cotangent, so its vector-Jacobian product is its transpose.
    _, push_forward = jax.vjp(gradient, jnp.zeros_like(outputs))
    width = outputs.shape[1]

    def row(index: Array) -> Array:
        """The row of one image and one of its outputs."""
        i, k = index // width, index % width
        one_hot = jnp.zeros_like(outputs).at[i, k].set(1)
        return push_forward(gradient(one_hot))[0][:, k]

    rows = lax.map(row, jnp.arange(n * width, dtype=jnp.int32))
    return rows.reshape(n, width, n).sum(1)


def kernel_distance(a: Array, b: Array) -> Array:
    r"""One minus the cosine between two kernels: 0 if they are proportional.

    .. math:: S = 1 - \frac{\mathrm{Tr}(A B^\top)}{\|A\|_F \|B\|_F}

    Args:
      a: kernels ``[..., n, n]``.
      b: kernels of the same shape.

    Returns:
      ``[...]``, between 0 and 1 for positive semi-definite kernels; 1/2 if one of the two is zero.

    Raises:
      ValueError: if the shapes differ or are not square.

    Reference: Fort et al., "Deep learning versus kernel learning", NeurIPS 2020,
    https://arxiv.org/abs/2010.15110.

    >>> print(kernel_distance(jnp.eye(2), 3 * jnp.eye(2)))
    0.0
    """
    if a.shape != b.shape or a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"two square kernels of one shape are needed, got {a.shape}, {b.shape}")

    def flat(kernel: Array) -> Array:
        # Scaled first: products of large kernels would overflow float32.
        kernel = kernel.reshape(*kernel.shape[:-2], -1)
        kernel = kernel / jnp.maximum(jnp.abs(kernel).max(-1, keepdims=True), 1e-30)
        return kernel / jnp.maximum(jnp.linalg.norm(kernel, axis=-1, keepdims=True), 1e-30)

    # Half the squared distance of unit vectors, which does not cancel where the kernels nearly agree.
    return jnp.square(flat(a) - flat(b)).sum(-1) / 2


def kernel_velocity(kernels: Array, times: Array) -> Array:
    r"""The distance between successive kernels per unit of time: :math:`S(K_t, K_{t'}) / (t' - t)`.

    Args:
      kernels: ``[T, n, n]``, the kernel at each time.
      times: ``[T]``, increasing, for example SGD steps.

    Returns:
      ``[T - 1]``.

    Raises:
      ValueError: if there are fewer than two kernels, the number of times differs, or (outside of jit)
        the times do not increase.

    Reference: Fort et al., NeurIPS 2020, https://arxiv.org/abs/2010.15110. Lee et al., ICML 2022,
    https://arxiv.org/abs/2202.02916, compare class-wise and collective matching by it.

    >>> still = jnp.stack([jnp.eye(2)] * 3)
    >>> kernel_velocity(still, jnp.array([0, 10, 20])).tolist()
    [0.0, 0.0]
    """
    if kernels.ndim != 3 or kernels.shape[0] < 2 or times.shape != kernels.shape[:1]:
        raise ValueError(
            f"kernels [T, n, n] at T >= 2 times are needed, got {kernels.shape} and {times.shape}"
        )
    steps = jnp.diff(times)
    if not isinstance(steps, Tracer) and not bool((steps > 0).all()):
        raise ValueError(f"times must increase, got {times}")
    return kernel_distance(kernels[:-1], kernels[1:]) / steps
