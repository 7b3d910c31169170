"""Class folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jdd.datasets.registry import load_dataset


@pytest.fixture
def folder(tmp_path, random_images) -> Path:
    """Two classes, three train and two test images each, 6 x 4 RGB."""
    pixels = random_images(10, 4, 6, 3)
    for i in range(10):
        place = tmp_path / ("train" if i < 6 else "test") / ("zebra" if i % 2 else "ant")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(place / f"{i}.png")
    return tmp_path


def test_reads(folder, random_images):
    (folder / "train" / "ant" / "notes.txt").write_text("not an image")
    (folder / "train" / ".hidden").mkdir()
    data = load_dataset(f"folder:{folder}")
    assert data.class_names == ("ant", "zebra")
    assert data.image_shape == (4, 6, 3)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(data.train.images, random_images(10, 4, 6, 3)[[0, 2, 4, 1, 3, 5]])
    np.testing.assert_array_equal(data.test.images, random_images(10, 4, 6, 3)[[6, 8, 7, 9]])


def test_the_first_image_decides_between_grey_and_rgb(folder, random_images):
    grey = random_images(4, 6)
    Image.fromarray(grey).save(folder / "train" / "ant" / "0.png")
    data = load_dataset(f"folder:{folder}")
    assert data.image_shape == (4, 6, 1)
    np.testing.assert_array_equal(data.train.images[0, ..., 0], grey)
    expected = np.asarray(Image.open(folder / "train" / "ant" / "2.png").convert("L"))
    np.testing.assert_array_equal(data.train.images[1, ..., 0], expected)


def test_palette_images_and_jpeg_are_rgb(folder):
    first = Image.open(folder / "train" / "ant" / "0.png")
    first.convert("P").save(folder / "train" / "ant" / "0.png")
    Image.new("RGB", (6, 4), (200, 100, 50)).save(folder / "train" / "zebra" / "9.JPG", quality=95)
    data = load_dataset(f"folder:{folder}")
    assert data.image_shape == (4, 6, 3)
    np.testing.assert_allclose(data.train.images[-1], [[[200, 100, 50]] * 6] * 4, atol=3)


def test_an_image_of_another_size_is_named(folder):
    Image.new("RGB", (5, 4)).save(folder / "test" / "zebra" / "odd.png")
    with pytest.raises(ValueError, match=r"odd.png: 5 x 4 pixels, but .*0.png has 6 x 4"):
        load_dataset(f"folder:{folder}")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(30)])
def test_a_damaged_image_is_named(folder, content):
    (folder / "train" / "zebra" / "bad.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad.png: cannot be read as an image") as raised:
        load_dataset(f"folder:{folder}")
    assert "\n" not in str(raised.value)


def test_a_truncated_image_is_named(folder):
    file = folder / "train" / "zebra" / "1.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"1.png: cannot be read as an image"):
        load_dataset(f"folder:{folder}")


def test_sixteen_bits_are_refused(folder):
    deep = Image.fromarray(np.full((4, 6), 40000, np.uint16))
    deep.save(folder / "train" / "ant" / "0.png")
    with pytest.raises(ValueError, match=r"0.png: .*more than 8 bits per channel"):
        load_dataset(f"folder:{folder}")


def test_layout_is_explained(tmp_path, folder):
    with pytest.raises(ValueError, match="no train folder in it; the layout is train/CLASS"):
        load_dataset(f"folder:{folder / 'train'}")
    (folder / "test" / "ants").mkdir()
    with pytest.raises(ValueError, match="ants: no such class in train, did you mean 'ant'"):
        load_dataset(f"folder:{folder}")
    (folder / "test" / "ants").rmdir()
    (folder / "train" / "moth").mkdir()
    with pytest.raises(ValueError, match="no train image of moth"):
        load_dataset(f"folder:{folder}")
    bare = tmp_path / "bare"
    for part in ("train", "test"):
        (bare / part).mkdir(parents=True)
    with pytest.raises(ValueError, match="train: no class folders"):
        load_dataset(f"folder:{bare}")
    (bare / "train" / "a").mkdir()
    with pytest.raises(ValueError, match=r"train: no .png, .jpg or .jpeg image"):
        load_dataset(f"folder:{bare}")
