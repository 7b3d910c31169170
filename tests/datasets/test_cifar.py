"""CIFAR's binary version, written record by record, and its Python version, pickled as Python 2 does."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from jdd.datasets.cifar import read_cifar_folder
from jdd.datasets.registry import load_dataset

# the small files are not the published ones; test_published.py tests the warning
pytestmark = pytest.mark.filterwarnings("ignore::jdd.datasets.published.NotPublished")


def record(labels: list[int], image: np.ndarray) -> bytes:
    """Label bytes, then the red, green and blue plane of a [32, 32, 3] image, each row by row."""
    return bytes(labels) + b"".join(image[:, :, channel].tobytes() for channel in range(3))


@pytest.fixture
def images(random_images) -> np.ndarray:
    return random_images(12, 32, 32, 3)


def planar(images: np.ndarray) -> np.ndarray:
    """[N, 32, 32, 3] -> [N, 3072]: the red, green and blue plane of each image."""
    return np.concatenate(
        [images[..., channel].reshape(len(images), -1) for channel in range(3)], 1
    )


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
    assert source.test is not None and source.class_names is None
    np.testing.assert_array_equal(source.test.images, images[:10])


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
    with pytest.raises(ValueError, match="not CIFAR's binary or Python version"):
        read_cifar_folder(tmp_path)


def test_a_label_beyond_the_classes_is_refused(folder, images):
    (folder / "test_batch.bin").write_bytes(record([200], images[0]))
    with pytest.raises(ValueError, match="cifar10: test labels run from 200 to 200"):
        load_dataset("cifar10", data_dir=folder)


@pytest.fixture
def python10(tmp_path, images, python2_pickle) -> Path:
    """CIFAR-10's Python version: three train batches of four images, a test batch of ten."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for batch in range(3):
        rows = slice(4 * batch, 4 * batch + 4)
        content = {
            "batch_label": f"training batch {batch + 1} of 3",
            "labels": [i % 10 for i in range(12)][rows],
            "data": planar(images)[rows],
            "filenames": ["a_s_000001.png"] * 4,
        }
        (folder / f"data_batch_{batch + 1}").write_bytes(python2_pickle(content))
    test = {"labels": list(range(10)), "data": planar(images)[:10]}
    (folder / "test_batch").write_bytes(python2_pickle(test))
    meta = {"num_cases_per_batch": 4, "label_names": list("abcdefghij"), "num_vis": 3072}
    (folder / "batches.meta").write_bytes(python2_pickle(meta))
    (folder / "readme.html").write_text("<META>")
    return folder


