"""Where synthetic images start: at noise, or at real images."""

from __future__ import annotations

import jax
from jax import Array

from jdd.data.table import ClassTable, draw_indices, take
from jdd.validation import at_least


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

    Reference: Zhao, Mopuri, Bilen, ICLR 2021.

    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1], np.int32))
    >>> noise(jax.random.key(0), class_table(split, 2, (0.5,), (0.5,)), 3).shape
    (2, 3, 8, 8, 1)
    """
    at_least("ipc", ipc, 1)
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

    Reference: Zhao, Bilen, ICML 2021.

    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1], np.int32))
    >>> real(jax.random.key(0), class_table(split, 2, (0.5,), (0.5,)), 2).shape
    (2, 2, 8, 8, 1)
    """
    if at_least("ipc", ipc, 1) > table.smallest:
        raise ValueError(
            f"ipc must be between 1 and the smallest class ({table.smallest}), got {ipc}"
        )
    return take(table, draw_indices(key, table, ipc)[0])
