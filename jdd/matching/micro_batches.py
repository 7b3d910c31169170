"""How a batch goes through a network a part at a time: what the stages that look at networks share."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jdd.matching.base import Context, Pair
from jdd.numbers import at_least


class MicroBatches(NamedTuple):
    """Images at a time on both sides, at most.

    Attributes:
      real: of the real side; None for the platform's default.
      synthetic: the same for the synthetic side.
    """

    real: int | None
    synthetic: int | None

    @classmethod
    def checked(cls, real: int | None, synthetic: int | None) -> MicroBatches:
        """Raises a ``ValueError`` where a number is below 1."""
        for name, size in (("real", real), ("synthetic", synthetic)):
            if size is not None:
                at_least(f"{name}_micro_batch", size, 1)
        return cls(real, synthetic)

    def sizes(self, pair: Pair, context: Context, *, real: int, synthetic: int) -> tuple[int, int]:
        """Images at a time, real and synthetic; the defaults where none are given.

        Where samples influence each other (``context.coupled``) a batch is taken whole.
        """
        if context.coupled:
            return len(pair.real.images), len(pair.synthetic.images)
        return self.real or real, self.synthetic or synthetic


def parts_of(samples: Any, weights: Array, most: int) -> tuple[Any, Array]:
    """Cuts a batch into parts of at most ``most`` samples, as even as possible.

    Samples of weight 0 fill the last part up, so that a loop over parts has one body. They are copies,
    because a network need not be finite at an image of zeros, and 0 * nan is nan.

    Args:
      samples: arrays ``[n, ...]``.
      weights: ``[n]``.
      most: samples in a part.

    Returns:
      The samples ``[k, m, ...]`` and their weights ``[k, m]``.

    Raises:
      ValueError: if there are no samples.

    >>> parts_of(jnp.arange(5), jnp.ones(5), 3)[1].tolist()  # 3 and 2, and one to fill up
    [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    n = len(weights)
    if n < 1:
        raise ValueError("an empty batch cannot go through a network")
    parts = -(-n // most)
    size = -(-n // parts)  # 100 samples in 7 parts of 15, not of 16
    fill = parts * size - n

    def cut(x: Array, filler: Array) -> Array:
        filled = jnp.concatenate([x, filler]) if fill else x
        return filled.reshape(parts, size, *x.shape[1:])

    samples = jax.tree.map(lambda x: cut(x, x[:fill]), samples)
    return samples, cut(weights, jnp.zeros(fill, weights.dtype))
