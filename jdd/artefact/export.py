"""All images of a set as files for other programs: a PNG each, in a folder for each class, or one .npz."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jdd.artefact.checks import require
from jdd.artefact.distilled_set import DistilledSet
from jdd.atomic_write import write_atomically
from jdd.file_names import file_names


def export_images(distilled: DistilledSet, folder: str | Path) -> int:
    """Writes every image in every variant as ``CLASS/IMAGE.png`` or ``CLASS/IMAGE-VARIANT.png``.

    Pixels are rounded to whole numbers from 0 to 255, and clipped there: what is outside of it is lost. Files
    appear under their name all at once: what is interrupted leaves nothing.

    Args:
      distilled: the set.
      folder: that is made; it may exist if it is empty.

    Returns:
      The number of files.

    Raises:
      ValueError: if the folder has files, its own folder does not exist, labels are soft, images have other than
        1 or 3 channels, or this process does not know the parametrisation.

    >>> import tempfile
    >>> from jdd.artefact import Metadata
    >>> metadata = Metadata("dm", "toy", ("a cat", "dog"), 1, "normalised", (0.5,), (0.25,))
    >>> toy = DistilledSet.from_images(np.zeros((2, 8, 8, 1), np.float32), np.arange(2), metadata)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     print(export_images(toy, Path(place, "images")))
    ...     sorted(str(p.relative_to(place)) for p in Path(place).rglob("*.png"))
    2
    ['images/a-cat/0.png', 'images/dog/0.png']
    """
    folder = check_export(distilled, folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        number = 0
        for name, content in _pictures(distilled):
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            number += 1
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return number


def export_arrays(distilled: DistilledSet, file: str | Path) -> int:
    """Writes every image in every variant to one ``.npz``, which loses nothing.

    The arrays are ``images`` (float32 ``[N, V, H, W, channels]``, as networks see them), ``pixels`` (uint8, for
    people), ``labels`` (``[N]``, or probabilities ``[N, K]``), ``class_names``, ``mean`` and ``std``; of a whitened set
    also ``whitening_mean`` ``[D]`` and ``whitening_matrix`` ``[D, D]``, which test images must go through.

    Args:
      distilled: the set, with V variants of each of N images.
      file: that is written.

    Returns:
      The number of images, N V.

    Raises:
      ValueError: if the file exists, its folder does not, or this process does not know the parametrisation.

    >>> import tempfile
    >>> from jdd.artefact import Metadata
    >>> metadata = Metadata("dm", "toy", ("cat", "dog"), 1, "normalised", (0.5,), (0.25,))
    >>> toy = DistilledSet.from_images(np.zeros((2, 8, 8, 1), np.float32), np.arange(2), metadata)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     export_arrays(toy, Path(place, "toy.npz"))
    2
    """
    file = check_export(distilled, file)
    images, pixels = _with_variants(distilled.normalised()), _with_variants(distilled.pixels())
    whitening: dict[str, Any] = {}
    if distilled.whitening is not None:
        mean, matrix = distilled.whitening.mean, distilled.whitening.matrix
        whitening = {"whitening_mean": np.asarray(mean), "whitening_matrix": np.asarray(matrix)}
    content = io.BytesIO()
    np.savez(
        content,
        images=images,
        pixels=pixels,
        labels=distilled.labels,
        class_names=np.array(distilled.metadata.class_names),
        mean=np.array(distilled.metadata.mean, np.float32),
        std=np.array(distilled.metadata.std, np.float32),
        **whitening,
    )
    write_atomically(file, content.getvalue())
    return images.shape[0] * images.shape[1]


def check_export(distilled: DistilledSet, place: str | Path) -> Path:
    """Refuses a place or a set that cannot be exported: a ``.npz`` takes any set, a folder of pictures does not.

    Returns:
      The place, as a path.

    Raises:
      ValueError: as `export_images` and `export_arrays`.
    """
    place = Path(place)
    require(place.parent.is_dir(), f"there is no folder {place.parent}")
    if place.suffix == ".npz":
        require(not place.exists(), f"{place} already exists")
        return place
    is_empty = place.is_dir() and not any(place.iterdir())
    require(is_empty or not place.exists(), f"{place} already exists")
    hint = "export to a FILE.npz, which holds any set"
    require(
        distilled.labels.ndim == 1, f"the set has soft labels, and a folder is one class: {hint}"
    )
    channels = distilled.image_shape[-1]
    require(channels in (1, 3), f"images have {channels} channels, a PNG 1 or 3: {hint}")
    return place


def _pictures(distilled: DistilledSet) -> Iterator[tuple[str, bytes]]:
    """The name and the content of each file."""
    folders = file_names(distilled.metadata.class_names)
    of_class = len(distilled.labels) // distilled.num_classes
    digits = len(str(of_class - 1))
    for i, variants in enumerate(_with_variants(distilled.pixels())):
        label, image = divmod(i, of_class)
        width = len(str(len(variants) - 1))
        for v, pixels in enumerate(variants):
            variant = f"-{v:0{width}}" if len(variants) > 1 else ""
            content = io.BytesIO()
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(
                content, "PNG"
            )
            yield f"{folders[label]}/{image:0{digits}}{variant}.png", content.getvalue()


def _with_variants(images: np.ndarray) -> np.ndarray:
    return images if images.ndim == 5 else images[:, None]
