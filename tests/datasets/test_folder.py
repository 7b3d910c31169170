"""Class folders of images: the layouts, what is read of each file, and what is left out."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jdd.datasets import Dataset, DataWarning
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


def load(folder: Path, **options) -> tuple[Dataset, list[str]]:
    """The data set of a folder, and its warnings without the folder's name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = load_dataset(f"folder:{folder}", **options)
    assert all(issubclass(warning.category, DataWarning) for warning in caught)
    assert all(warning.filename == __file__ for warning in caught)
    texts = [str(warning.message) for warning in caught]
    assert all(str(folder) in text and "\n" not in text for text in texts)
    return data, [text.removeprefix("folder:").removeprefix(f"{folder}: ") for text in texts]


def test_reads(folder, random_images):
    data, texts = load(folder)
    assert texts == []
    assert data.name == f"folder:{folder}"
    assert data.class_names == ("ant", "zebra")
    assert data.image_shape == (4, 6, 3)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(data.train.images, random_images(10, 4, 6, 3)[[0, 2, 4, 1, 3, 5]])
    np.testing.assert_array_equal(data.test.images, random_images(10, 4, 6, 3)[[6, 8, 7, 9]])


def test_what_is_left_out_is_counted_in_one_line(folder):
    train = folder / "train"
    (train / "ant" / "notes.txt").write_text("not an image")
    (train / "ant" / "more.txt").write_text("not an image")
    (train / "ant" / "LICENSE").write_text("not an image")
    (train / ".hidden").mkdir()
    (folder / "test" / "zebra" / ".DS_Store").write_bytes(b"\0")
    (train / "stray.png").write_bytes((train / "ant" / "0.png").read_bytes())
    (folder / "extra").mkdir()
    (folder / "val" / "ant").mkdir(parents=True)  # documented: no use beside test
    (folder / "README.md").write_text("of the set, no image of it")
    os.mkfifo(train / "ant" / "pipe.png")
    data, texts = load(folder)
    assert texts == [
        "left out: 2 hidden, 2 not images (.txt), 1 not images (without extension), "
        "1 not in a class folder, 1 not regular files, the folder extra"
    ]
    assert data.class_counts().tolist() == [3, 3]


@pytest.mark.parametrize("place", ["train/ant/00.png", "train/zebra/99.png", "test/ant/6.png"])
@pytest.mark.parametrize("grey", ["L", "LA", "1"])
def test_one_grey_image_among_colour_becomes_rgb(folder, random_images, place, grey):
    Image.fromarray(random_images(4, 6)).convert(grey).save(folder / place)
    data, texts = load(folder)
    assert data.image_shape == (4, 6, 3) and texts == []
    shown = np.asarray(Image.open(folder / place).convert("L"))
    split = data.train if "train" in place else data.test
    assert any((image == shown[..., None]).all() for image in split.images)
    if "train" in place:
        assert len(data.train) == 7 and not (data.train.images[1] == data.train.images[2]).all()


@pytest.mark.parametrize("coloured", [None, "train/ant/0.png", "test/zebra/9.png"])
def test_the_mode_is_that_of_all_files(folder, coloured):
    expected = np.asarray(Image.open(folder / "train" / "ant" / "2.png").convert("L"))
    for file in folder.rglob("*.png"):
        if coloured is None or file != folder / coloured:
            Image.open(file).convert("L").save(file)
    data, _ = load(folder)
    assert data.image_shape == (4, 6, 1 if coloured is None else 3)
    for channel in range(data.image_shape[2]):
        np.testing.assert_array_equal(data.train.images[1, ..., channel], expected)


def test_palette_images_and_jpeg_are_rgb(folder):
    first = Image.open(folder / "train" / "ant" / "0.png")
    first.convert("P").save(folder / "train" / "ant" / "0.png")
    Image.new("RGB", (6, 4), (200, 100, 50)).save(folder / "train" / "zebra" / "9.JPG", quality=95)
    data, texts = load(folder)
    assert data.image_shape == (4, 6, 3) and texts == []
    shown = np.asarray(Image.open(folder / "train" / "ant" / "0.png").convert("RGB"))
    np.testing.assert_array_equal(data.train.images[0], shown)
    np.testing.assert_allclose(data.train.images[-1], [[[200, 100, 50]] * 6] * 4, atol=3)


