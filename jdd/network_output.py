"""What a network computes in one pass."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array


class Output(NamedTuple):
    """Everything that an objective may use of a network.

    Attributes:
      logits: ``[n, K]``.
      taps: the outputs of the layers, in order; empty where the network does not offer them.
      embedding: ``[n, d]``, what enters the classifier; None where the network does not offer it.
    """

    logits: Array
    taps: tuple[Array, ...] = ()
    embedding: Array | None = None
