"""Image files as pixels, by Pillow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jdd.datasets.source import RawSplit

_GREY_MODES = ("1", "L", "LA")
_WIDE_MODES = ("I", "F")  # and I;16, I;16B, ...: more than 8 bits, converting would clip


class Viewed(NamedTuple):
    """Images as a viewer shows them.

    Attributes:
      images: uint8 [N, H, W, 1] where all files are grey, else [N, H, W, 3].
      transparent: the files with a pixel that is not opaque.
      animated: the files with more than one frame.
    """

    images: np.ndarray
    transparent: tuple[Path, ...]
    animated: tuple[Path, ...]


def read_viewed(files: Sequence[Path]) -> Viewed:
    """Reads images of one size of any format as a viewer shows them.

    One file in colour makes all images RGB; palettes count as colour. The rotation that a camera
    stores (EXIF) is applied. Transparent pixels are shown on white, which is what most viewers and
    browsers do: the colour below them is arbitrary. Of several frames the first is read.

    Args:
      files: at least one.

    Raises:
      ValueError: naming the file that is damaged, of another size than the first, or of more than 8
        bits per channel.
    """
    transparent, animated = [], []
    images = np.empty((len(files), *_view(files[0])[0].shape), np.uint8)
    for i, file in enumerate(files):
        pixels, is_transparent, is_animated = _view(file)
        _check_size(file, pixels, files[0], images.shape[1:])
        if pixels.shape[2] > images.shape[-1]:  # the first image in colour
            images = np.repeat(images, pixels.shape[2], axis=-1)
        images[i] = pixels
        transparent += [file] * is_transparent
        animated += [file] * is_animated
    return Viewed(images, tuple(transparent), tuple(animated))


def read_images(files: Sequence[tuple[Path, int]], mode: str, first: Path) -> RawSplit:
    """Reads the images of (file, label) pairs in a Pillow mode, all of the size of the image `first`.

    The pixels are as stored, without the rotation of EXIF: that is how the papers read Tiny-ImageNet.

    Raises:
      ValueError: naming the file that cannot be read or has another size.
    """
    shape = decode_image(first, mode).shape
    images = np.empty((len(files), *shape), np.uint8)
    for i, (file, _) in enumerate(files):
        pixels = decode_image(file, mode)
        _check_size(file, pixels, first, shape)
        images[i] = pixels
    return RawSplit(images, np.array([label for _, label in files], np.int32))


def decode_image(file: Path | BinaryIO, mode: str) -> np.ndarray:
    """Reads pixels uint8 [H, W, C] as stored, converted to a Pillow mode.

    Raises:
      ValueError: naming the file, when it is no image, damaged, or of more than 8 bits per channel.
    """
    with _opened(file) as image:
        return _pixels(image if image.mode == mode else image.convert(mode))


def is_image(file: Path) -> bool:
    """Returns whether a file is an image, by its extension or else by its content.

    A damaged file with the extension of an image format counts as an image: reading it then names it
    in an error.
    """
    from PIL import Image, UnidentifiedImageError  # slow to import, and not needed by all sources

    Image.init()
    formats = Image.registered_extensions()
    if formats.get(file.suffix.lower()) in Image.OPEN:
        return True
    try:
        with Image.open(file):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # identified, and damaged: reading names the file
        return True


@contextlib.contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[Any]:
    """Opens a file with Pillow; every failure in the block becomes one line that names the file."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode.startswith(_WIDE_MODES):
                raise ValueError(f"more than 8 bits per channel (mode {image.mode})")
            yield image
    except Exception as error:  # decoders of damaged files raise many types
        where = f"{file}: " if isinstance(file, Path) else ""
        first_line = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{where}cannot be read as an image: {first_line}") from None


def _view(file: Path) -> tuple[np.ndarray, bool, bool]:
    """Reads pixels as a viewer shows them, and whether the file is transparent and animated."""
    from PIL import Image, ImageOps

    with _opened(file) as image:
        grey = image.mode in _GREY_MODES
        upright = ImageOps.exif_transpose(image)
        transparent = False
        if upright.has_transparency_data:
            upright = upright.convert("RGBA")
            transparent = bool((np.asarray(upright)[..., 3] < 255).any())
            if transparent:
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
        pixels = _pixels(upright.convert("L" if grey else "RGB"))
        # the second image in a camera's MPO file is a preview
        animated = image.format != "MPO" and getattr(image, "n_frames", 1) > 1
    return pixels, transparent, animated


def _pixels(image: Any) -> np.ndarray:
    """Returns the pixels of a Pillow image, uint8 [H, W, C]."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _check_size(file: Path, pixels: np.ndarray, first: Path, shape: tuple[int, ...]) -> None:
    if pixels.shape[:2] != shape[:2]:
        raise ValueError(
            f"{file}: {pixels.shape[1]} x {pixels.shape[0]} pixels, "
            f"but {first} has {shape[1]} x {shape[0]}; all images must be of one size: resize them"
        )
