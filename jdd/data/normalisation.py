"""From stored bytes to what networks see, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = np.ndarray | jax.Array


def normalise(images: Array, mean: Any, std: Any) -> Any:
    """(x / 255 - mean) / std per channel in float32: from stored bytes to what networks see.

    Args:
      images: uint8 [..., C]; numpy gives numpy, JAX (also traced) gives JAX.
      mean, std: C numbers each, on the [0, 1] scale.

    Returns:
      float32 array of the same shape, in normalised space (zero is the data set's mean).

    Raises:
      ValueError: when the images are not uint8 (they would be scaled twice).

    Reference: ToTensor and Normalize of torchvision, as used by DC and DSA.

    Example:
      >>> normalise(np.array([[0, 255]], np.uint8).T, (0.5,), (0.25,)).tolist()
      [[-2.0], [2.0]]
    """
    if images.dtype != np.uint8:
        raise ValueError(f"normalise takes uint8 images, got {images.dtype}")
    xp = jnp if any(isinstance(a, jax.Array) for a in (images, mean, std)) else np
    # With the rank of the images, so that no rank is promoted.
    rank = (1,) * max(images.ndim - 1, 0) + (-1,)
    mean, std = (xp.asarray(x, np.float32).reshape(rank) for x in (mean, std))
    return (images.astype(np.float32) / np.float32(255) - mean) / std


def denormalise(images: Array, mean: Any, std: Any) -> Any:
    """x * std + mean per channel in float32: from normalised space to the [0, 1] scale, unclipped.

    Args:
      images: float [..., C] in normalised space; numpy gives numpy, JAX gives JAX.
      mean, std: C numbers each, on the [0, 1] scale.

    Returns:
      float32 array of the same shape; distilled pixels may lie outside [0, 1].

    Example:
      >>> denormalise(np.array([[-2.0, 4.0]], np.float32).T, (0.5,), (0.25,)).tolist()
      [[0.0], [1.5]]
    """
    xp = jnp if any(isinstance(a, jax.Array) for a in (images, mean, std)) else np
    # With the rank of the images, so that no rank is promoted.
    rank = (1,) * max(images.ndim - 1, 0) + (-1,)
    mean, std = (xp.asarray(x, np.float32).reshape(rank) for x in (mean, std))
    return images.astype(np.float32) * std + mean


def check_statistics(mean: Sequence[float], std: Sequence[float], channels: int) -> None:
    """Refuses a mean and std that cannot be those of pixels on the [0, 1] scale.

    A mean of 0 and a std of 1, which leave x / 255 as it is, are allowed.

    Args:
      mean, std: what pixels are normalised with.
      channels: how many numbers each must have.

    Raises:
      ValueError: one line that names the statistic; for the 0-255 scale, with the numbers to use.

    Example:
      >>> check_statistics((127.5,), (0.25,), 1)
      Traceback (most recent call last):
          ...
      ValueError: mean must be on the [0, 1] scale of x / 255, got (127.5,), of the 0-255 scale: \
divide by 255, (0.5,)
    """
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels or not all(math.isfinite(value) for value in values):
            raise ValueError(
                f"{name} must be {channels} finite numbers (one per channel), got {(*values,)}"
            )
    if min(std) <= 0:
        raise ValueError(f"std must be positive in every channel, got {(*std,)}")
    for name, values in (("mean", mean), ("std", std)):
        if min(values) >= 0 and max(values) <= 1:
            continue
        mend = ""
        if min(values) >= 0 and max(values) <= 255:
            scaled = tuple(round(float(value) / 255, 4) for value in values)
            mend = f", of the 0-255 scale: divide by 255, {scaled}"
        raise ValueError(f"{name} must be on the [0, 1] scale of x / 255, got {(*values,)}{mend}")
