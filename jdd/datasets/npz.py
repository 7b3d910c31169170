"""NumPy archives: arrays of a train and a test split in one `.npz` file."""

from __future__ import annotations

import contextlib
import functools
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jdd.datasets.source import DataWarning, RawSplit, Source

# first spelling: Keras; second: MedMNIST
_KEYS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
    "validation": (("x_val", "y_val"), ("val_images", "val_labels")),
}
_OPTIONAL = ("class_names", "mean", "std")
# what numpy and zipfile raise on damaged, encrypted or foreign files
_DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


def read_npz(path: Path) -> Source:
    """Reads the train and the test split of an `.npz` archive.

    Keys: `x_train`, `y_train`, `x_test`, `y_test`, or `train_images`, `train_labels`,
    `test_images`, `test_labels`. Images are uint8 [N, H, W] or [N, H, W, C], labels integers [N] or
    [N, 1]. Optional: `class_names` (strings), `mean` and `std` (one number per channel, [0, 1]
    scale), and a validation split (`x_val`, `y_val`, or `val_images`, `val_labels`), which serves as
    test where there are no labelled test images. A warning names other keys. Pickled arrays are
    refused.

    Raises:
      ValueError: naming the file, and the key that is missing, or the damage.
    """
    with _opened(path) as archive:
        pairs = {part: _keys(archive, part) for part in _KEYS}
        train, test = _read_split(archive, pairs["train"]), _read_split(archive, pairs["test"])
        if train is None:
            raise ValueError(_missing(archive, "train"))
        known = {key for spellings in _KEYS.values() for pair in spellings for key in pair}
        unknown = [key for key in archive.files if key not in known | {*_OPTIONAL}]
        warnings = [DataWarning(f"{path}: not used: {', '.join(unknown)}")] if unknown else []
        return Source(
            train,
            test,
            _optional(archive, "class_names", str),
            _optional(archive, "mean", float),
            _optional(archive, "std", float),
            validation=functools.partial(_read_validation, path) if pairs["validation"] else None,
            warnings=tuple(warnings),
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """Opens an archive; every failure in the block becomes one line that names the file."""
    try:
        with path.open("rb") as file:  # with a path, np.load leaves damaged files open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array, not an .npz archive")
            with archive:
                yield archive
    except _DAMAGED as error:
        first_line = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: cannot be read: {first_line}") from None


def _keys(archive: np.lib.npyio.NpzFile, part: str) -> tuple[str, str] | None:
    """Finds the keys of a split; None where the archive has none of them."""
    spellings = _KEYS[part]
    complete = (pair for pair in spellings if pair[0] in archive and pair[1] in archive)
    keys = next(complete, None)
    if keys is None and any(key in archive for pair in spellings for key in pair):
        raise ValueError(_missing(archive, part))
    return keys


def _missing(archive: np.lib.npyio.NpzFile, part: str) -> str:
    wanted = " or ".join(f"{images} and {labels}" for images, labels in _KEYS[part])
    return f"no {wanted} (its keys: {', '.join(archive.files) or 'none'})"


def _read_split(archive: np.lib.npyio.NpzFile, keys: tuple[str, str] | None) -> RawSplit | None:
    return None if keys is None else RawSplit(archive[keys[0]], archive[keys[1]], *keys)


def _read_validation(path: Path) -> RawSplit:
    with _opened(path) as archive:
        split = _read_split(archive, _keys(archive, "validation"))
        if split is None:
            raise ValueError("the validation split is no longer there")
        return split


def _optional(archive: np.lib.npyio.NpzFile, key: str, kind: type) -> tuple[Any, ...] | None:
    return tuple(np.ravel(archive[key]).astype(kind).tolist()) if key in archive else None
