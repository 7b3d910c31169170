"""Stages that leave something out: synthetic images of a batch, or all but convolution kernels."""

from __future__ import annotations

from typing import Any

import jax

from jdd.choice import register
from jdd.matching.base import Context, Pair, Stage, stateless
from jdd.validation import at_least


@register
def synthetic_at_most(n: int = 128) -> Stage:
    """Matches at most n synthetic images, drawn at random without replacement; the real side stays.

    It bounds memory and time where one stored image decodes to several. Inside ``per_class`` every
    class has a draw of its own.

    Args:
      n: synthetic images, at most.

    Raises:
      ValueError: if n is below 1.

    Reference: the code of Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959, where n is 128.

    >>> synthetic_at_most()
    synthetic_at_most()
    """
    at_least("n", n, 1)

    def apply(pair: Pair, context: Context) -> Pair:
        count = pair.synthetic.images.shape[0]
        if count <= n:
            return pair
        chosen = jax.random.permutation(context.key, count)[:n]
        # Stated to be unique, so that the derivative's scatter needs no order.
        synthetic = jax.tree.map(
            lambda x: x.at[chosen].get(unique_indices=True, mode="promise_in_bounds"),
            pair.synthetic,
        )
        return pair._replace(synthetic=synthetic)

    return stateless(apply)


@register
def convolutions_only() -> Stage:
    """Keeps the convolution kernels (leaves of rank 4) of a pair of gradients; all else is left out.

    Raises:
      ValueError: when applied, if the network has no convolutions.

    Reference: the code of Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959.

    >>> import jax.numpy as jnp
    >>> from jdd.matching import value_of
    >>> gradients = {"conv0": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)}}
    >>> context = Context(lambda params, x: x, {}, jax.random.key(0))
    >>> kept = value_of(convolutions_only(), Pair(gradients, gradients), context).real
    >>> [leaf.shape for leaf in jax.tree.leaves(kept)]
    [(3, 3, 1, 2)]
    """

    def kernels(gradients: Any) -> Any:
        kept = jax.tree.map(lambda leaf: leaf if leaf.ndim == 4 else None, gradients)
        if not jax.tree.leaves(kept):
            raise ValueError(
                "convolutions_only needs a network with convolutions: no parameter has rank 4"
            )
        return kept

    return stateless(lambda pair, context: Pair(kernels(pair.synthetic), kernels(pair.real)))