@pytest.fixture
def python100(tmp_path, random_images, python2_pickle) -> Path:
    """CIFAR-100's Python version: an image of each class in train, the same in test."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    content = {
        "filenames": ["apple_s_000022.png"] * 100,
        "batch_label": "training batch 1 of 1",
        "fine_labels": list(range(99, -1, -1)),
        "coarse_labels": [i % 20 for i in range(100)],
        "data": planar(random_images(100, 32, 32, 3)),
    }
    for name in ("train", "test"):
        (folder / name).write_bytes(python2_pickle(content))
    names = {
        "fine_label_names": [f"fine {i}" for i in range(100)],
        "coarse_label_names": ["x"] * 20,
    }
    (folder / "meta").write_bytes(python2_pickle(names))
    return folder


@pytest.mark.parametrize("place", ["", "cifar-10-batches-py", "cifar10"])
def test_python_version_of_cifar10(tmp_path, python10, images, place):
    if place == "cifar10":
        shutil.move(python10, tmp_path / "cifar10" / python10.name)
    data = load_dataset("cifar10", data_dir=python10 if place == python10.name else tmp_path)
    np.testing.assert_array_equal(data.train.images, images)
    assert data.train.labels.tolist() == [*range(10), 0, 1]
    np.testing.assert_array_equal(data.test.images, images[:10])
    assert data.class_names == tuple("abcdefghij")
    assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def test_both_versions_hold_the_same(folder, python10):
    binary, python = read_cifar_folder(folder), read_cifar_folder(python10)
    for part in ("train", "test"):
        one, other = getattr(binary, part), getattr(python, part)
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_python_version_of_cifar100_uses_the_fine_label(tmp_path, python100, random_images):
    data = load_dataset("cifar100", data_dir=tmp_path)
    np.testing.assert_array_equal(data.train.images, random_images(100, 32, 32, 3))
    assert data.train.labels.tolist() == list(range(99, -1, -1))
    assert data.class_names[:2] == ("fine 0", "fine 1")
    assert (data.mean, data.std) == ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762))
    (python100 / "meta").unlink()
    names = load_dataset("cifar100", data_dir=python100).class_names
    assert (len(names), names[0], names[99]) == (100, "apple", "worm")
    own = load_dataset(f"cifar:{python100}")
    assert own.mean == pytest.approx((random_images(100, 32, 32, 3) / 255).mean((0, 1, 2)))


def test_binary_version_of_cifar100_by_name(tmp_path, random_images):
    folder = tmp_path / "cifar100" / "cifar-100-binary"
    folder.mkdir(parents=True)
    content = b"".join(
        record([i % 20, i], image) for i, image in enumerate(random_images(100, 32, 32, 3))
    )
    for name in ("train.bin", "test.bin"):
        (folder / name).write_bytes(content)
    data = load_dataset("cifar100", data_dir=tmp_path)
    np.testing.assert_array_equal(data.test.images, random_images(100, 32, 32, 3))
    assert data.test.labels.tolist() == list(range(100))


def test_dcc_normalises_cifar100_as_cifar10(tmp_path, python100):
    data, plain = (load_dataset(n, data_dir=tmp_path) for n in ("cifar100-dcc", "cifar100"))
    assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    np.testing.assert_array_equal(data.train.images, plain.train.images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [10] * 4}, "labels must be whole numbers from 0 to 9, got 10"),
        ({"labels": [-1] * 4}, "from 0 to 9, got -1"),
        ({"labels": ["1"] * 4}, "from 0 to 9, got '1'"),
        ({"labels": [True] * 4}, "from 0 to 9, got True"),
        ({"labels": [0] * 3}, "labels must list 4 labels, got 3 labels"),
        ({"labels": None}, "labels must list 4 labels, got NoneType"),
        ({"labels": ...}, "no key 'labels' .its keys: batch_label, data, filenames"),
        ({"data": ...}, "no key 'data'"),
        ({"data": [0]}, r"data must be uint8 \[N, 3072\], got list"),
        ({"data": np.zeros((4, 3071), np.uint8)}, r"got uint8 \(4, 3071\)"),
        ({"data": np.zeros((4, 3072), np.int64)}, r"got int64 \(4, 3072\)"),
    ],
)
def test_a_pickled_batch_that_is_wrong(python10, images, python2_pickle, change, message):
    content = {"data": planar(images)[:4], "labels": [0] * 4, "batch_label": "", "filenames": []}
    content = {k: v for k, v in (content | change).items() if v is not ...}
    (python10 / "data_batch_2").write_bytes(python2_pickle(content))
    with pytest.raises(ValueError, match=rf"data_batch_2: .*{message}") as raised:
        read_cifar_folder(python10)
    assert "\n" not in str(raised.value)


def test_files_of_the_python_version_that_are_missing(
    tmp_path, python10, python100, python2_pickle
):
    (python10 / "data_batch_2").unlink()
    with pytest.raises(ValueError, match=r"no data_batch_2$"):
        load_dataset("cifar10", data_dir=tmp_path)
    (python10 / "data_batch_3").unlink()
    (python10 / "test_batch").unlink()
    with pytest.raises(ValueError, match=r"no test_batch$"):
        load_dataset("cifar10", data_dir=tmp_path)
    (python100 / "test").unlink()
    with pytest.raises(ValueError, match=r"no test$"):
        load_dataset("cifar100", data_dir=tmp_path)
    (python100 / "test").write_bytes((python100 / "train").read_bytes())
    (python100 / "meta").write_bytes(python2_pickle({"fine_label_names": [1]}))
    with pytest.raises(ValueError, match="meta: no list of names under 'fine_label_names'"):
        load_dataset("cifar100", data_dir=tmp_path)
