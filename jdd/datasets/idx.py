"""IDX files: the format of MNIST and of the sets made to replace it, as Fashion-MNIST."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from jdd.datasets.source import RawSplit, Source

# split -> (stem of the images' file, stem of the labels' file), as published
_STEMS = {
    "train": ("train-images", "train-labels"),
    "test": ("t10k-images", "t10k-labels"),
}
_UBYTE = 0x08


def read_idx(path: Path) -> np.ndarray:
    """Reads the uint8 array of one IDX file; its content shows whether it is gzipped.

    Layout: two zero bytes, a type byte (8: unsigned byte), the rank, one big-endian uint32 per
    dimension, then the elements in C order.

    Raises:
      ValueError: naming the file, when it cannot be read, is damaged, truncated or of another type.
    """
    data = read_bytes(path)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise ValueError(f"{path}: not an IDX file (it must begin with two zero bytes)")
    kind, rank = data[2], data[3]
    if kind != _UBYTE:
        raise ValueError(f"{path}: IDX type 0x{kind:02x}, only unsigned bytes (0x08) are read")
    header = 4 + 4 * rank
    if rank == 0 or len(data) < header:
        raise ValueError(f"{path}: IDX header of rank {rank} in a file of {len(data)} bytes")
    shape = tuple(np.frombuffer(data, ">u4", rank, offset=4).tolist())
    expected = header + math.prod(shape)
    if len(data) != expected:
        state = "truncated" if len(data) < expected else "too long"
        raise ValueError(
            f"{path}: {state}: shape {shape} needs {expected} bytes, the file has {len(data)}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_bytes(path: Path) -> bytes:
    """Reads a file, and unzips it where it is gzip; a ValueError names a file that is damaged."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None


def read_idx_folder(folder: Path) -> Source:
    """Reads the train and the test split of a folder with the four files of MNIST's layout.

    Files: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`,
    `t10k-labels-idx1-ubyte`; also spelled `train-images.idx3-ubyte`; each with or without `.gz`.
    Images are [N, H, W], or [N, H, W, C].

    Raises:
      ValueError: naming the file that is missing, damaged, or of another length than its partner.
    """
    missing = missing_idx_files(folder)
    if missing:
        raise ValueError(
            f"{folder}: no {missing[0]}[.gz] (needed are the four files of MNIST's layout)"
        )
    files = [_find(folder, stem) for pair in _STEMS.values() for stem in pair]
    return Source(
        _read_split(folder, "train"),
        _read_split(folder, "test"),
        files=tuple(file for file in files if file is not None),
    )


def has_idx_files(folder: Path) -> bool:
    """Returns whether a folder holds any of the four files (reading names the missing ones)."""
    return len(missing_idx_files(folder)) < 4


def missing_idx_files(folder: Path) -> list[str]:
    """Lists which of the four files are missing in a folder, by their published names."""
    wanted = [(images, labels) for images, labels in _STEMS.values()]
    return [
        f"{stem}-{suffix}"
        for pair in wanted
        for stem, suffix in zip(pair, ("idx3-ubyte", "idx1-ubyte"), strict=True)
        if _find(folder, stem) is None
    ]


def _find(folder: Path, stem: str) -> Path | None:
    ranks = (1,) if stem.endswith("labels") else (3, 4)
    names = [f"{stem}{sep}idx{r}-ubyte{gz}" for r in ranks for sep in "-." for gz in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_split(folder: Path, part: str) -> RawSplit:
    images_path, labels_path = (_find(folder, stem) for stem in _STEMS[part])
    if images_path is None or labels_path is None:
        raise ValueError(f"{folder}: the {part} files are missing")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim not in (3, 4):
        raise ValueError(f"{images_path}: images must have rank 3 or 4, got shape {images.shape}")
    if not images.size:
        raise ValueError(f"{images_path}: no pixels in shape {images.shape}")
    if labels.ndim != 1:
        raise ValueError(f"{labels_path}: labels must have rank 1, got shape {labels.shape}")
    if len(images) != len(labels):
        raise ValueError(f"{labels_path}: {len(labels)} labels for {len(images)} images")
    return RawSplit(
        images[..., None] if images.ndim == 3 else images,
        labels.astype(np.int32),
        str(images_path),
        str(labels_path),
    )
