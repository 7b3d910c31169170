"""Multi-formation: one stored image is cut into tiles, each of which becomes a training image (IDC)."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd.choice import register
from jdd.data.batch import Batch
from jdd.synthetic.parametrisation import Parametrisation, Params, check_images, class_labels
from jdd.validation import at_least


@register
def multi_formation(factor: int = 2) -> Parametrisation:
    """Each stored image holds factor x factor tiles; decoding enlarges every tile to a whole image.

    A class with n stored images trains networks with n * factor**2 images. Decoding cuts the image
    into crops of ceil(side / factor) pixels and enlarges them bilinearly (half-pixel centres). Where
    the side is not a multiple of the factor, 0.5 is padded at the bottom and on the right. The decoded
    images of a class are in crop-major order: crop (0, 0) of all its images, then crop (0, 1), ...

    A run starts at mosaics: stored image k holds, tile by tile, factor**2 initial images, reduced to
    every (side / tile)-th pixel. Pixels are raw, from 0 to 1, and are clamped as in the authors' code:
    once for each network, before its first update. Later updates may leave [0, 1], and so may the
    final set: on the digits a fifth of the pixels do, by at most 0.04, and clamping after every
    update changes no accuracy beyond the noise (docs/results.md, "Clamping").

    Args:
      factor: tiles along each side; 1 decodes to the stored images themselves (the authors' IDC-I).

    Raises:
      ValueError: if factor is below 1; from ``init`` and ``decode``, if it is above the shorter side of
        the images, or leaves crops below 2 pixels or wholly outside the image; from ``init``, if the
        initial images of a class are not a multiple of factor**2.

    Reference: Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML
    2022, https://arxiv.org/abs/2205.14959. Where the factor is 3 or more and does not divide the side,
    the authors cut mosaics and crops at different pixels (side 28, factor 3: at 0, 10, 19 and at 0, 10,
    20); so does this.

    >>> two = multi_formation(2)
    >>> params = two.init(jax.random.key(0), jnp.zeros((10, 4, 28, 28, 1)))
    >>> params["images"].shape, two.decode(params, 0).images.shape, two.num_floats(params)
    ((10, 1, 28, 28, 1), (10, 4, 28, 28, 1), 7840)
    """
    at_least("factor", factor, 1)

    def init(key: Array, images: Array) -> Params:
        del key
        check_images(images)
        check_crops(factor, images.shape[2:4])
        if images.shape[1] % factor**2:
            raise ValueError(
                f"multi_formation({factor}) starts from a multiple of {factor**2} images of each class, "
                f"got {images.shape[1]}"
            )
        return {"images": mosaic(images, factor)}

    def decode(params: Mapping[str, Array], variant: Array | int) -> Batch:
        del variant
        images = params["images"]
        check_crops(factor, images.shape[2:4])
        decoded = enlarged_crops(images, factor)
        return Batch(decoded, class_labels(*decoded.shape[:2]))

    def clamped(params: Mapping[str, Array]) -> Params:
        return {"images": jnp.clip(params["images"], 0, 1)}

    return Parametrisation(
        init,
        decode,
        space="raw01",
        tiles=factor**2,
        project=clamped,
        projected="network",
    )


def check_crops(factor: int, size: tuple[int, ...]) -> None:
    """Refuses a factor that images of this size cannot hold.

    Args:
      factor: tiles along each side.
      size: height and width of the images.

    Raises:
      ValueError: if the factor is above the shorter side, or a crop has fewer than 2 pixels along a
        side or none of the image.

    >>> check_crops(5, (8, 8))
    Traceback (most recent call last):
        ...
    ValueError: multi_formation(5) leaves crops outside the image of 8x8 pixels: choose a smaller factor
    """
    height, width = size
    if factor > min(size):
        raise ValueError(
            f"multi_formation({factor}): factor must be at most the shorter side of the image, "
            f"{min(size)}, got {factor}"
        )
    crops = [-(-side // factor) for side in size]
    where = f"the image of {height}x{width} pixels"
    if factor > 1 and min(crops) < 2:
        raise ValueError(
            f"multi_formation({factor}) leaves crops of {crops[0]}x{crops[1]} pixels in {where}, "
            "at least 2x2 are needed: choose a smaller factor"
        )
    if any((factor - 1) * crop >= side for crop, side in zip(crops, size, strict=True)):
        raise ValueError(
            f"multi_formation({factor}) leaves crops outside {where}: choose a smaller factor"
        )


def enlarged_crops(images: Array, factor: int) -> Array:
    """The crops of images, each enlarged bilinearly to the size of the image.

    Args:
      images: ``[..., n, H, W, ch]``.
      factor: crops along each side.

    Returns:
      ``[..., factor**2 * n, H, W, ch]``, crop-major.

    >>> halves = enlarged_crops(jnp.array([[[[0.0], [1.0]], [[2.0], [3.0]]]]), 2)
    >>> halves[:, 0, 0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    *lead, n, height, width, channels = images.shape
    fill = [(0, 0)] * (len(lead) + 1) + [(0, -height % factor), (0, -width % factor), (0, 0)]
    padded = jnp.pad(images, fill, constant_values=0.5)
    h, w = padded.shape[-3] // factor, padded.shape[-2] // factor
    cut = padded.reshape(*lead, n, factor, h, factor, w, channels)
    crops = jnp.moveaxis(cut, (-5, -3), (-6, -5)).reshape(*lead, factor**2 * n, h, w, channels)
    return jax.image.resize(crops, (*crops.shape[:-3], height, width, channels), "bilinear")


def mosaic(images: Array, factor: int) -> Array:
    """Images reduced to tiles and put together: tile k of the n mosaics is of images k n to (k + 1) n.

    Args:
      images: ``[..., n * factor**2, H, W, ch]``.
      factor: tiles along each side.

    Returns:
      ``[..., n, H, W, ch]``.

    >>> mosaic(jnp.arange(4.0).reshape(4, 1, 1, 1) * jnp.ones((4, 2, 2, 1)), 2)[0, ..., 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    height, width = images.shape[-3:-1]
    n = images.shape[-4] // factor**2
    rows = []
    for i, h in enumerate(tiles_of(height, factor)):
        row = []
        for j, w in enumerate(tiles_of(width, factor)):
            k = i * factor + j
            tile = images[..., k * n : (k + 1) * n, :, :, :]
            row.append(tile[..., _nearest(height, h), :, :][..., _nearest(width, w), :])
        rows.append(jnp.concatenate(row, -2))
    return jnp.concatenate(rows, -3)


def tiles_of(side: int, factor: int) -> list[int]:
    """The lengths of the tiles along a side; the first ones are longer where it does not divide.

    >>> tiles_of(17, 3)
    [6, 6, 5]
    """
    return [side // factor + (i < side % factor) for i in range(factor)]


def _nearest(side: int, length: int) -> np.ndarray:
    """The pixels that remain: index floor(i side / length), which ``jax.image.resize`` does not take."""
    return np.arange(length) * side // length
