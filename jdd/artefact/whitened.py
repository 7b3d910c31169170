"""Sets of whitened images: the whitening in their file, and the way back to pixels."""

from __future__ import annotations

import numpy as np

from jdd.artefact.checks import require, require_finite
from jdd.data import Whitening, unwhiten

_PREFIX = "whitening/"


def tensors_of(whitening: Whitening | None) -> dict[str, np.ndarray]:
    """Returns the arrays of a whitening by their names in a file; empty for None.

    >>> tensors_of(Whitening(np.zeros(4), np.eye(4), np.eye(4)))["whitening/mean"].dtype
    dtype('float32')
    """
    if whitening is None:
        return {}
    return {
        f"{_PREFIX}{name}": np.asarray(x, np.float32) for name, x in whitening._asdict().items()
    }


def taken_from(tensors: dict[str, np.ndarray]) -> Whitening | None:
    """Removes the whitening from the tensors of a file and returns it; None if the file has no whitening.

    Raises:
      ValueError: if a part is missing.
    """
    names = [f"{_PREFIX}{field}" for field in Whitening._fields]
    present = [name for name in names if name in tensors]
    if not present:
        return None
    missing = [name for name in names if name not in tensors]
    require(not missing, f"the file holds {', '.join(present)}, but no {', '.join(missing)}")
    return Whitening(*(tensors.pop(name) for name in names))


def check_whitening(whitening: Whitening, image_shape: tuple[int, ...]) -> None:
    """Raises a ``ValueError`` unless a whitening is one of images of this shape."""
    size = int(np.prod(image_shape))
    shapes = [np.shape(x) for x in whitening]
    require(
        shapes == [(size,), (size, size), (size, size)],
        f"the whitening has arrays of shapes {shapes}, images have {size} numbers",
    )
    for name, array in whitening._asdict().items():
        require_finite(f"{_PREFIX}{name}", np.asarray(array))


def unwhitened(images: np.ndarray, whitening: Whitening) -> np.ndarray:
    """Whitened images ``[..., H, W, ch]`` on the [0, 1] scale, unclipped."""
    flat = images.reshape(-1, *images.shape[-3:])
    return np.asarray(unwhiten(flat, whitening)).reshape(images.shape)
