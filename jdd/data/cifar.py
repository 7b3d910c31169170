"""CIFAR's binary version: records of label bytes and planar 32 x 32 RGB pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jdd.data.dataset import Source, Split

_PIXELS = 3 * 32 * 32


def read_cifar_folder(folder: Path) -> Source:
    """Train and test split of a folder, with class names where the folder has them.

    CIFAR-10's layout: `data_batch_*.bin` and `test_batch.bin`, one label byte and 3072 pixel bytes
    per record, names in `batches.meta.txt`. CIFAR-100's: `train.bin` and `test.bin`, two label
    bytes (coarse, fine; the fine one is used), names in `fine_label_names.txt`.

    Raises:
      ValueError: naming the file that is missing or damaged.
    """
    train, test, label_bytes, meta = _layout(folder)
    names = _read_names(folder / meta) if (folder / meta).is_file() else None
    parts = [_read_batch(path, label_bytes) for path in train]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    return Source(Split(images, labels), Split(*_read_batch(test, label_bytes)), names)


def has_cifar10_files(folder: Path) -> bool:
    """Whether a folder holds any file of CIFAR-10's binary version."""
    return (folder / "test_batch.bin").is_file() or bool(_train_batches(folder))


def _layout(folder: Path) -> tuple[list[Path], Path, int, str]:
    if has_cifar10_files(folder):
        train, test = _train_batches(folder), folder / "test_batch.bin"
        wanted = [folder / f"data_batch_{i + 1}.bin" for i in range(max(1, len(train)))]
        for file in (*wanted, test):
            if not file.is_file():
                raise ValueError(f"{folder}: no {file.name}")
        return train, test, 1, "batches.meta.txt"
    if (folder / "train.bin").is_file() and (folder / "test.bin").is_file():
        return [folder / "train.bin"], folder / "test.bin", 2, "fine_label_names.txt"
    raise ValueError(
        f"{folder}: not CIFAR's binary version "
        "(needed: data_batch_*.bin and test_batch.bin, or train.bin and test.bin)"
    )


def _train_batches(folder: Path) -> list[Path]:
    return sorted(folder.glob("data_batch_*.bin"), key=lambda path: (len(path.name), path.name))


def _read_batch(path: Path, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
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
    planes = records[:, label_bytes:].reshape(-1, 3, 32, 32)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return images, records[:, label_bytes - 1].astype(np.int32)


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    return tuple(line.strip() for line in text.splitlines() if line.strip())
