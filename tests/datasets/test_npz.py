"""NumPy archives as data sets."""

from __future__ import annotations

import io

import numpy as np
import pytest

from jdd.datasets.registry import load_dataset


@pytest.fixture
def arrays(random_images):
    return {
        "x_train": random_images(6, 4, 5, 3),
        "y_train": np.arange(6) % 2,
        "x_test": random_images(2, 4, 5, 3),
        "y_test": np.array([1, 0], np.uint8),
    }


@pytest.fixture
def load(tmp_path):
    def load(arrays):
        np.savez_compressed(tmp_path / "own.npz", **arrays)
        return load_dataset(f"npz:{tmp_path / 'own.npz'}")

    return load


def test_keras_keys(arrays, load):
    data = load(arrays)
    np.testing.assert_array_equal(data.train.images, arrays["x_train"])
    np.testing.assert_array_equal(data.test.labels, arrays["y_test"])
    assert data.class_names == ("0", "1")
    np.testing.assert_allclose(data.std, (arrays["x_train"] / 255).std((0, 1, 2)))


def test_medmnist_keys_grey_images_and_column_labels(arrays, load):
    renamed = {
        "train_images": arrays["x_train"][..., 0],
        "train_labels": arrays["y_train"][:, None],
        "test_images": arrays["x_test"][..., 0],
        "test_labels": arrays["y_test"][:, None],
    }
    data = load(renamed)
    assert data.image_shape == (4, 5, 1)
    assert data.train.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_optional_keys(arrays, load):
    names, mean, std = np.array(["no", "yes"]), np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6])
    data = load(arrays | {"class_names": names, "mean": mean, "std": std})
    assert data.class_names == ("no", "yes")
    assert (data.mean, data.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((6, 4, 5, 3), np.float32)}, "x_train must be uint8 .*got float32"),
        ({"x_train": np.zeros((6, 60), np.uint8)}, r"x_train must be uint8 .*\(6, 60\)"),
        ({"y_train": np.zeros(6)}, "y_train must be integers"),
        ({"y_train": np.zeros((6, 2), int)}, r"y_train must be integers .*\(6, 2\)"),
        ({"y_train": np.array([0, 1, 0, 1, 0, -1])}, "y_train must not be negative"),
        ({"y_train": np.arange(5)}, "6 images but 5 labels"),
        ({"y_test": np.array([{"a": 1}, None])}, "allow_pickle=False"),
        ({"mean": np.array(["x"])}, "could not convert string to float"),
        ({"class_names": np.array(["only"])}, "labels run from 0 to 1, but 1 class names"),
        ({"y_test": np.array([0, 2])}, "no train image of 2"),
    ],
)
def test_refuses_arrays(arrays, load, change, message):
    with pytest.raises(ValueError, match=message) as raised:
        load(arrays | change)
    assert "own.npz" in str(raised.value) and "\n" not in str(raised.value)


def test_names_the_missing_keys(arrays, load):
    del arrays["x_test"]
    wanted = (
        "no x_test and y_test or test_images and test_labels .its keys: x_train, y_train, y_test"
    )
    with pytest.raises(ValueError, match=wanted):
        load(arrays)


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no zip", b"text", _npy()])
def test_damage_is_one_line_that_names_the_file(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.npz: cannot be read: .") as raised:
        load_dataset(f"npz:{path}")
    assert "\n" not in str(raised.value)


def test_truncated_archive(tmp_path, arrays):
    path = tmp_path / "cut.npz"
    np.savez(path, **arrays)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut.npz: cannot be read"):
        load_dataset(f"npz:{path}")
