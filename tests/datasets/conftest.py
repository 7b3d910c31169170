"""Small files in the true formats, and the real sets where they are at hand."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jdd.data.split import Split
from jdd.datasets.dataset import Dataset

SHARED = Path(os.environ.get("JDD_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes, written from the format's description."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def python2_pickle() -> Callable[[object], bytes]:
    """A pickle as Python 2's cPickle writes it (protocol 2), from the description of its opcodes.

    Texts are byte strings there, so that CIFAR's keys, names and pixels are; Python 3 cannot write it.
    """
    return lambda value: b"\x80\x02" + _python2(value) + b"."


def _python2(value: object) -> bytes:
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int() if 0 <= value < 256:
            return b"K" + bytes([value])
        case int():
            return b"J" + struct.pack("<i", value)
        case str() | bytes():
            data = value.encode("latin-1") if isinstance(value, str) else value
            short = len(data) < 256
            return (
                b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))
            ) + data
        case tuple():
            return b"(" + b"".join(map(_python2, value)) + b"t"
        case list():
            return b"](" + b"".join(map(_python2, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_python2(k) + _python2(v) for k, v in value.items()) + b"u"
        case np.ndarray():
            empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + _python2((0,))
            order = "|" if value.dtype.itemsize == 1 else "<"
            dtype = b"cnumpy\ndtype\n" + _python2((value.dtype.str[1:], 0, 1)) + b"R"
            dtype += _python2((3, order, None, None, None, -1, -1, 0)) + b"b"
            state = _python2(1) + _python2(value.shape) + dtype + _python2(False)
            return empty + _python2("b") + b"\x87R(" + state + _python2(value.tobytes()) + b"tb"
    raise TypeError(type(value))


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