@pytest.mark.parametrize("extension", ["webp", "bmp", "tiff", "gif", "ppm", "jp2", "tga", "WEBP"])
def test_formats_that_pillow_reads(folder, random_images, extension):
    pixels = random_images(4, 6, 3)
    file = folder / "train" / "ant" / f"3.{extension}"
    Image.fromarray(pixels).save(file, lossless=True)  # only WebP has the option
    data, texts = load(folder)
    assert data.class_counts().tolist() == [4, 3] and texts == []
    if extension not in ("gif", "jp2"):  # of 256 colours, and lossy
        np.testing.assert_array_equal(data.train.images[2], pixels)


def test_the_content_decides_where_the_extension_is_none_of_an_image(folder, random_images):
    Image.fromarray(random_images(4, 6, 3)).save(folder / "train" / "ant" / "n0153", format="PNG")
    Image.fromarray(random_images(4, 6, 3)).save(folder / "train" / "ant" / "a.v2", format="JPEG")
    data, texts = load(folder)
    assert data.class_counts().tolist() == [5, 3] and texts == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_rotation_of_exif_is_applied(folder, orientation):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[:2, :3], upright[:2, 3:], upright[2:, :3] = (240, 0, 0), (0, 240, 0), (0, 0, 240)
    # how a camera stores an upright scene, for each value of the tag: rows and columns by EXIF 2.3
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(
        folder / "train" / "ant" / "0.png", exif=exif
    )
    data, _ = load(folder)
    np.testing.assert_array_equal(data.train.images[0], upright)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(folder, mode):
    alpha = np.zeros((4, 6), np.uint8)
    alpha[:2] = 255
    image = Image.fromarray(np.full((4, 6, 3), 10, np.uint8)).convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    file = folder / "train" / "ant" / "0.png"
    if mode == "P":
        indices = Image.fromarray((alpha == 0).astype(np.uint8), "L")
        palette = indices.convert("P")
        palette.putpalette([10, 10, 10, 10, 10, 10])
        palette.save(file, transparency=1)
    else:
        image.convert(mode).save(file)
    with Image.open(file) as stored:
        assert stored.mode == mode
    data, texts = load(folder)
    assert texts == [f"1 image with transparent pixels, shown on white, such as {file}"]
    assert (data.train.images[0, :2] == 10).all() and (data.train.images[0, 2:] == 255).all()


def test_half_transparent_pixels_are_half_white_and_opaque_ones_are_no_finding(folder):
    file = folder / "train" / "ant" / "0.png"
    Image.new("RGBA", (6, 4), (0, 100, 200, 255)).save(file)
    data, texts = load(folder)
    assert texts == [] and (data.train.images[0] == (0, 100, 200)).all()
    Image.new("RGBA", (6, 4), (0, 100, 200, 51)).save(file)
    data, texts = load(folder)
    assert len(texts) == 1
    np.testing.assert_allclose(data.train.images[0, 0, 0], (204, 224, 244), atol=1)


def test_the_first_of_several_frames_is_read(folder):
    frames = [Image.new("RGB", (6, 4), (v, 0, 0)) for v in (255, 0, 90)]
    file = folder / "train" / "ant" / "3.tiff"
    frames[0].save(file, save_all=True, append_images=frames[1:])
    data, texts = load(folder)
    assert texts == [f"1 image with several frames, of which the first is read, such as {file}"]
    assert (data.train.images[2] == (255, 0, 0)).all()


def test_sub_folders_of_a_class_are_of_that_class(folder, random_images):
    place = folder / "train" / "ant" / "a" / "b"
    place.mkdir(parents=True)
    Image.fromarray(random_images(4, 6, 3)).save(place / "x.png")
    data, texts = load(folder)
    assert texts == [
        "1 image in sub-folders of a class folder, read as images of that class, such as "
        f"{place / 'x.png'}"
    ]
    assert data.class_counts().tolist() == [4, 3]
    np.testing.assert_array_equal(data.train.images[3], random_images(4, 6, 3))


def test_links_are_followed_but_not_in_circles(folder):
    outside = folder / "elsewhere"
    (folder / "train" / "zebra").rename(outside)
    (folder / "train" / "zebra").symlink_to(outside)
    (outside / "loop").symlink_to(outside)
    data, texts = load(folder)
    assert data.class_counts().tolist() == [3, 3]
    assert texts == ["left out: 1 links to a folder above, the folder elsewhere"]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Validation"])
def test_a_validation_split_serves_as_test(folder, name):
    (folder / "test").rename(folder / name)
    data, texts = load(folder)
    assert data.name == f"folder:{folder} (validation as test)" and texts == []
    assert len(data.test) == 4


