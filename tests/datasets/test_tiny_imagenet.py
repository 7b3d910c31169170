"""Tiny-ImageNet's folders, written as its archive makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jdd.datasets.registry import load_dataset
from jdd.datasets.tiny_imagenet import read_tiny_imagenet_folder

# the small files are not the published ones, and their test split leaves classes out
pytestmark = [
    pytest.mark.filterwarnings("ignore::jdd.datasets.published.NotPublished"),
    pytest.mark.filterwarnings("ignore:.*no test image of"),
]

WNIDS = ["n02124075", "n04067472", "n01443537"]  # not sorted: the order of the lines gives labels


def flat(level: int) -> Image.Image:
    """One colour, which JPEG keeps but for rounding."""
    return Image.fromarray(np.full((64, 64, 3), (level, 255 - level, 40), np.uint8))


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "tiny-imagenet-200"
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "test" / "images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    words = "n00001740\tentity\nn01443537\tgoldfish, Carassius auratus\nn02124075\tEgyptian cat\n"
    (folder / "words.txt").write_text(words + "n04067472\treel\n")
    for c, wnid in enumerate(WNIDS):
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t62\t62\n")
        for i in range(11):
            flat(60 * c + 5 * i).save(images / f"{wnid}_{i}.JPEG", quality=95)
    grey = folder / "train" / WNIDS[2] / "images" / f"{WNIDS[2]}_10.JPEG"
    Image.fromarray(np.full((64, 64), 77, np.uint8)).save(grey)
    lines = []
    for i, wnid in enumerate([WNIDS[2], WNIDS[0]]):
        flat(100 * i).save(folder / "val" / "images" / f"val_{i}.JPEG", quality=95)
        lines.append(f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("place", ["", "tiny-imagenet-200"])
def test_reads(tmp_path, folder, place):
    data = load_dataset("tiny_imagenet", data_dir=tmp_path / place)
    assert data.name == "tiny_imagenet (validation as test)"
    assert data.class_names == ("Egyptian cat", "reel", "goldfish")
    assert data.image_shape == (64, 64, 3)
    assert data.train.labels.tolist() == [0] * 11 + [1] * 11 + [2] * 11
    expected = [60 * c + 5 * i for c in range(3) for i in range(11)]  # 10 after 9, not after 1
    found = data.train.images[:-1, 30, 30].astype(int)
    np.testing.assert_allclose(found[:, 0], expected[:-1], atol=3)
    np.testing.assert_allclose(found[:, 1], 255 - found[:, 0], atol=4)
    np.testing.assert_allclose(data.train.images[-1].astype(int), 77, atol=2)  # grey became RGB
    assert data.test.labels.tolist() == [2, 0]
    np.testing.assert_allclose(data.test.images[:, 5, 5, 0].astype(int), [0, 100], atol=3)
    assert (data.mean, data.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_without_words_and_with_words_that_two_classes_share(folder):
    (folder / "words.txt").write_text("n02124075\tcrane, bird\nn04067472\tcrane, machine\n")
    names = read_tiny_imagenet_folder(folder).class_names
    assert names == ("crane n02124075", "crane n04067472", "n01443537")
    (folder / "words.txt").unlink()
    assert read_tiny_imagenet_folder(folder).class_names == tuple(WNIDS)


def test_files_that_are_missing_or_damaged(folder):
    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message) as raised:
            read_tiny_imagenet_folder(folder)
        assert "\n" not in str(raised.value)

    annotations = folder / "val" / "val_annotations.txt"
    good = annotations.read_text()
    annotations.write_text(good + "val_2.JPEG\tn01443538\t0\t0\t1\t1\n")
    refused("'val_2.JPEG' is of no class of wnids.txt: 'n01443538', did you mean 'n01443537'")
    annotations.write_text("val_0.JPEG\n")
    refused("'val_0.JPEG' is of no class of wnids.txt")
    annotations.write_text("../val_0.JPEG\tn01443537\n")
    refused("is not the name of a file")
    annotations.write_text(good + "val_2.JPEG\tn01443537\t0\t0\t1\t1\n")
    refused("val_2.JPEG: cannot be read as an image")
    flat(0).resize((32, 64)).save(folder / "val" / "images" / "val_2.JPEG")
    refused("val_2.JPEG: 32 x 64 pixels, but .*_0.JPEG has 64 x 64")
    annotations.write_text("\n")
    refused("val_annotations.txt: lists no image")
    annotations.unlink()
    refused("val_annotations.txt: cannot be read")
    annotations.write_text(good)
    image = folder / "train" / WNIDS[1] / "images" / f"{WNIDS[1]}_3.JPEG"
    image.write_bytes(image.read_bytes()[:300])
    refused(f"{WNIDS[1]}_3.JPEG: cannot be read as an image")
    for file in image.parent.iterdir():
        file.unlink()
    refused("no .JPEG image")
    image.parent.rmdir()
    refused(f"no folder train/{WNIDS[1]}/images")
    (folder / "wnids.txt").write_text("n1\nn1\n")
    refused("wnids.txt: must list WordNet identifiers, each once")
