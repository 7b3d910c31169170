"""Batches: what objectives receive."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jdd.data.table import ClassTable, take


class Batch(NamedTuple):
    """Images with labels; with a leading class axis on every leaf where classes are stacked.

    Attributes:
      images: ``[n, H, W, ch]``, normalised float32 (``[C, n, H, W, ch]`` when stacked).
      labels: integers ``[n]``, or probabilities ``[n, K]``.
      weights: ``[n]``, what each sample counts for in a mean; None means that all count alike. A
        class smaller than the batch is padded with weight 0.
    """

    images: Array
    labels: Array
    weights: Array | None = None

    @property
    def num_classes(self) -> int:
        """The length of the class axis of a class-stacked batch."""
        return self.labels.shape[0]

    def of_class(self, c: Array | int) -> Batch:
        """Class c of a class-stacked batch."""
        return jax.tree.map(lambda leaf: leaf[c], self)


class Draw(NamedTuple):
    """Real images that were drawn but not gathered: images stay uint8 in the table until needed.

    Attributes:
      table: the real set on the device.
      indices: int32 ``[C, n]``, positions in the table.
      weights: float32 ``[C, n]``, 0 where a class has fewer than n images.
    """

    table: ClassTable
    indices: Array
    weights: Array

    @property
    def num_classes(self) -> int:
        """The length of the class axis."""
        return self.indices.shape[0]

    def of_class(self, c: Array | int) -> Batch:
        """Gathers and normalises class c, so that one class at a time is in memory as floats."""
        indices = self.indices[c]
        labels = jnp.full(indices.shape, c, jnp.int32)
        return Batch(take(self.table, indices), labels, self.weights[c])
