"""IDX files, written byte by byte as the format says."""

from __future__ import annotations

import functools
import gzip
import shutil

import numpy as np
import pytest

from jdd.datasets import DataWarning
from jdd.datasets.idx import read_idx, read_idx_folder
from jdd.datasets.registry import load_dataset


@pytest.fixture
def file(tmp_path):
    return tmp_path / "some-file"


# mtime: the name of a test must not depend on the clock, or two workers disagree on what the tests are.
zipped = functools.partial(gzip.compress, mtime=0)

GOOD = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes([0, 1, 2, 253, 254, 255])


@pytest.mark.parametrize("content", [GOOD, zipped(GOOD)], ids=["plain", "gzip"])
def test_reads(file, content):
    file.write_bytes(content)
    array = read_idx(file)
    assert array.dtype == np.uint8
    assert array.tolist() == [[0, 1, 2], [253, 254, 255]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG" + GOOD, "not an IDX file"),
        (b"\0\0\x0d" + GOOD[3:], "type 0x0d, only unsigned bytes"),
        (b"\0\0\x08\0", "header of rank 0"),
        (GOOD[:9], "header of rank 2 in a file of 9 bytes"),
        (GOOD[:-1], "truncated: shape .2, 3. needs 18 bytes, the file has 17"),
        (GOOD + b"\0", "too long"),
        (zipped(GOOD)[:-9], "cannot be read"),
        (zipped(GOOD)[:14] + b"\xff" * 12, "cannot be read"),
        (zipped(GOOD[:-1]), "truncated"),
    ],
)
def test_damage_is_one_line_that_names_the_file(file, content, message):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        read_idx(file)
    assert str(file) in str(raised.value) and "\n" not in str(raised.value)


def test_folder(tmp_path, write_idx):
    images, labels = write_idx(tmp_path)
    source = read_idx_folder(tmp_path)
    np.testing.assert_array_equal(source.train.images, images[..., None])
    np.testing.assert_array_equal(source.train.labels, labels)
    assert source.test is not None and len(source.test) == 4


def test_both_spellings_and_gzip(tmp_path, write_idx):
    images, _ = write_idx(tmp_path)
    old = tmp_path / "train-images-idx3-ubyte"
    new = tmp_path / "train-images.idx3-ubyte.gz"
    new.write_bytes(gzip.compress(old.read_bytes()))
    old.unlink()
    np.testing.assert_array_equal(read_idx_folder(tmp_path).train.images, images[..., None])


def test_folder_refuses(tmp_path, write_idx):
    write_idx(tmp_path)
    labels, images = tmp_path / "train-labels-idx1-ubyte", tmp_path / "train-images-idx3-ubyte"
    shutil.copy(tmp_path / "t10k-labels-idx1-ubyte", labels)
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte: 4 labels for 6 images"):
        read_idx_folder(tmp_path)
    shutil.copy(labels, images)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte: images must have rank 3 or 4"):
        read_idx_folder(tmp_path)
    images.write_bytes(bytes([0, 0, 8, 3]) + bytes(12))
    with pytest.raises(ValueError, match="train-images-idx3-ubyte: no pixels"):
        read_idx_folder(tmp_path)
    images.unlink()
    with pytest.raises(ValueError, match=r"no train-images-idx3-ubyte\[.gz\]"):
        read_idx_folder(tmp_path)


def test_labels_from_1(tmp_path, write_idx):
    """As in EMNIST's letters."""
    _, labels = write_idx(tmp_path)
    for stem, first in (("train", labels), ("t10k", np.arange(4) % 3)):
        content = bytes([0, 0, 8, 1, 0, 0, 0, len(first)]) + (first + 1).astype(np.uint8).tobytes()
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(content)
    with pytest.warns(DataWarning, match="labels start at 1: label 1 is class 0, '1', and so on$"):
        data = load_dataset(f"idx:{tmp_path}")
    assert data.class_names == ("1", "2", "3")
    np.testing.assert_array_equal(data.train.labels, labels)


def test_a_file_whose_axes_are_in_another_order_is_named(tmp_path, write_idx):
    write_idx(tmp_path)
    images = tmp_path / "train-images-idx3-ubyte"
    header = bytes([0, 0, 8, 4]) + b"".join(n.to_bytes(4, "big") for n in (6, 3, 5, 5))
    images.write_bytes(header + bytes(6 * 3 * 5 * 5))
    with pytest.raises(
        ValueError, match=r"train-images-idx3-ubyte must be channels-last.*\(6, 3, 5, 5\)"
    ):
        load_dataset(f"idx:{tmp_path}")


def test_own_set(tmp_path, write_idx):
    images, _ = write_idx(tmp_path)
    data = load_dataset(f"idx:{tmp_path}")
    assert data.class_names == ("0", "1", "2")
    assert data.mean == pytest.approx(((images / 255).mean(),))
    assert data.std == pytest.approx(((images / 255).std(),))
