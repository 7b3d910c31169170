"""One split of a labelled image data set, in host memory."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One split, in file order: `images` uint8 [N, H, W, C] and `labels` int32 [N].

    Raises:
      ValueError: for another dtype or rank, or unequal lengths.

    Example:
      >>> Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1], np.int32)).images.shape
      (2, 8, 8, 1)
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        for field, dtype, rank in (("images", np.uint8, 4), ("labels", np.int32, 1)):
            value = getattr(self, field)
            if not isinstance(value, np.ndarray) or value.dtype != dtype or value.ndim != rank:
                wanted = f"{np.dtype(dtype).name} array of rank {rank}"
                raise ValueError(f"{field} must be a {wanted}, got {_describe(value)}")
        if len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images but {len(self.labels)} labels")
        if 0 in self.images.shape[1:]:
            raise ValueError(f"images of size 0: shape {self.images.shape}")

    def __len__(self) -> int:
        return len(self.labels)


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__
