"""SVHN's MATLAB files, written as the published ones are: version 5, compressed, digit 0 as label 10."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from jdd.datasets.registry import load_dataset
from jdd.datasets.svhn import read_svhn_folder

# the small files are not the published ones, and their test split leaves classes out
pytestmark = [
    pytest.mark.filterwarnings("ignore::jdd.datasets.published.NotPublished"),
    pytest.mark.filterwarnings("ignore:.*no test image of"),
]


def write(path: Path, images: np.ndarray, labels: list[int], **other: object) -> None:
    content = {"X": images.transpose(1, 2, 3, 0), "y": np.array(labels, np.uint8)[:, None]}
    savemat(path, content | other, do_compression=True)


@pytest.fixture
def images(random_images) -> np.ndarray:
    return random_images(12, 32, 32, 3)


@pytest.fixture
def folder(tmp_path, images) -> Path:
    folder = tmp_path / "svhn"
    folder.mkdir()
    write(folder / "train_32x32.mat", images, [*range(1, 11), 10, 1])
    write(folder / "test_32x32.mat", images[:3], [10, 9, 1])
    return folder


@pytest.mark.parametrize("place", ["", "svhn"])
def test_digit_0_is_label_0(tmp_path, folder, images, place):
    assert (folder / "train_32x32.mat").read_bytes().startswith(b"MATLAB 5.0 MAT-file")
    data = load_dataset("svhn", data_dir=tmp_path / place)
    np.testing.assert_array_equal(data.train.images, images)
    assert data.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 1]
    assert data.test.labels.tolist() == [0, 9, 1]
    assert data.class_names == tuple("0123456789")
    assert data.mean == (0.4377, 0.4438, 0.4728)
    assert data.std == (0.1980, 0.2010, 0.1970)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": None}, "no array 'X'"),
        ({"y": None}, "no array 'y'"),
        ({"X": np.zeros((32, 32, 3, 12))}, r"X must be uint8 \[32, 32, 3, N\], got float64"),
        ({"X": np.zeros((12, 32, 32, 3), np.uint8)}, r"X must be uint8 .* \(12, 32, 32, 3\)"),
        ({"y": np.ones((11, 1), np.uint8)}, "y must be 12 numbers, got 11"),
        ({"y": "one"}, "y must be 12 numbers"),
        ({"y": np.zeros((12, 1), np.uint8)}, "labels must be from 1 to 10, got 0"),
        ({"y": np.full((12, 1), 11)}, "labels must be from 1 to 10, got 11"),
        ({"y": np.full((12, 1), 1.5)}, "labels must be from 1 to 10, got 1.5"),
        ({"y": np.full((12, 1), np.nan)}, "labels must be from 1 to 10, got nan"),
    ],
)
def test_contents_that_are_wrong(folder, images, change, message):
    content = {"X": images.transpose(1, 2, 3, 0), "y": np.ones((12, 1), np.uint8)} | change
    given = {key: value for key, value in content.items() if value is not None}
    savemat(folder / "train_32x32.mat", given)
    with pytest.raises(ValueError, match=rf"train_32x32.mat: {message}"):
        read_svhn_folder(folder)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_cut_anywhere_is_one_line(folder, images, compressed):
    file = folder / "train_32x32.mat"
    content = {"X": images[:1].transpose(1, 2, 3, 0), "y": np.ones((1, 1), np.uint8)}
    savemat(file, content, do_compression=compressed)
    whole = file.read_bytes()
    for length in [*range(0, 300, 7), *range(300, len(whole), 131), len(whole) - 1]:
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"train_32x32.mat: ") as raised:
            read_svhn_folder(folder)
        assert "\n" not in str(raised.value)


def test_files_that_are_missing_or_foreign(tmp_path, folder):
    (folder / "test_32x32.mat").write_bytes(b"PK\x03\x04" + bytes(200))
    with pytest.raises(ValueError, match=r"test_32x32.mat: cannot be read as a MATLAB file"):
        read_svhn_folder(folder)
    (folder / "test_32x32.mat").unlink()
    with pytest.raises(ValueError, match=r"svhn: no test_32x32.mat"):
        load_dataset("svhn", data_dir=tmp_path)
