"""Distances between distributions of embeddings, as a stage."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd import losses
from jdd.choice import register
from jdd.losses.characteristic import check_alpha
from jdd.matching.base import Context, Pair, Stage, stateless
from jdd.matching.embeddings import Embedded
from jdd.validation import at_least


@register
def characteristic_function(frequencies: int = 4096, *, alpha: float = 0.5) -> Stage:
    """``losses.characteristic_function`` of embeddings of length 1, at frequencies that are drawn anew (NCFM).

    Frequencies are standard normal. (The paper's network that learns them is not here: the authors'
    configurations leave it out too.)

    Args:
      frequencies: how many.
      alpha: weight of the amplitude; that of the phase is 1 - alpha.

    Returns:
      A stage from ``Pair(Embedded, Embedded)`` to a scalar. Of class-stacked embeddings (`joint_embeddings`) it
      is the sum over classes.

    Raises:
      ValueError: if frequencies is below 1, or alpha is not from 0 to 1.

    Reference: Wang et al., CVPR 2025, https://arxiv.org/abs/2502.20653.

    >>> characteristic_function(1024)
    characteristic_function(1024)
    """
    at_least("frequencies", frequencies, 1)
    check_alpha(alpha)

    def of_class(key: Array, synthetic: Embedded, real: Embedded) -> Array:
        points = jax.random.normal(key, (frequencies, real.values.shape[-1]), real.values.dtype)
        return losses.characteristic_function(
            _unit_length(synthetic.values),
            _unit_length(real.values),
            points,
            alpha,
            syn_weights=synthetic.weights,
            real_weights=real.weights,
        )

    def apply(pair: Pair, context: Context) -> Array:
        if pair.synthetic.values.ndim == 2:
            return of_class(context.key, *pair)

        def of_index(c: Array) -> Array:
            return of_class(context.fold(c).key, *jax.tree.map(lambda x: x[c], tuple(pair)))

        return lax.map(of_index, jnp.arange(pair.synthetic.values.shape[0])).sum()

    return stateless(apply)


def _unit_length(rows: Array) -> Array:
    """Rows of length 1; a row of zeros stays."""
    square = jnp.sum(rows**2, axis=1, keepdims=True)
    is_positive = square > 0  # the derivative of the root at 0 is kept out
    return rows / jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, square, 1.0)), 1.0)
