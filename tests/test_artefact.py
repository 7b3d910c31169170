"""The artefact: what is saved is loaded, by others too, and what is wrong is named in one line."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from jdd.artefact import Augmentation, DistilledSet, Metadata, versions

METADATA = Metadata(
    method="dsa",
    dataset="toy",
    class_names=("cat", "dog", "ünïcode"),
    ipc=2,
    space="normalised",
    mean=(0.5, 0.4, 0.3),
    std=(0.25, 0.2, 0.1),
    augmentation=Augmentation("dsa", "color_crop_cutout"),
    protocol="dc",
    recipe={"epochs": 300, "decay": {"after": 152}},
    learned_lr=0.02,
    options={"net": {"width": 128}, "lr": 0.1},
    seed=3,
    results={"distilled": {"mean": 0.71, "std": 0.01}},
)
LABELS = np.repeat(np.arange(3, dtype=np.int32), 2)


def make_images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(6, 4, 5, 3)).astype(np.float32)


def make_set(**changes: Any) -> DistilledSet:
    return DistilledSet(make_images(), LABELS, dataclasses.replace(METADATA, **changes))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "set.safetensors"


def rewrite(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    header = {"jdd": json.dumps(json.loads(METADATA.to_json()) | metadata)}
    safetensors.numpy.save_file(tensors, path, metadata=header)


def test_round_trip(path: Path) -> None:
    tensors = {
        "bases": np.arange(12.0).reshape(3, 4).T,
        "scale": np.float32(2.0),
        "n": np.arange(3),
    }
    saved = DistilledSet(make_images(), LABELS, METADATA, tensors)
    assert saved.save(path) == path
    loaded = DistilledSet.load(path)
    assert loaded.metadata == METADATA
    assert loaded.images.dtype == np.float32
    assert loaded.images.tobytes() == saved.images.tobytes()
    assert loaded.labels.dtype == np.int32
    np.testing.assert_array_equal(loaded.labels, LABELS)
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == np.asarray(tensor).dtype
        assert loaded.tensors[name].shape == np.asarray(tensor).shape
        np.testing.assert_array_equal(loaded.tensors[name], tensor)


def test_any_safetensors_reader_opens_it(path: Path) -> None:
    saved = make_set()
    saved.save(path)
    tensors = safetensors.numpy.load_file(path)
    np.testing.assert_array_equal(tensors["images"], saved.images)
    np.testing.assert_array_equal(tensors["labels"], saved.labels)
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["jdd"])
    assert header == json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert header["space"] == "normalised"
    assert header["mean"] == [0.5, 0.4, 0.3]
    assert header["class_names"] == ["cat", "dog", "ünïcode"]
    assert header["augmentation"] == {"name": "dsa", "strategy": "color_crop_cutout"}
    assert header["versions"] == versions()


def test_one_file_suffices(path: Path) -> None:
    make_set().save(path)
    path.with_suffix(".json").unlink()
    assert DistilledSet.load(path).metadata == METADATA


def test_accepts_jax_arrays_and_any_integer_labels() -> None:
    distilled = DistilledSet(jnp.zeros((6, 4, 5, 3)), LABELS.astype(np.int64), METADATA)  # type: ignore[arg-type]
    assert isinstance(distilled.images, np.ndarray)
    assert distilled.labels.dtype == np.int32


def test_soft_labels(path: Path) -> None:
    labels = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    DistilledSet(make_images(), labels, METADATA).save(path)
    np.testing.assert_array_equal(DistilledSet.load(path).labels, labels)


def test_properties() -> None:
    distilled = make_set()
    assert (distilled.num_classes, distilled.ipc, distilled.image_shape) == (3, 2, (4, 5, 3))


def test_pixels_and_normalised_agree_between_the_spaces() -> None:
    mean, std = np.asarray([METADATA.mean, METADATA.std], np.float32)
    raw = np.random.default_rng(1).uniform(-0.2, 1.2, size=(6, 4, 5, 3)).astype(np.float32)
    in_raw = DistilledSet(raw, LABELS, dataclasses.replace(METADATA, space="raw01"))
    in_normalised = DistilledSet((raw - mean) / std, LABELS, METADATA)
    expected = np.clip(raw * 255.0, 0, 255)
    for distilled in (in_raw, in_normalised):
        assert distilled.pixels().dtype == np.uint8
        assert np.abs(distilled.pixels() - expected).max() <= 0.5001
        np.testing.assert_allclose(distilled.normalised(), (raw - mean) / std, rtol=1e-6)
    assert in_raw.normalised().dtype == np.float32


def test_nothing_is_overwritten_unasked(path: Path) -> None:
    make_set().save(path)
    before = path.read_bytes()
    other = make_set(seed=4)
    with pytest.raises(ValueError, match=r"set\.safetensors already exists$"):
        other.save(path)
    assert path.read_bytes() == before
    path.unlink()
    with pytest.raises(ValueError, match=r"set\.json already exists$"):
        other.save(path)
    assert not path.exists()
    other.save(path, overwrite=True)
    assert DistilledSet.load(path).metadata.seed == 4


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_set().save(path)
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        make_set(seed=9).save(path, overwrite=True)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["set.json", "set.safetensors"]


def test_errors_of_the_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        make_set().save(tmp_path / "set.pt")
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        make_set().save(tmp_path / "nowhere" / "set.safetensors")
    with pytest.raises(ValueError, match="there is no such file"):
        DistilledSet.load(tmp_path / "set.safetensors")
    with pytest.raises(ValueError, match="is a folder"):
        DistilledSet.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_cut_off_file_is_reported(path: Path, keep: int) -> None:
    make_set().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"^\S*set\.safetensors: not a whole safetensors file"
    ) as e:
        DistilledSet.load(path)
    assert "\n" not in str(e.value)


def test_files_of_others_are_reported(path: Path) -> None:
    path.write_text("a text of some length, but no tensors at all")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        DistilledSet.load(path)
    safetensors.numpy.save_file({"images": make_images()}, path)
    with pytest.raises(ValueError, match="not a distilled set of jdd"):
        DistilledSet.load(path)
    safetensors.numpy.save_file({"images": make_images()}, path, metadata={"jdd": "{"})
    with pytest.raises(ValueError, match="the metadata is not JSON"):
        DistilledSet.load(path)
    rewrite(path, {"images": make_images()}, {})
    with pytest.raises(ValueError, match="the file holds no labels"):
        DistilledSet.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format version 99 is newer than 1"),
        ({"format_version": None}, "format_version is None"),
        ({"space": "normalized"}, "unknown space 'normalized', did you mean 'normalised'"),
        ({"decode": "mosaic"}, "unknown decode 'mosaic'"),
        ({"layout": "NCHW"}, "unknown layout 'NCHW'"),
        ({"class_names": "cat"}, "class_names is 'cat', not a sequence"),
        ({"class_names": []}, "class_names is empty"),
        ({"class_names": ["a", 1, "c"]}, "class_names: 1 is 1, not a string"),
        ({"method": 7}, "metadata: method is 7, not a string"),
        ({"ipc": 0}, "ipc is 0"),
        ({"ipc": True}, "ipc is True"),
        ({"ipc": 3}, "class 'cat' has 2 images, but ipc is 3"),
        ({"mean": [0.5]}, "mean and std have different lengths"),
        ({"std": [0.1, 0.0, 0.1]}, "must be positive"),
        ({"std": [0.1, "x", 0.1]}, "std holds 'x', not a finite number"),
        ({"mean": [0.5], "std": [0.1]}, "images have 3 channels, but mean and std have 1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"learned_lr": -0.1}, "learned_lr is -0.1"),
        ({"augmentation": "dsa"}, "augmentation is 'dsa', not an Augmentation"),
        ({"augmentation": {"strategy": "crop"}}, "augmentation lacks its name"),
        ({"augmentation": {"name": ""}}, "augmentation name is empty"),
        ({"recipe": "dc"}, "recipe is 'dc', not a mapping"),
        ({"options": [1]}, r"options is \[1\], not a mapping"),
    ],
)
def test_wrong_metadata_in_a_file_is_named(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    rewrite(path, {"images": make_images(), "labels": LABELS}, changes)
    with pytest.raises(ValueError, match=rf"^\S*set\.safetensors: .*{message}") as e:
        DistilledSet.load(path)
    assert "\n" not in str(e.value)


def test_a_missing_key_is_named_and_an_unknown_one_passed_over(path: Path) -> None:
    header = json.loads(METADATA.to_json())
    with pytest.raises(ValueError, match="the metadata lacks std"):
        Metadata.from_json(json.dumps({k: v for k, v in header.items() if k != "std"}))
    assert Metadata.from_json(json.dumps(header | {"of_a_later_version": 1})) == METADATA
    without = Metadata.from_json(json.dumps({k: v for k, v in header.items() if k != "versions"}))
    assert without.versions == {}
    older = Metadata.from_json(json.dumps({k: v for k, v in header.items() if k != "recipe"}))
    assert older.recipe == {}


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.flat[0] = value
    return array


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (make_images().astype(np.float64), LABELS, "images are float64, not float32"),
        (make_images()[0], LABELS, r"images have shape \(4, 5, 3\), not \[N, H, W, C\]"),
        (make_images()[:0], LABELS[:0], "there are none"),
        (with_value(make_images(), np.nan), LABELS, "images hold 1 values that are not finite"),
        (with_value(make_images(), np.inf), LABELS, "images hold 1 values that are not finite"),
        (make_images()[:5], LABELS, r"labels have shape \(6,\), but there are 5 images"),
        (make_images(), np.int32(1), r"labels have shape \(\), but there are 6 images"),
        (make_images(), LABELS + 1, "labels run from 1 to 3, but there are 3 classes"),
        (make_images(), LABELS - 1, "labels run from -1 to 1"),
        (make_images(), LABELS.astype(np.float32), "hard labels are float32, not integers"),
        (make_images(), LABELS[:, None, None], r"labels have shape \(6, 1, 1\)"),
        (make_images(), np.zeros((6, 4), np.float32), "soft labels have 4 columns"),
        (make_images(), np.zeros((6, 3)), "soft labels are float64, not float32"),
        (make_images(), np.full((6, 3), np.nan, np.float32), "labels hold 18 values"),
        (make_images(), LABELS * 0, "class 'cat' has 6 images, but ipc is 2"),
    ],
)
def test_wrong_arrays_are_named(
    path: Path, images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DistilledSet(images, labels, METADATA)
    rewrite(path, {"images": images, "labels": np.asarray(labels)}, {})
    with pytest.raises(ValueError, match=rf"^\S*set\.safetensors: .*{message}"):
        DistilledSet.load(path)


def test_wrong_extras_are_named() -> None:
    with pytest.raises(ValueError, match="a further tensor cannot be named labels"):
        DistilledSet(make_images(), LABELS, METADATA, {"labels": LABELS})
    with pytest.raises(ValueError, match="options must be JSON"):
        dataclasses.replace(METADATA, options={"x": np.zeros(2)})
    with pytest.raises(ValueError, match="results must be JSON"):
        dataclasses.replace(METADATA, results={"accuracy": float("nan")})
