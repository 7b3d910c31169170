"""The distance between characteristic functions of two sets of embeddings."""

from __future__ import annotations

from numbers import Real

import jax.numpy as jnp
from jax import Array

_TINY = 1e-12


def characteristic_function(
    syn: Array,
    real: Array,
    frequencies: Array,
    alpha: float = 0.5,
    *,
    syn_weights: Array | None = None,
    real_weights: Array | None = None,
) -> Array:
    r"""Mean distance between two empirical characteristic functions, by amplitude and phase (NCFM).

    .. math:: \Phi_X(t) = \frac1n \sum_i e^{\,i \langle t, x_i \rangle},\qquad
              \frac1k \sum_{j} \sqrt{\alpha \big(|\Phi_r| - |\Phi_s|\big)^2
              + (1 - \alpha)\, 2 \big(|\Phi_r||\Phi_s| - \mathrm{Re}\, \Phi_r \overline{\Phi_s}\big)}

    with both functions at frequency :math:`t_j`. The first term compares amplitudes, how spread out the
    embeddings are; the second one phases, where they are. With alpha 1/2 the root is
    :math:`|\Phi_r - \Phi_s| / \sqrt 2`.

    Args:
      syn: ``[n, d]``, embeddings of synthetic images.
      real: ``[m, d]``, of real ones.
      frequencies: ``[k, d]``, where the functions are compared.
      alpha: weight of the amplitude, from 0 to 1.
      syn_weights: ``[n]``, what each synthetic image counts for in a mean; None: all alike.
      real_weights: ``[m]``, the same for real images.

    Returns:
      A scalar, at least 0 (about 1e-4, by rounding, where both sets are the same).

    Raises:
      ValueError: if the arrays are not of these shapes, with the same d and at least one row, or alpha is not
        from 0 to 1.

    Reference: Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective",
    CVPR 2025, https://arxiv.org/abs/2502.20653; as in its code, the root is inside the mean.

    >>> t = jnp.array([[1.0], [2.0]])
    >>> print(f"{characteristic_function(jnp.zeros((4, 1)), jnp.ones((5, 1)), t):.3f}")
    0.934
    """
    shapes = (syn.shape, real.shape, frequencies.shape)
    if any(len(shape) != 2 or 0 in shape or shape[1] != shapes[0][-1] for shape in shapes):
        raise ValueError(
            "characteristic_function takes [n, d], [m, d] and frequencies [k, d], got "
            + ", ".join(map(str, shapes))
        )
    for name, weights, n in (("syn", syn_weights, len(syn)), ("real", real_weights, len(real))):
        if weights is not None and weights.shape != (n,):
            raise ValueError(f"{name}_weights must be {(n,)}, got {weights.shape}")
    check_alpha(alpha)
    syn_cos, syn_sin, syn_norm = _function(syn, frequencies, syn_weights)
    real_cos, real_sin, real_norm = _function(real, frequencies, real_weights)
    amplitude = jnp.square(real_norm - syn_norm)
    phase = 2 * (real_norm * syn_norm - syn_cos * real_cos - syn_sin * real_sin)
    # Rounding can make it negative, and a root has no derivative at 0.
    phase = jnp.maximum(phase, _TINY)
    return jnp.mean(jnp.sqrt(jnp.maximum(alpha * amplitude + (1 - alpha) * phase, _TINY**2)))


def check_alpha(alpha: float) -> None:
    """Raises a ``ValueError`` for a weight of the amplitude that is not from 0 to 1.

    >>> check_alpha(2)
    Traceback (most recent call last):
        ...
    ValueError: alpha must be from 0 to 1, got 2
    """
    if not isinstance(alpha, Real) or not 0 <= float(alpha) <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha!r}")


def _function(
    embeddings: Array, frequencies: Array, weights: Array | None
) -> tuple[Array, Array, Array]:
    """Real part, imaginary part and absolute value of the characteristic function, ``[k]`` each."""
    angles = frequencies @ embeddings.T
    shares = None if weights is None else weights / jnp.sum(weights)

    def mean(x: Array) -> Array:
        return jnp.mean(x, axis=1) if shares is None else x @ shares

    cos, sin = mean(jnp.cos(angles)), mean(jnp.sin(angles))
    square = cos**2 + sin**2
    is_positive = square > 0  # the derivative of the root at 0 is kept out
    return cos, sin, jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, square, 1.0)), 0.0)
