"""One split of a labelled image data set, in host memory."""

from __future__ import annotations

import dataclasses

import numpy as np

CHANNELS = range(1, 5)
"""Numbers of channels that an image can have: grey, grey with alpha, RGB, RGB with alpha."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One split, in file order: `images` uint8 [N, H, W, C] and `labels` int32 [N].

    Raises:
      ValueError: for another dtype or rank, unequal lengths, or images that are not channels-last
        with 1 to 4 channels.

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
        check_channels_last("images", self.images.shape)

    def __len__(self) -> int:
        return len(self.labels)


def check_channels_last(name: str, shape: tuple[int, ...]) -> None:
    """Refuses a shape that is not [N, H, W, C] with 1 to 4 channels.

    A channels-first array is recognised by its second axis; so is one of square images whose side
    is itself from 2 to 4.

    Args:
      name: what messages call the images.
      shape: four axes.

    Raises:
      ValueError: with the transpose that makes the images channels-last, where one does.

    Example:
      >>> check_channels_last("x_train", (100, 3, 32, 32))
      Traceback (most recent call last):
          ...
      ValueError: x_train must be channels-last, [N, H, W, C], got channels-first (100, 3, 32, 32): \
store x_train.transpose(0, 2, 3, 1)
    """
    _, second, third, last = shape
    square = second in (1, 3) and third == last > 1 and last != second
    if last in CHANNELS and not square:
        return
    if second in CHANNELS:
        raise ValueError(
            f"{name} must be channels-last, [N, H, W, C], got channels-first {shape}: "
            f"store {name}.transpose(0, 2, 3, 1)"
        )
    if third in CHANNELS:
        raise ValueError(
            f"{name} must be [N, H, W, C], got {shape}, whose channels are on the third axis: put "
            "the axes in order with transpose"
        )
    raise ValueError(
        f"{name} must be [N, H, W, C] with 1 to 4 channels, got {last} channels in shape {shape}"
    )


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__
