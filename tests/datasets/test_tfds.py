"""tensorflow-datasets: a tiny set prepared without TensorFlow, and the messages when that fails."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jdd.datasets import DataWarning
from jdd.datasets.registry import load_dataset

pytest.importorskip("importlib_resources", reason="tensorflow-datasets prepares with it")
pytest.importorskip("array_record", reason="the file format that is read without TensorFlow")
tfds: Any = pytest.importorskip("tensorflow_datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (1100, 5, 4, 3), np.uint8)
LABELS = np.arange(1100) % 3


class JddTiny(tfds.core.GeneratorBasedBuilder):
    """1100 images under the feature names of image classification; splits train and test."""

    VERSION = tfds.core.Version("1.0.0")
    held_out = "test"
    feature_names = ("image", "label")
    sizes = ((5, 4),)

    def _info(self) -> Any:
        image, label = self.feature_names
        features = {
            image: tfds.features.Image(shape=(None, None, 3)),
            label: tfds.features.ClassLabel(names=["ant", "bee", "cow"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(0), self.held_out: self._generate_examples(1090)}

    def _generate_examples(self, first: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        image, label = self.feature_names
        for i in range(first, len(PIXELS)):
            height, width = self.sizes[i % len(self.sizes)]
            pixels = Image.fromarray(PIXELS[i, :height, :width])
            yield i, {image: pixels, label: int(LABELS[i])}


class JddTinyValidation(JddTiny):
    """No test split."""

    held_out = "validation"


class JddTinySecret(JddTiny):
    """Test images without labels (-1), and a validation split."""

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {
            "train": self._generate_examples(0),
            "validation": self._generate_examples(1080),
            "test": self._without_labels(),
        }

    def _without_labels(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, example in self._generate_examples(1095):
            yield i, example | {"label": -1}


class JddTinyUndivided(JddTiny):
    """No split but train."""

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(0)}


class JddTinyUnlabelled(JddTiny):
    """Other feature names."""

    feature_names = ("picture", "label")


class JddTinyRagged(JddTiny):
    """Images of two sizes."""

    sizes = ((5, 4), (4, 4))


class JddTinyBroken(JddTiny):
    """A set whose preparation fails."""

    def _generate_examples(self, first: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        raise RuntimeError("the server is down\nand more")


@pytest.fixture(autouse=True)
def own_default_folder(tmp_path_factory, monkeypatch):
    """What this machine has prepared must not decide a test."""
    folder = tmp_path_factory.mktemp("default")
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(folder))
    return folder


@pytest.fixture
def missing(monkeypatch):
    """``missing(names)``: exactly these modules cannot be found."""

    def set_missing(*names):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *_: None if name in names else object()
        )

    return set_missing


def prepare(builder: type, folder: Any) -> None:
    builder(data_dir=folder, file_format="array_record").download_and_prepare()


def test_a_prepared_set_is_read(tmp_path, missing):
    prepare(JddTiny, tmp_path)
    missing("tensorflow", "importlib_resources")
    data = load_dataset("tfds:jdd_tiny", data_dir=tmp_path)
    assert (data.name, data.class_names) == ("tfds:jdd_tiny", ("ant", "bee", "cow"))
    assert (len(data.train), len(data.test), data.image_shape) == (1100, 10, (5, 4, 3))
    by_pixels = {
        PIXELS[i].tobytes(): LABELS[i] for i in range(len(PIXELS))
    }  # its order is shuffled
    found = {
        image.tobytes(): label
        for image, label in zip(data.train.images, data.train.labels, strict=True)
    }
    assert found == by_pixels
    np.testing.assert_allclose(data.mean, (PIXELS / 255).mean((0, 1, 2)))


def test_a_set_is_prepared_where_that_is_possible(own_default_folder, missing):
    missing()
    data = load_dataset("tfds:jdd_tiny_validation")
    assert data.name == "tfds:jdd_tiny_validation (validation as test)"
    assert len(data.test) == 10
    assert any(own_default_folder.iterdir())


def test_test_images_without_labels(tmp_path, missing):
    prepare(JddTinySecret, tmp_path)
    with pytest.warns(
        DataWarning, match="labels is negative.: the validation split serves as test"
    ):
        data = load_dataset("tfds:jdd_tiny_secret", data_dir=tmp_path)
    assert data.name == "tfds:jdd_tiny_secret (validation as test)"
    assert (len(data.train), len(data.test)) == (1100, 20)


def test_a_set_with_no_split_but_train(tmp_path, missing):
    prepare(JddTinyUndivided, tmp_path)
    with pytest.raises(
        ValueError, match=r"^tfds:jdd_tiny_undivided: there is no test split.*0\.2$"
    ):
        load_dataset("tfds:jdd_tiny_undivided", data_dir=tmp_path)
    data = load_dataset("tfds:jdd_tiny_undivided", data_dir=tmp_path, test_share=0.1)
    assert data.name == "tfds:jdd_tiny_undivided (test share 0.1)"
    assert np.bincount(data.test.labels).tolist() == [36, 36, 36]


@pytest.mark.parametrize("modules", [("tensorflow",), ("tensorflow", "importlib_resources")])
def test_a_set_that_cannot_be_prepared(tmp_path, own_default_folder, missing, modules):
    missing(*modules)
    for name in ("mnist", "tfds:mnist"):
        with pytest.raises(
            ValueError, match=f"needs {' and '.join(modules)}: pip install"
        ) as raised:
            load_dataset(name, data_dir=tmp_path)
        message = str(raised.value)
        assert "pip install tensorflow-cpu importlib_resources" in message and "\n" not in message
        assert str(tmp_path) in message and str(own_default_folder) in message
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "jdd_tinny",
            "unknown to tensorflow-datasets and not prepared in .*did you mean 'jdd_tiny'",
        ),
        ("cifar10/nothing", "tfds:cifar10/nothing: "),
        ("../x", "tfds:../x: "),
        ("jdd_tiny_broken", "preparing failed: .*the server is down"),
        ("jdd_tiny_unlabelled", "needs the features image and label, it has picture, label"),
        ("jdd_tiny_ragged", "images must be of one size"),
    ],
)
def test_one_line_for_each_failure(tmp_path, missing, name, message):
    missing()
    with pytest.raises(ValueError, match=message) as raised:
        load_dataset(f"tfds:{name}", data_dir=tmp_path)
    assert "\n" not in str(raised.value)


def test_without_tensorflow_datasets(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match=r"needs tensorflow-datasets .*pip install"):
        load_dataset("tfds:mnist")


def test_a_set_without_random_access(tmp_path, monkeypatch, missing):
    prepare(JddTiny, tmp_path)
    monkeypatch.setattr(
        tfds.core.DatasetBuilder,
        "as_data_source",
        lambda *_, **__: (_ for _ in ()).throw(NotImplementedError("not supported.\n\tCauses:")),
    )
    with pytest.raises(
        ValueError, match="is prepared as array_record, which only TensorFlow reads"
    ):
        load_dataset("tfds:jdd_tiny", data_dir=tmp_path)


@pytest.mark.filterwarnings("ignore")  # preparing is TensorFlow's, with warnings of its own
def test_the_real_fashion_mnist(tmp_path, shared_data):
    """Prepared by its own builder from the publisher's files, it holds what those files hold."""
    reason = "preparing Fashion-MNIST needs TensorFlow: pip install tensorflow-cpu"
    pytest.importorskip("tensorflow", reason=reason)
    builder = tfds.builder("fashion_mnist", data_dir=str(tmp_path), file_format="array_record")
    by_hand = tfds.download.DownloadConfig(manual_dir=str(shared_data / "fashion_mnist"))
    builder.download_and_prepare(download_dir=str(tmp_path / "downloads"), download_config=by_hand)
    for name in ("tfds:fashion_mnist", "fashion_mnist"):
        prepared = load_dataset(name, data_dir=tmp_path)
        files = load_dataset("fashion_mnist", data_dir=shared_data)
        assert prepared.class_names == files.class_names
        assert (prepared.mean, prepared.std) == (files.mean, files.std) == ((0.2861,), (0.3530,))
        for part in ("train", "test"):  # its order is shuffled
            found, expected = (
                sorted(zip(map(bytes, split.images), split.labels.tolist(), strict=True))
                for split in (getattr(prepared, part), getattr(files, part))
            )
            assert found == expected
