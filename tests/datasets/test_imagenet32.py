"""ImageNet32's pickles and DCC's groups of its classes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from jdd.datasets import registry
from jdd.datasets.imagenet32 import GROUPS, group_of, read_imagenet32_folder
from jdd.datasets.registry import load_dataset
from jdd.datasets.source import RawSplit, Source

# the small files are not the published ones, and their test split leaves classes out
pytestmark = [
    pytest.mark.filterwarnings("ignore::jdd.datasets.published.NotPublished"),
    pytest.mark.filterwarnings("ignore:.*no test image of"),
]

AUTOMOBILE = [265, 266, 267, 268, 269, 270, 272, 273, 274]


def images_of(labels: list[int], shift: int = 0) -> np.ndarray:
    """[N, 32, 32, 3] whose first row of pixels says the label, each plane in its own way."""
    images = np.zeros((len(labels), 32, 32, 3), np.uint8)
    images[:, 0, :, 0] = (np.array(labels) % 251)[:, None]
    images[:, 0, :, 1] = (np.array(labels) // 251)[:, None]
    images[:, 0, :, 2] = np.arange(32) + shift
    return images


def write(path: Path, labels: list[int], **other: object) -> None:
    """As the scripts of the publisher do, by Python 3 with the protocol of its time."""
    rows = images_of(labels).transpose(0, 3, 1, 2).reshape(len(labels), -1)
    content = pickle.dumps({"data": rows, "labels": labels} | other, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))


@pytest.fixture(
    params=[("", ""), ("Imagenet32_train", "Imagenet32_val")], ids=["flat", "extracted"]
)
def folder(request, tmp_path) -> Path:
    """Two train batches with cars in any order among other classes, and validation images."""
    train, val = (tmp_path / "imagenet32" / place for place in request.param)
    mean = np.linspace(0, 255, 3072)
    write(train / "train_data_batch_1", [1, *AUTOMOBILE[::-1], 271, 1000], mean=mean)
    write(train / "train_data_batch_2", [274, 999, 265], mean=mean)
    write(val / "val_data", [275, 265, 274, 1, 268])
    return tmp_path / "imagenet32"


def test_a_group_in_its_order_with_its_own_statistics(tmp_path, folder):
    data = load_dataset("imagenet32-automobile", data_dir=tmp_path)
    assert data.name == "imagenet32-automobile (validation as test)"
    assert data.class_names[0] == "ambulance" and data.class_names[-1] == "sports_car"
    assert data.train.labels.tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 0, 8, 0]
    kept = images_of([*AUTOMOBILE[::-1], 274, 265])
    np.testing.assert_array_equal(data.train.images, kept)
    assert data.test.labels.tolist() == [0, 8, 3]
    np.testing.assert_array_equal(data.test.images, images_of([265, 274, 268]))
    np.testing.assert_allclose(data.mean, (kept / 255).mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(data.std, (kept / 255).std((0, 1, 2)), rtol=1e-9)


def test_groups():
    assert {name: len(group) for name, group in GROUPS.items()} == {
        **{"automobile": 9, "truck": 9, "lizard": 11, "fish": 16, "terrier": 26, "insect": 27}
    }
    everything = [fine for group in GROUPS.values() for fine in group]
    for part in zip(*everything, strict=True):
        assert len(set(part)) == len(everything)
    for group in GROUPS.values():
        assert sorted(group) == list(group)  # by label: the order of map_clsloc.txt
    assert [fine.label for fine in GROUPS["automobile"]] == AUTOMOBILE


def test_the_identifiers_are_those_of_the_labels():
    """tensorflow-datasets holds the identifiers in the order of the labels."""
    tfds = pytest.importorskip("tensorflow_datasets")
    file = tfds.core.tfds_path("image_classification/imagenet_resized_labels.txt")
    if not file.exists():
        pytest.skip("this version of tensorflow-datasets keeps the labels elsewhere")
    wnids = file.read_text().split()
    for group in GROUPS.values():
        assert [wnids[fine.label - 1] for fine in group] == [fine.wnid for fine in group]


def test_all_classes(tmp_path, folder):
    everyone = list(range(1000, 0, -1))
    train = next(folder.rglob("train_data_batch_2"))
    write(train, everyone)
    data = load_dataset("imagenet32", data_dir=tmp_path)
    assert data.train.labels[-1000:].tolist() == [label - 1 for label in everyone]
    assert data.class_names[:2] == ("1", "2") and data.class_names[-1] == "1000"
    lines = [f"n{i:08d} {i} name_{(i + 1) // 2}" for i in range(1, 1001)]
    (folder / "map_clsloc.txt").write_text("\n".join(lines) + "\n")
    names = load_dataset("imagenet32", data_dir=folder).class_names
    assert names[:2] == ("name_1 n00000001", "name_1 n00000002")
    (folder / "map_clsloc.txt").write_text("\n".join(lines[::-1]) + "\n")
    with pytest.raises(ValueError, match=r"map_clsloc.txt: must have 1000 lines"):
        load_dataset("imagenet32", data_dir=tmp_path)


def test_a_group_through_tensorflow_datasets(tmp_path, monkeypatch):
    wnids = (*(fine.wnid for fine in GROUPS["truck"][::-1]), "n00000001")
    images = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
    asked = []

    def read(name: str, data_dir: Path | None) -> Source:
        asked.append(name)
        split = RawSplit(images, np.arange(10, dtype=np.int32))
        return Source(split, split, wnids, remark=" (validation as test)")

    monkeypatch.setattr(registry, "read_tfds", read)
    data = load_dataset("imagenet32-truck", data_dir=tmp_path)
    assert asked == ["imagenet_resized/32x32"]
    assert data.class_names == tuple(fine.name for fine in GROUPS["truck"])
    assert data.train.labels.tolist() == list(range(8, -1, -1))
    np.testing.assert_array_equal(data.train.images, images[:9])
    assert data.mean == pytest.approx((images[:9] / 255).mean((0, 1, 2)))
    split = RawSplit(images_of([1]), np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="no class n01675722"):
        group_of(Source(split, split, wnids), "lizard")


def test_files_that_are_missing_or_damaged(tmp_path, folder):
    first, second = (next(folder.rglob(f"train_data_batch_{i}")) for i in (1, 2))
    write(first, [0])
    with pytest.raises(ValueError, match=r"train_data_batch_1: labels must be .* 1 to 1000, got 0"):
        read_imagenet32_folder(folder, "fish")
    write(first, [1001])
    with pytest.raises(ValueError, match="got 1001"):
        read_imagenet32_folder(folder)
    content = second.read_bytes()
    second.write_bytes(content[: len(content) // 2])
    write(first, [442])
    with pytest.raises(ValueError, match="train_data_batch_2: cannot be read as a pickle"):
        read_imagenet32_folder(folder, "fish")
    write(second, [442])
    write(next(folder.rglob("val_data")), [443])
    with pytest.raises(ValueError, match=r"imagenet32-fish.*no train image of tiger_shark"):
        load_dataset("imagenet32-fish", data_dir=tmp_path)
    first.unlink()
    with pytest.raises(ValueError, match="no train_data_batch_1"):
        load_dataset("imagenet32-fish", data_dir=tmp_path)
    write(first, [442])
    next(folder.rglob("val_data")).unlink()
    with pytest.raises(ValueError, match="no val_data"):
        load_dataset("imagenet32", data_dir=tmp_path)
