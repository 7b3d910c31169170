"""Class folders of PNG and JPEG images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jdd.data.split import Split
from jdd.datasets.dataset import Source
from jdd.validation import did_you_mean

_SUFFIXES = (".png", ".jpg", ".jpeg")
_GREY_MODES = ("1", "L", "LA")
_WIDE_MODES = ("I", "F")  # and I;16, I;16B, ...: more than 8 bits, converting would clip


def read_image_folder(folder: Path) -> Source:
    """Train and test split of `train/CLASS/*.png|jpg` and `test/CLASS/*.png|jpg` in a folder.

    Classes are the folders of train in sorted order, images are in sorted order of file names. All
    images have the size of the first; the first also decides between grey (one channel) and RGB.

    Raises:
      ValueError: naming the folder or file that does not fit this layout or cannot be read.
    """
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            raise ValueError(
                f"{folder}: no {part} folder in it; the layout is train/CLASS/*.png|jpg and "
                "test/CLASS/*.png|jpg"
            )
    names = _class_folders(folder / "train")
    if not names:
        raise ValueError(f"{folder / 'train'}: no class folders")
    for name in _class_folders(folder / "test"):
        if name not in names:
            hint = did_you_mean(name, names)
            raise ValueError(f"{folder / 'test' / name}: no such class in train{hint}")
    train = _list_images(folder / "train", names)
    test = _list_images(folder / "test", names)
    for part, files in (("train", train), ("test", test)):
        if not files:
            raise ValueError(f"{folder / part}: no .png, .jpg or .jpeg image in any class folder")
    first = train[0][0]
    mode = "L" if decode_image(first, None).shape[2] == 1 else "RGB"
    return Source(read_images(train, mode, first), read_images(test, mode, first), names)


def _class_folders(folder: Path) -> tuple[str, ...]:
    return tuple(
        sorted(f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    )


def _list_images(folder: Path, names: tuple[str, ...]) -> list[tuple[Path, int]]:
    return [
        (file, label)
        for label, name in enumerate(names)
        if (folder / name).is_dir()
        for file in sorted((folder / name).iterdir())
        if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")
    ]


def read_images(files: Sequence[tuple[Path, int]], mode: str, first: Path) -> Split:
    """The images of (file, label) pairs in a Pillow mode, all of the size of the image `first`.

    Raises:
      ValueError: naming the file that cannot be read or has another size.
    """
    shape = decode_image(first, mode).shape
    images = np.empty((len(files), *shape), np.uint8)
    for i, (file, _) in enumerate(files):
        pixels = decode_image(file, mode)
        if pixels.shape != shape:
            raise ValueError(
                f"{file}: {pixels.shape[1]} x {pixels.shape[0]} pixels, "
                f"but {first} has {shape[1]} x {shape[0]}; all images must be of one size"
            )
        images[i] = pixels
    return Split(images, np.array([label for _, label in files], np.int32))


def decode_image(file: Path | BinaryIO, mode: str | None) -> np.ndarray:
    """Pixels uint8 [H, W, C] in a Pillow mode; None: L for grey images, RGB for all others.

    Raises:
      ValueError: naming the file, when it is no image, damaged, or of more than 8 bits per channel.
    """
    from PIL import Image  # slow to import, and needed by this source only

    try:
        with Image.open(file) as image:
            if image.mode.startswith(_WIDE_MODES):
                raise ValueError(f"more than 8 bits per channel (mode {image.mode})")
            chosen = mode or ("L" if image.mode in _GREY_MODES else "RGB")
            pixels = np.asarray(image if image.mode == chosen else image.convert(chosen))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        where = f"{file}: " if isinstance(file, Path) else ""
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"{where}cannot be read as an image: {first_line}") from None
    return pixels[..., None] if pixels.ndim == 2 else pixels
