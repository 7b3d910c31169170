"""Where synthetic images start: at noise, or at real images."""

from __future__ import annotations

import jax
from jax import Array

from jdd.data.table import ClassTable, draw_indices, take


def noise(key: Array, table: ClassTable, ipc: int) -> Array:
    """Standard normal noise in normalised space (DC's default).

    Args:
      key: PRNG key.
      table: the real set, for its classes and image shape.
      ipc: images per class.

    Returns:
      float32 ``[C, ipc, H, W, ch]``.

    Raises:
      ValueError: if ipc is below 1.
    """
    if ipc < 1:
        raise ValueError(f"ipc must be at least 1, got {ipc}")
    return jax.random.normal(key, (table.count.shape[0], ipc, *table.images.shape[1:]))


def real(key: Array, table: ClassTable, ipc: int) -> Array:
    """Random real images of each class, without replacement (DSA's and DM's default).

    Args:
      key: PRNG key.
      table: the real set.
      ipc: images per class.

    Returns:
      float32 ``[C, ipc, H, W, ch]``, normalised.

    Raises:
      ValueError: if a class has fewer than ipc images, or ipc is below 1.
    """
    smallest = int(table.count.min())
    if not 1 <= ipc <= smallest:
        raise ValueError(f"ipc must be between 1 and the smallest class ({smallest}), got {ipc}")
    return take(table, draw_indices(key, table, ipc)[0])
