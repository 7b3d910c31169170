"""NumPy archives: arrays of a train and a test split in one `.npz` file."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jdd.data.split import Split
from jdd.datasets.dataset import Source

# first spelling: Keras; second: MedMNIST
_KEYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
# what numpy and zipfile raise on damaged, encrypted or foreign files
_DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


def read_npz(path: Path) -> Source:
    """Train and test split of an `.npz` archive.

    Keys: `x_train`, `y_train`, `x_test`, `y_test`, or `train_images`, `train_labels`,
    `test_images`, `test_labels`. Images are uint8 [N, H, W] or [N, H, W, C], labels integers [N] or
    [N, 1]. Optional: `class_names` (strings), `mean` and `std` (one number per channel, [0, 1]
    scale). Pickled arrays are refused.

    Raises:
      ValueError: naming the file and the key that is missing or wrong.
    """
    try:
        with path.open("rb") as file:  # given a name, np.load leaves damaged files open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array, not an .npz archive")
            with archive:
                return _read(archive)
    except _DAMAGED as error:
        first_line = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: cannot be read: {first_line}") from None


def _read(archive: np.lib.npyio.NpzFile) -> Source:
    names = _optional(archive, "class_names", str)
    mean, std = _optional(archive, "mean", float), _optional(archive, "std", float)
    return Source(_split(archive, "train"), _split(archive, "test"), names, mean, std)


def _split(archive: np.lib.npyio.NpzFile, part: str) -> Split:
    spellings = _KEYS[part]
    keys = next((pair for pair in spellings if pair[0] in archive and pair[1] in archive), None)
    if keys is None:
        wanted = " or ".join(f"{images} and {labels}" for images, labels in spellings)
        raise ValueError(f"no {wanted} (its keys: {', '.join(archive.files) or 'none'})")
    images, labels = archive[keys[0]], archive[keys[1]]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"{keys[0]} must be uint8 [N, H, W] or [N, H, W, C], got {images.dtype} {images.shape}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(f"{keys[1]} must be integers [N], got {labels.dtype} {labels.shape}")
    if labels.size and (int(labels.min()) < 0 or int(labels.max()) > np.iinfo(np.int32).max):
        raise ValueError(f"{keys[1]} must not be negative or above int32")
    return Split(images[..., None] if images.ndim == 3 else images, labels.astype(np.int32))


def _optional(archive: np.lib.npyio.NpzFile, key: str, kind: type) -> tuple[Any, ...] | None:
    return tuple(np.ravel(archive[key]).astype(kind).tolist()) if key in archive else None
