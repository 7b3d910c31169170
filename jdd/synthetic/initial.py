"""Where synthetic images start: at noise, at random real images, or at real images that stand for their class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jdd.choice import Choice, register
from jdd.data.table import ClassTable, draw_indices, take
from jdd.nn import Model
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Initial(Choice):
    """The images that a parametrisation starts from.

    Attributes:
      images: ``images(key, table, model, n) -> float32 [C, n, H, W, ch]``, normalised; ``model`` is the
        network that is matched on, for those that choose by its features.
      of_experts: ``of_experts(key, table, experts, n)``, in place of `images` where a run has experts
        (``methods.Experts``); None for those that need none.
    """

    images: Callable[[Array, ClassTable, Model, int], Array]
    of_experts: Callable[[Array, ClassTable, Any, int], Array] | None = None


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

    Reference: Zhao, Mopuri, Bilen, ICLR 2021, https://arxiv.org/abs/2006.05929.

    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1], np.int32))
    >>> noise(jax.random.key(0), class_table(split, 2, (0.5,), (0.5,)), 3).shape
    (2, 3, 8, 8, 1)
    """
    at_least("ipc", ipc, 1)
    shape = (table.num_classes, ipc, *table.images.shape[1:])
    return jax.random.normal(key, shape, jnp.float32)


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

    Reference: Zhao, Bilen, ICML 2021, https://arxiv.org/abs/2102.08259.

    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1], np.int32))
    >>> real(jax.random.key(0), class_table(split, 2, (0.5,), (0.5,)), 2).shape
    (2, 2, 8, 8, 1)
    """
    check_enough(table, ipc)
    return take(table, draw_indices(key, table, ipc)[0])


def first(table: ClassTable, ipc: int) -> Array:
    """The first images of each class, in the order of the data set.

    Args:
      table: the real set.
      ipc: images per class.

    Returns:
      float32 ``[C, ipc, H, W, ch]``, normalised.

    Raises:
      ValueError: if a class has fewer than ipc images, or ipc is below 1.

    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> images = np.array([10, 20, 30], np.uint8).reshape(3, 1, 1, 1)
    >>> table = class_table(Split(images, np.array([1, 0, 1], np.int32)), 2, (0.0,), (1 / 255,))
    >>> print(first(table, 1).ravel().round())
    [20. 10.]
    """
    check_enough(table, ipc)
    return take(table, table.start[:, None] + jnp.arange(ipc, dtype=jnp.int32))


def repeated_real(key: Array, table: ClassTable, ipc: int) -> Array:
    """Random real images of each class; of a class with fewer than ipc, all of them, repeated in turn.

    Args:
      key: PRNG key.
      table: the real set.
      ipc: images per class.

    Returns:
      float32 ``[C, ipc, H, W, ch]``, normalised.

    Raises:
      ValueError: if ipc is below 1.

    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> split = Split(np.zeros((3, 8, 8, 1), np.uint8), np.array([0, 1, 0], np.int32))
    >>> repeated_real(jax.random.key(0), class_table(split, 2, (0.5,), (0.5,)), 3).shape
    (2, 3, 8, 8, 1)
    """
    indices, _ = draw_indices(key, table, at_least("ipc", ipc, 1))
    places = jnp.arange(ipc)[None] % jnp.maximum(table.count, 1)[:, None]
    return take(table, jnp.take_along_axis(indices, places, axis=1))


def check_enough(table: ClassTable, ipc: int) -> None:
    """Raises a ``ValueError`` where a class has fewer images than ipc, or ipc is below 1."""
    if at_least("ipc", ipc, 1) > table.smallest:
        raise ValueError(
            "ipc (times the tiles of a stored image) must be between 1 and the smallest class "
            f"({table.smallest}), got {ipc}: from_real(repeat=True) repeats images, from_noise() needs none"
        )


@register
def from_noise() -> Initial:
    """Starts at `noise`.

    >>> from_noise()
    from_noise()
    """
    return Initial(lambda key, table, model, n: noise(key, table, n))


@register
def from_real(repeat: bool = False) -> Initial:
    """Starts at random `real` images.

    Args:
      repeat: whether images are repeated where a class has too few (`repeated_real`); else such a
        class is refused.

    >>> from_real() == from_real(repeat=False)
    True
    """
    draw = repeated_real if repeat else real
    return Initial(lambda key, table, model, n: draw(key, table, n))


@register
def first_of_class() -> Initial:
    """Starts at the `first` images of each class, as IDC's code does: the same for every seed.

    Reference: the code of Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959.

    >>> first_of_class()
    first_of_class()
    """
    return Initial(lambda key, table, model, n: first(table, n))
