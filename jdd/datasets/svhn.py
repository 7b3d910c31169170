"""SVHN's cropped digits (format 2): two MATLAB files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jdd.datasets.source import RawSplit, Source

FILES = ("train_32x32.mat", "test_32x32.mat")


def read_svhn_folder(folder: Path) -> Source:
    """Reads the train and the test split, `train_32x32.mat` and `test_32x32.mat` (MATLAB 5).

    Each holds `X`, uint8 [32, 32, 3, N], and `y`, labels [N, 1] from 1 to 10; 10 is the digit 0, and
    becomes label 0. The `extra` split is not used.

    Raises:
      ValueError: naming the file that is missing or damaged.

    Reference: Netzer et al., Reading Digits in Natural Images, NIPS workshop 2011.
    """
    train, test = (folder / name for name in FILES)
    for file in (train, test):
        if not file.is_file():
            raise ValueError(f"{folder}: no {file.name}")
    return Source(_read_split(train), _read_split(test), files=(train, test))


def has_svhn_files(folder: Path) -> bool:
    """Returns whether a folder holds any of the two files (reading names a missing one)."""
    return any((folder / name).is_file() for name in FILES)


def _read_split(path: Path) -> RawSplit:
    content = _load(path)
    for key in ("X", "y"):
        if not isinstance(content.get(key), np.ndarray):
            raise ValueError(f"{path}: no array {key!r}")
    images, labels = content["X"], np.ravel(content["y"])
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != (32, 32, 3):
        raise ValueError(
            f"{path}: X must be uint8 [32, 32, 3, N], got {images.dtype} {images.shape}"
        )
    if labels.dtype.kind not in "iuf" or labels.size != images.shape[3]:
        raise ValueError(
            f"{path}: y must be {images.shape[3]} numbers, got {labels.size} of {labels.dtype}"
        )
    wrong = labels[~np.isin(labels, np.arange(1, 11))]
    if wrong.size:
        raise ValueError(f"{path}: labels must be from 1 to 10, got {wrong[0]}")
    digits = labels.astype(np.int32) % 10
    return RawSplit(np.ascontiguousarray(images.transpose(3, 0, 1, 2)), digits)


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat  # slow to import, and needed by this source only

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("error")  # a variable that cannot be read is only warned of
            return loadmat(file, variable_names=("X", "y"))
    except Exception as error:  # the parser of damaged files raises many types
        first_line = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: cannot be read as a MATLAB file: {first_line}") from None
