"""Small files in the true formats, and the real sets where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jdd.data.dataset import Dataset, Split

SHARED = Path(os.environ.get("JDD_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes, written from the format's description."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def random_images() -> Callable[..., np.ndarray]:
    """``random_images(n, h, w, ...)``: uint8, the same at each call with the same shape."""
    return lambda *shape: np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture
def write_idx(random_images) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Writes the four files of MNIST's layout; returns the train images and labels."""

    def write(folder: Path, train: int = 6, test: int = 4, classes: int = 3):
        folder.mkdir(parents=True, exist_ok=True)
        images, labels = random_images(train, 5, 5), np.arange(train) % classes
        (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
        (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(random_images(test, 5, 5)))
        (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(test) % classes))
        return images, labels

    return write


@pytest.fixture
def animals(random_images) -> Dataset:
    """Three classes of 4, 2 and 3 train images; the test split has no dog."""
    train = Split(random_images(9, 6, 6, 3), np.array([2, 0, 1, 0, 2, 0, 1, 2, 0], np.int32))
    test = Split(random_images(3, 6, 6, 3), np.array([0, 2, 0], np.int32))
    names, mean, std = ("cat", "dog", "emu"), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    return Dataset("animals", train, test, names, mean, std)


@pytest.fixture
def shared_data() -> Path:
    """The folder of the real sets; skips the test where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(
            "the real MNIST and Fashion-MNIST are not at hand (JDD_SHARED names their folder)"
        )
    return folder
