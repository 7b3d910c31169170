"""Images of a set for people: on the scale of pixels, and what pictures show beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jdd.artefact.whitened import unwhitened
from jdd.data import denormalise

if TYPE_CHECKING:
    from jdd.artefact.distilled_set import DistilledSet


def as_pixels(distilled: DistilledSet, images: np.ndarray) -> np.ndarray:
    """Images in the space of a set, ``[..., H, W, channels]``, as uint8: what is outside of its range is clipped."""
    raw, metadata = images, distilled.metadata
    if distilled.whitening is not None:
        raw = unwhitened(raw, distilled.whitening)
    elif metadata.space == "normalised":
        raw = denormalise(raw, metadata.mean, metadata.std)
    return np.rint(np.clip(raw, 0.0, 1.0) * 255.0).astype(np.uint8)


def preview(distilled: DistilledSet) -> np.ndarray | None:
    """What pictures show before the variants of each image, such as its basis; None for nothing.

    Returns:
      uint8 ``[N, H, W, channels]``, with the channels of the images.

    Raises:
      ValueError: if this process does not know the parametrisation.
    """
    if distilled.synthetic.preview is None:
        return None
    images = np.asarray(distilled.synthetic.preview(distilled.params), np.float32)
    images = np.broadcast_to(images, (*images.shape[:-1], distilled.image_shape[-1]))
    return as_pixels(distilled, images.reshape(-1, *images.shape[2:]))
