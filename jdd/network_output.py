"""What a network computes in one forward pass."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array


class Output(NamedTuple):
    """Logits, taps and embedding of a batch, from one forward pass.

    Attributes:
      logits: ``[n, num_classes]``.
      taps: outputs of the layers, in order. Maps ``[n, h, w, c]`` after the activation of each block
        (before its pooling), then the map that is flattened, then vectors ``[n, d]`` after each
        hidden dense layer. Empty for a network that only offers logits.
      embedding: ``[n, d]``, the input of the classifier. None for a network that only offers logits.

    >>> import jax.numpy as jnp
    >>> output = Output(jnp.zeros((2, 10)))
    >>> output.logits.shape, output.taps, output.embedding
    ((2, 10), (), None)
    """

    logits: Array
    taps: tuple[Array, ...] = ()
    embedding: Array | None = None
