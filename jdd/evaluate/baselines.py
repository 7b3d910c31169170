"""What a distilled set is compared with."""

from __future__ import annotations

from jax import Array

from jdd import synthetic
from jdd.data.table import ClassTable


def random_real(key: Array, table: ClassTable, ipc: int) -> tuple[Array, Array]:
    """Random real images of each class: the baseline that every distilled set must beat.

    Args:
      key: typed PRNG key.
      table: the real training set.
      ipc: images per class.

    Returns:
      ``(images [C * ipc, H, W, ch], labels [C * ipc])``, class-major.

    Raises:
      ValueError: if a class has fewer than ipc images.
    """
    images, labels = synthetic.pixels.decode(
        synthetic.pixels.init(synthetic.real(key, table, ipc)), key
    )
    return images.reshape(-1, *images.shape[2:]), labels.reshape(-1)