def test_other_spellings_of_the_splits(folder):
    (folder / "train").rename(folder / "Training")
    (folder / "test").rename(folder / "Testing")
    data, texts = load(folder)
    assert (len(data.train), len(data.test), data.name, texts) == (6, 4, f"folder:{folder}", [])
    (folder / "train").mkdir()
    with pytest.raises(ValueError, match="Training and train can both be the train split"):
        load(folder)


def test_class_folders_alone_need_a_test_share(folder, random_images):
    with pytest.raises(ValueError, match=r"no train folder in it; .*--test-share.*0.2"):
        load(folder / "train")
    data, texts = load(folder / "train", test_share=1 / 3)
    assert texts == [] and data.name.startswith(f"folder:{folder / 'train'} (test share 0.333")
    pixels = random_images(10, 4, 6, 3)
    np.testing.assert_array_equal(data.train.images, pixels[[0, 2, 1, 3]])  # every third of a class
    np.testing.assert_array_equal(data.test.images, pixels[[4, 5]])
    assert data.train.labels.tolist() == [0, 0, 1, 1] and data.test.labels.tolist() == [0, 1]


def test_a_train_folder_alone_needs_a_test_share(folder):
    (folder / "test").rename(folder / "later")
    with pytest.raises(ValueError, match=r"no test or val folder in it; .*--test-share"):
        load(folder)
    data, texts = load(folder, test_share=0.5)
    assert data.class_counts().tolist() == [2, 2] and len(data.test) == 2
    assert texts == ["left out: the folder later"]


def test_a_share_of_a_set_with_a_test_split_is_refused(folder):
    with pytest.raises(ValueError, match=r"test_share is 0.2, but there is a test split, of 4 im"):
        load(folder, test_share=0.2)


def test_folders_of_folders_are_not_taken_for_classes(folder, tmp_path):
    outer = tmp_path / "outer"
    for part in ("train", "test"):
        (outer / "set" / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).rename(outer / "set" / part)
    for options in ({}, {"test_share": 0.2}):
        with pytest.raises(ValueError, match=r"no train folder in it; .*set has one"):
            load(outer, **options)
    (outer / "set" / "test").rename(outer / "set" / "more")
    with pytest.raises(ValueError, match=r"test_share|no train folder"):
        load(outer / "set")
    (outer / "set" / "train").rename(outer / "set" / "images")
    (outer / "set" / "more" / "ant").rename(outer / "set" / "images" / "fly")
    for file in (outer / "set" / "more" / "zebra").iterdir():
        file.unlink()
    (outer / "set" / "more" / "zebra").rmdir()
    (outer / "set" / "more").rmdir()
    with pytest.raises(ValueError, match=r"images is the only class folder, and has folders in it"):
        load(outer / "set", test_share=0.5)
    (outer / "set" / "images").rename(outer / "set" / "test")
    with pytest.raises(ValueError, match=r"no train folder in it"):
        load(outer / "set", test_share=0.5)


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


def test_a_link_to_nothing_is_named(folder):
    (folder / "train" / "zebra" / "gone.png").symlink_to(folder / "nothing")
    with pytest.raises(ValueError, match=r"gone.png: cannot be read as an image"):
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
    with pytest.raises(ValueError, match=r"train: no image in any class folder"):
        load_dataset(f"folder:{bare}")


def test_a_class_that_test_leaves_out_is_named(folder):
    for file in (folder / "test" / "zebra").iterdir():
        file.unlink()
    (folder / "test" / "zebra").rmdir()
    _, texts = load(folder)
    assert texts == ["no test image of zebra: accuracies do not cover it"]


@pytest.mark.parametrize("name", [b"a\nb", b"\xff\xfe", b"\x1b[31mred"])
def test_class_names_that_no_line_can_hold_are_refused(folder, name):
    for part in ("train", "test"):
        (folder / part / "ant").rename(folder / part / os.fsdecode(name))
    with pytest.raises(ValueError, match="class names must be text on one line, got ") as raised:
        load_dataset(f"folder:{folder}")
    assert str(raised.value).isprintable() and str(raised.value).encode("ascii", "strict")


@pytest.mark.parametrize("name", ["T-shirt|top", "[red]", "猫", "a" * 200, "é à"])
def test_other_class_names_are_kept(folder, name):
    for part in ("train", "test"):
        (folder / part / "ant").rename(folder / part / name)
    data, texts = load(folder)
    assert name in data.class_names and texts == []
