"""Data sets by name: digits, where the published ones are looked for, and messages."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from jdd.datasets import load_dataset, registry
from jdd.datasets.dataset import pixel_statistics

# the small files are not the published ones; test_published.py tests the warning
pytestmark = pytest.mark.filterwarnings("ignore::jdd.datasets.published.NotPublished")


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch):
    monkeypatch.delenv("JDD_DATA_DIR", raising=False)


@pytest.fixture
def no_tfds(monkeypatch):
    """As if tensorflow-datasets had nothing prepared, whatever this machine has."""

    def nothing(name, data_dir):
        raise ValueError(f"tfds:{name} is not prepared")

    monkeypatch.setattr(registry, "read_tfds", nothing)


def test_digits():
    data = load_dataset("digits")
    assert (len(data.train), len(data.test)) == (1442, 355)
    assert data.image_shape == (8, 8, 1)
    assert data.class_names == tuple("0123456789")
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)
    share = np.bincount(data.test.labels) / (np.bincount(data.test.labels) + data.class_counts())
    np.testing.assert_allclose(share, 0.2, atol=0.005)
    np.testing.assert_allclose(data.mean[0], (data.train.images / 255).mean())
    np.testing.assert_allclose(data.std[0], (data.train.images / 255).std())


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    original: Any = load_digits()
    data = load_dataset("digits", classes=[7])
    sevens = original.images[original.target == 7]
    np.testing.assert_allclose(data.test.images[..., 0] / 255 * 16, sevens[4::5], atol=0.04)
    rest = np.delete(sevens, np.s_[4::5], axis=0)
    np.testing.assert_allclose(data.train.images[..., 0] / 255 * 16, rest, atol=0.04)


@pytest.mark.parametrize("place", ["mnist", "."])
def test_data_dir_is_an_argument_or_a_variable(tmp_path, write_idx, monkeypatch, place):
    images, _ = write_idx(tmp_path / place, train=20, test=10, classes=10)
    data = load_dataset("mnist", data_dir=str(tmp_path))
    np.testing.assert_array_equal(data.train.images[..., 0], images)
    assert (data.mean, data.std) == ((0.1307,), (0.3081,))
    monkeypatch.setenv("JDD_DATA_DIR", str(tmp_path))
    assert len(load_dataset("mnist").train) == 20
    fashion = load_dataset("fashion_mnist", data_dir=tmp_path / place, classes=["Bag", "Sandal"])
    assert fashion.class_names == ("Bag", "Sandal")
    assert (fashion.mean, fashion.std) == ((0.2861,), (0.3530,))


@pytest.mark.parametrize(
    ("name", "place"),
    [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw"), ("mnist", "mnist/MNIST/raw")],
)
def test_the_folders_that_torchvision_makes(tmp_path, write_idx, name, place):
    images, _ = write_idx(tmp_path / place, train=20, test=10, classes=10)
    data = load_dataset(name, data_dir=tmp_path)
    np.testing.assert_array_equal(data.train.images[..., 0], images)
    assert (data.mean, data.std) == registry.STATISTICS[name]


def test_a_folder_that_lacks_one_file_says_which(tmp_path, write_idx):
    write_idx(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="mnist: no t10k-labels-idx1-ubyte"):
        load_dataset("mnist", data_dir=tmp_path)


def test_pixels_that_are_another_sets_are_refused(tmp_path, write_idx, monkeypatch):
    images, _ = write_idx(tmp_path, train=20, test=10, classes=10)
    monkeypatch.setitem(registry.STATISTICS, "mnist", pixel_statistics(images[..., None]))
    assert len(load_dataset("mnist", data_dir=tmp_path).train) == 20
    with pytest.raises(
        ValueError, match=r"holds mnist .by its pixel statistics., not fashion_mnist"
    ):
        load_dataset("fashion_mnist", data_dir=tmp_path)


def test_not_found_says_where_and_what_to_do(tmp_path, no_tfds):
    with pytest.raises(ValueError) as raised:
        load_dataset("cifar10", data_dir=tmp_path)
    message = str(raised.value)
    for part in (str(tmp_path), "data_batch_*.bin", "--data-dir", "JDD_DATA_DIR", "not prepared"):
        assert part in message
    assert "\n" not in message
    with pytest.raises(ValueError, match=r"mnist: files .*no data_dir given"):
        load_dataset("mnist")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifer10", "unknown data set 'cifer10', did you mean 'cifar10'"),
        ("Digits", "did you mean 'digits'"),
        ("foldr:/x", "unknown data set 'foldr:/x', did you mean 'folder'"),
        ("npz", "'npz' needs a place to read, as in .*npz:PATH"),
        ("tfds", "'tfds' needs a place to read, as in .*tfds:NAME"),
        ("npz:", "'npz:' needs a place to read, as in .*npz:PATH"),
        (5, "^the name of a data set must be a text, got 5$"),
        ("mnist:x", "unknown data set 'mnist:x'"),
        ("", "unknown data set ''; known: digits, mnist"),
        ("npz:absent.npz", "npz:absent.npz: no such file or folder"),
        ("idx:absent", "idx:absent: no such file or folder"),
        ("folder:" + "x" * 5000, "cannot be read"),
    ],
)
def test_names_that_are_wrong(name, message):
    with pytest.raises(ValueError, match=message) as raised:
        load_dataset(name)
    assert "\n" not in str(raised.value)


def test_importing_is_light():
    slow = ("sklearn", "PIL", "tensorflow_datasets", "tensorflow", "matplotlib")
    for package in ("jdd.data", "jdd.datasets"):
        assert not set(slow) & imported_by(package)


def test_matching_imports_no_data_sets():
    assert "jdd.datasets.registry" in imported_by("jdd.datasets")
    modules = imported_by("jdd.matching")
    assert "jdd.data.batch" in modules
    assert not [module for module in modules if module.startswith("jdd.datasets")]


def imported_by(package: str) -> set[str]:
    """The modules that a new process has after it has imported a package."""
    code = f"import {package}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_real_sets_have_the_papers_statistics(shared_data, name):
    data = load_dataset(name, data_dir=shared_data)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert data.image_shape == (28, 28, 1)
    assert np.bincount(data.test.labels).sum() == 10_000
    mean, std = pixel_statistics(data.train.images)
    # four decimals; of Fashion-MNIST's mean, .28604, the published fourth decimal is one too high
    np.testing.assert_allclose((mean, std), (data.mean, data.std), atol=6e-5)


def test_the_real_fashion_mnist_is_not_taken_for_mnist(shared_data):
    with pytest.raises(ValueError, match="holds fashion_mnist"):
        load_dataset("mnist", data_dir=shared_data / "fashion_mnist")
