"""CIFAR's binary version, written record by record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jdd.data.cifar import read_cifar_folder
from jdd.data.registry import load_dataset


def record(labels: list[int], image: np.ndarray) -> bytes:
    """Label bytes, then the red, green and blue plane of a [32, 32, 3] image, each row by row."""
    return bytes(labels) + b"".join(image[:, :, channel].tobytes() for channel in range(3))


@pytest.fixture
def images(random_images) -> np.ndarray:
    return random_images(12, 32, 32, 3)


@pytest.fixture
def folder(tmp_path, images) -> Path:
    """CIFAR-10's layout: train batches of four images each, a test batch of ten, labels 0..9."""
    tmp_path = tmp_path / "cifar-10-batches-bin"
    tmp_path.mkdir()
    for batch in range(3):
        rows = range(4 * batch, 4 * batch + 4)
        content = b"".join(record([i % 10], images[i]) for i in rows)
        (tmp_path / f"data_batch_{batch + 1}.bin").write_bytes(content)
    test = b"".join(record([i], images[i]) for i in range(10))
    (tmp_path / "test_batch.bin").write_bytes(test)
    return tmp_path


def test_cifar10_layout(folder, images):
    source = read_cifar_folder(folder)
    np.testing.assert_array_equal(source.train.images, images)
    assert source.train.labels.tolist() == [*range(10), 0, 1]
    np.testing.assert_array_equal(source.test.images, images[:10])
    assert source.class_names is None


def test_names_from_the_meta_file(folder):
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    assert load_dataset(f"cifar:{folder}").class_names == tuple("abcdefghij")


def test_batches_are_in_numeric_order(folder, images):
    for batch in range(4, 11):
        (folder / f"data_batch_{batch}.bin").write_bytes(record([batch % 10], images[batch]))
    assert read_cifar_folder(folder).train.labels.tolist()[12:] == [*range(4, 10), 0]


def test_cifar100_layout_uses_the_fine_label(tmp_path, images):
    content = b"".join(record([9, fine], images[fine]) for fine in range(3))
    for name in ("train.bin", "test.bin"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "fine_label_names.txt").write_text("apple\naquarium_fish\nbaby\n")
    data = load_dataset(f"cifar:{tmp_path}")
    assert data.train.labels.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(data.train.images, images[:3])
    assert data.class_names == ("apple", "aquarium_fish", "baby")


@pytest.mark.parametrize("place", ["", "cifar-10-batches-bin", "cifar10"])
def test_by_name_with_the_papers_statistics(tmp_path, folder, place):
    if place == "cifar10":
        (tmp_path / "cifar10").mkdir()
        folder = folder.rename(tmp_path / "cifar10" / folder.name)
    data = load_dataset("cifar10", data_dir=folder if place == folder.name else tmp_path)
    assert data.mean == (0.4914, 0.4822, 0.4465)
    assert data.std == (0.2023, 0.1994, 0.2010)
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert data.image_shape == (32, 32, 3)


def test_refusals(tmp_path, folder):
    batch = folder / "data_batch_2.bin"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"data_batch_2.bin: 12291 bytes, not a whole number of"):
        read_cifar_folder(folder)
    batch.unlink()
    with pytest.raises(ValueError, match=r"no data_batch_2.bin"):
        read_cifar_folder(folder)
    (folder / "test_batch.bin").unlink()
    with pytest.raises(ValueError, match=r"no data_batch_2.bin"):
        load_dataset("cifar10", data_dir=tmp_path)
    with pytest.raises(ValueError, match="not CIFAR's binary version"):
        read_cifar_folder(tmp_path)


def test_a_label_beyond_the_classes_is_refused(folder, images):
    (folder / "test_batch.bin").write_bytes(record([200], images[0]))
    with pytest.raises(ValueError, match="cifar10: test labels run from 200 to 200"):
        load_dataset("cifar10", data_dir=folder)
