"""CIFAR-10 and CIFAR-100 as published: the binary version and the Python version."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jdd.datasets.pickles import read_pickle
from jdd.datasets.source import RawSplit, Source

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE

Batch = tuple[np.ndarray, np.ndarray]  # images and labels


class _Version(NamedTuple):
    """One way in which one of the two sets is published.

    Attributes:
      train: names of the train batches; a "*" stands for 1, 2, ...
      test: name of the test batch.
      meta: name of the file with the class names, which may be missing.
      read: images and labels of a batch.
      names: class names of that file.
    """

    train: str
    test: str
    meta: str
    read: Callable[[Path], Batch]
    names: Callable[[Path], tuple[str, ...]]


def read_cifar_folder(folder: Path) -> Source:
    """Reads the train and the test split of a folder, with class names where the folder has them.

    CIFAR-10, binary: `data_batch_*.bin` and `test_batch.bin`, one label byte and 3072 pixel bytes
    per record, names in `batches.meta.txt`. CIFAR-100, binary: `train.bin` and `test.bin`, two label
    bytes (coarse, fine), names in `fine_label_names.txt`. The Python versions: pickles
    `data_batch_*` and `test_batch` with `data` and `labels`, names in `batches.meta`; and `train`
    and `test` with `data` and `fine_labels`, names in `meta`. CIFAR-100's fine labels are used.

    Raises:
      ValueError: naming the file that is missing or damaged.
    """
    version = next((v for v in _VERSIONS if _is_there(folder, v)), None)
    if version is None:
        wanted = "; ".join(f"{v.train} and {v.test}" for v in _VERSIONS)
        raise ValueError(f"{folder}: not CIFAR's binary or Python version (needed: {wanted})")
    train, test = numbered(folder, version.train), folder / version.test
    for file in (*train, test):
        if not file.is_file():
            raise ValueError(f"{folder}: no {file.name}")
    parts = [version.read(path) for path in train]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    meta = folder / version.meta
    return Source(
        RawSplit(images, labels),
        RawSplit(*version.read(test)),
        version.names(meta) if meta.is_file() else None,
        files=(*train, test),
    )


def has_cifar10_files(folder: Path) -> bool:
    """Returns whether a folder holds any batch of CIFAR-10, binary or pickled."""
    return any(_is_there(folder, version) for version in (_BINARY_10, _PYTHON_10))


def has_cifar100_files(folder: Path) -> bool:
    """Returns whether a folder holds CIFAR-100, binary or pickled."""
    return any(_is_there(folder, version) for version in (_BINARY_100, _PYTHON_100))


def _is_there(folder: Path, version: _Version) -> bool:
    """Returns whether a folder holds a version, or a part of it (reading names the missing file)."""
    if "*" in version.train:
        return (folder / version.test).is_file() or bool(_matching(folder, version.train))
    # other sets use such names too, so one of the three files is not enough
    return sum((folder / n).is_file() for n in (version.train, version.test, version.meta)) > 1


def numbered(folder: Path, pattern: str) -> list[Path]:
    """Lists the files of a pattern with "*" for 1, 2, ... to their number; or the one without "*".

    In numeric order. Where a number is left out, its file is listed all the same: reading names it.
    """
    count = max(1, len(_matching(folder, pattern)))
    return [folder / pattern.replace("*", str(i + 1)) for i in range(count)]


def _matching(folder: Path, pattern: str) -> list[Path]:
    start, _, end = pattern.partition("*")
    numbers = re.compile(re.escape(start) + r"[0-9]+" + re.escape(end))
    return [path for path in folder.glob(pattern) if numbers.fullmatch(path.name)]


def read_pickled_batch(path: Path, labels_key: str, *, first: int, last: int) -> Batch:
    """Reads a pickled batch: `data`, uint8 [N, 3072] in planes, and a list of labels.

    Args:
      path: the file.
      labels_key: the key of the labels.
      first, last: the smallest and the largest label that is allowed.

    Returns:
      images uint8 [N, 32, 32, 3], labels int32 [N] as they are in the file.

    Raises:
      ValueError: naming the file that is damaged or not of this layout.
    """
    content = read_pickle(path)
    for key in ("data", labels_key):
        if key not in content:
            keys = ", ".join(sorted(content)[:8])
            raise ValueError(f"{path}: no key {key!r} (its keys: {keys[:200] or 'none'})")
    data, labels = content["data"], content[labels_key]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (_PIXELS,):
        kind = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"{path}: data must be uint8 [N, {_PIXELS}], got {kind}")
    if not isinstance(labels, list) or len(labels) != len(data):
        kind = f"{len(labels)} labels" if isinstance(labels, list) else type(labels).__name__
        raise ValueError(f"{path}: {labels_key} must list {len(data)} labels, got {kind}")
    wrong = [label for label in labels if type(label) is not int or not first <= label <= last]
    if wrong:
        raise ValueError(
            f"{path}: {labels_key} must be whole numbers from {first} to {last}, got {wrong[0]!r:.40}"
        )
    return _images(data), np.array(labels, np.int32)


def _images(rows: np.ndarray) -> np.ndarray:
    """Makes rows uint8 [N, 3072], of a red, a green and a blue plane, images [N, 32, 32, 3]."""
    planes = rows.reshape(-1, 3, _SIDE, _SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _read_binary(label_bytes: int) -> Callable[[Path], Batch]:
    def read(path: Path) -> Batch:
        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error}") from None
        record = label_bytes + _PIXELS
        if not data.size or data.size % record:
            raise ValueError(
                f"{path}: {data.size} bytes, not a whole number of records of {record} bytes"
            )
        records = data.reshape(-1, record)
        return _images(records[:, label_bytes:]), records[:, label_bytes - 1].astype(np.int32)

    return read


def _read_pickled(labels_key: str, classes: int) -> Callable[[Path], Batch]:
    return lambda path: read_pickled_batch(path, labels_key, first=0, last=classes - 1)


def _names_of_lines(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _names_of_key(key: str) -> Callable[[Path], tuple[str, ...]]:
    def read(path: Path) -> tuple[str, ...]:
        names: Any = read_pickle(path).get(key)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: no list of names under {key!r}")
        return tuple(names)

    return read


_BINARY_10 = _Version(
    "data_batch_*.bin", "test_batch.bin", "batches.meta.txt", _read_binary(1), _names_of_lines
)
_BINARY_100 = _Version(
    "train.bin", "test.bin", "fine_label_names.txt", _read_binary(2), _names_of_lines
)
_PYTHON_10 = _Version(
    "data_batch_*",
    "test_batch",
    "batches.meta",
    _read_pickled("labels", 10),
    _names_of_key("label_names"),
)
_PYTHON_100 = _Version(
    "train", "test", "meta", _read_pickled("fine_labels", 100), _names_of_key("fine_label_names")
)
_VERSIONS = (_BINARY_10, _BINARY_100, _PYTHON_10, _PYTHON_100)
