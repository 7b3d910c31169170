"""The augmentation ops of DSA, as deterministic and differentiable functions of their parameters.

Images ``x`` are floats ``[N, H, W, C]`` of any height and width. A parameter is one number for the whole
batch, or one value per image ``[N]``. Pixels outside the image count as 0. With the centre at row
``r = (H - 1) / 2`` and column ``c = (W - 1) / 2``, the output at row i and column j is:

============================  =======================================================================
``flip(x, flip)``             the image mirrored along the width where ``flip`` is true
``scale(x, sx, sy)``          the bilinear sample at ``(r + sy (i - r), c + sx (j - c))``
``rotate(x, theta)``          the bilinear sample at the position turned by ``theta`` radians
``crop(x, tx, ty)``           ``x[i + tx, j + ty]``: a translation by whole pixels
``cutout(x, ox, oy, size)``   0 in a rectangle about row ``ox`` and column ``oy``
``brightness(x, b)``          ``x + b``
``saturation(x, s)``          ``(x - m) s + m``, m the mean over the channels of each pixel
``contrast(x, k)``            ``(x - m) k + m``, m the mean of each image
``color(x, b, s, k)``         brightness, then saturation, then contrast
============================  =======================================================================

Every op is affine in the image and works under ``jit``, ``vmap`` and ``grad`` to any order. Its first
gradient contains no scatter (slow on a TPU, and a sum in random order on a GPU).

All ops raise a ``ValueError`` for images that are not floats ``[N, H, W, C]`` of at least one pixel and
channel, and for a parameter that is neither a scalar nor one value per image.

Reference: Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021,
https://arxiv.org/abs/2102.08259; square images are tested against the outputs of the original code.
Deviation: `rotate` turns in pixels, the original in coordinates that run from -1 to 1 along both axes. For
squares the two are equal. Any other image is sheared by the original; here it turns without distortion.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jdd.augment.sampling import hat, pixel_offsets, rotation, translation
from jdd.validation import at_least


def flip(x: Array, flip: ArrayLike) -> Array:
    """Mirrors images along the width.

    Args:
      x: images ``[N, H, W, C]``.
      flip: whether to; a boolean, or one per image.

    Returns:
      Images of the same shape.

    >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> flip(x, True)[0, 0, :, 0].tolist()
    [2.0, 1.0, 0.0]
    """
    check_images(x)
    return jnp.where(_per_image(flip, x, jnp.bool_), x[:, :, ::-1], x)


def scale(x: Array, sx: ArrayLike, sy: ArrayLike) -> Array:
    """Resamples images about their centre, bilinearly.

    Args:
      x: images ``[N, H, W, C]``.
      sx: factor along the columns; above 1 shrinks the content, below 1 enlarges it.
      sy: factor along the rows.

    Returns:
      Images of the same shape.

    >>> scale(jnp.ones((1, 1, 4, 1)), 2, 1)[0, 0, :, 0].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    check_images(x)
    rows, columns = pixel_offsets(x)

    def resample(x: Array, s: ArrayLike, offset: Array, shared: str, per_image: str) -> Array:
        # Bilinear sampling separates here, and the transpose of a matrix needs no scatter.
        factor = _parameter(s, x, offset.dtype)
        batch = (1,) * factor.ndim
        target, source = offset.reshape(*batch, -1, 1), offset.reshape(*batch, 1, -1)
        weight = hat(factor[..., None, None] * target - source).astype(x.dtype)
        return jnp.einsum(per_image if factor.ndim else shared, weight, x, precision="highest")

    x = resample(x, sy, rows, "ih,nhwc->niwc", "nih,nhwc->niwc")
    return resample(x, sx, columns, "jw,nhwc->nhjc", "njw,nhwc->nhjc")


def rotate(x: Array, theta: ArrayLike) -> Array:
    """Turns images about their centre, bilinearly and without distortion.

    Args:
      x: images ``[N, H, W, C]``.
      theta: angle in radians. With y and x the distances of a pixel from the centre, the sample is taken
        at ``sin(theta) x + cos(theta) y`` and ``cos(theta) x - sin(theta) y``.

    Returns:
      Images of the same shape: what turns out of the frame is lost.

    >>> rotate(jnp.arange(3.0).reshape(1, 1, 3, 1), jnp.pi)[0, 0, :, 0].round(3).tolist()
    [2.0, 1.0, 0.0]
    """
    check_images(x)
    return rotation(x, _parameter(theta, x, pixel_offsets(x)[0].dtype))


def crop(x: Array, tx: ArrayLike, ty: ArrayLike) -> Array:
    """Translates images by whole pixels: ``out[i, j] = x[i + tx, j + ty]``.

    Args:
      x: images ``[N, H, W, C]``.
      tx: integer, along the rows.
      ty: integer, along the columns.

    Returns:
      Images of the same shape, 0 where the translation brought nothing in.

    >>> crop(jnp.arange(9.0).reshape(1, 3, 3, 1), 1, 0)[0, :, 0, 0].tolist()
    [3.0, 6.0, 0.0]
    """
    check_images(x)
    return translation(x, _parameter(tx, x, jnp.int32), _parameter(ty, x, jnp.int32))


def cutout(x: Array, ox: ArrayLike, oy: ArrayLike, size: int | tuple[int, int]) -> Array:
    """Sets a rectangle to zero.

    Args:
      x: images ``[N, H, W, C]``.
      ox: integer, the row of the centre: the first row is ``ox - height // 2``.
      oy: integer, the column of the centre: the first column is ``oy - width // 2``.
      size: height and width of the rectangle, or the side of a square.

    Returns:
      Images of the same shape.

    Raises:
      ValueError: if a size is no whole number of at least 0.

    >>> cutout(jnp.arange(9.0).reshape(1, 3, 3, 1), 1, 1, (1, 2))[0, 1, :, 0].tolist()
    [0.0, 0.0, 5.0]
    """
    check_images(x)
    sizes = size if isinstance(size, tuple) else (size, size)
    if len(sizes) != 2:
        raise ValueError(f"size must be a whole number or a pair (height, width), got {size!r}")

    def covered(centre: ArrayLike, axis: int) -> Array:
        extent = at_least("size", sizes[axis - 1], 0)
        start = _parameter(centre, x, jnp.int32).reshape(-1, 1) - extent // 2
        index = jnp.arange(x.shape[axis])[None]
        return (index >= start) & (index < start + extent)

    hole = covered(ox, 1)[:, :, None, None] & covered(oy, 2)[:, None, :, None]
    return jnp.where(hole, 0, x)


def brightness(x: Array, b: ArrayLike) -> Array:
    """Adds a number: ``x + b``.

    Args:
      x: images ``[N, H, W, C]``.
      b: what is added.

    Returns:
      Images of the same shape.

    >>> brightness(jnp.ones((1, 1, 1, 1)), 0.5).ravel().tolist()
    [1.5]
    """
    check_images(x)
    return x + _per_image(b, x, x.dtype)


def saturation(x: Array, s: ArrayLike) -> Array:
    """Scales the distance of each channel from the grey of its pixel: ``(x - m) s + m``.

    Args:
      x: images ``[N, H, W, C]``; those of one channel stay as they are.
      s: factor; 0 makes images grey. m is the mean over the channels of each pixel.

    Returns:
      Images of the same shape.

    >>> saturation(jnp.array([0.0, 1.0, 2.0]).reshape(1, 1, 1, 3), 0.5).ravel().tolist()
    [0.5, 1.0, 1.5]
    """
    check_images(x)
    # Sums over an axis as short as this are slow on a CPU (docs/performance-choices.md).
    channels = [x[..., i : i + 1] for i in range(x.shape[3])]
    mean = sum(channels[1:], start=channels[0]) / x.shape[3]
    return (x - mean) * _per_image(s, x, x.dtype) + mean


def contrast(x: Array, k: ArrayLike) -> Array:
    """Scales the distance of each value from the mean of its image: ``(x - m) k + m``.

    Args:
      x: images ``[N, H, W, C]``.
      k: factor. m is the mean over height, width and channels of each image.

    Returns:
      Images of the same shape.

    >>> contrast(jnp.array([0.0, 2.0]).reshape(1, 1, 2, 1), 2).ravel().tolist()
    [-1.0, 3.0]
    """
    check_images(x)
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    return (x - mean) * _per_image(k, x, x.dtype) + mean


def color(x: Array, b: ArrayLike, s: ArrayLike, k: ArrayLike) -> Array:
    """Changes brightness, then saturation, then contrast.

    Args:
      x: images ``[N, H, W, C]``.
      b: see `brightness`.
      s: see `saturation`.
      k: see `contrast`.

    Returns:
      Images of the same shape.

    >>> color(jnp.array([0.0, 2.0]).reshape(1, 1, 2, 1), 1, 1, 2).ravel().tolist()
    [0.0, 4.0]
    """
    return contrast(saturation(brightness(x, b), s), k)


def check_images(x: Array) -> None:
    """Refuses what is not a batch of images.

    Args:
      x: floats ``[N, H, W, C]``, where only N may be 0.

    Raises:
      ValueError: if it is anything else.

    >>> check_images(jnp.ones((2, 3, 4), jnp.float32))
    Traceback (most recent call last):
        ...
    ValueError: images must be floats [N, H, W, C] with H, W, C at least 1, got float32 (2, 3, 4)
    """
    if x.ndim != 4 or 0 in x.shape[1:] or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"images must be floats [N, H, W, C] with H, W, C at least 1, got {x.dtype} {x.shape}"
        )


def _parameter(value: ArrayLike, x: Array, dtype: jax.typing.DTypeLike) -> Array:
    p = jnp.asarray(value).astype(dtype)
    if p.shape not in ((), (x.shape[0],)):
        raise ValueError(
            f"an augmentation parameter must be a scalar or one value per image ({x.shape[0]},), "
            f"got shape {p.shape}"
        )
    return p


def _per_image(value: ArrayLike, x: Array, dtype: jax.typing.DTypeLike) -> Array:
    return _parameter(value, x, dtype).reshape(-1, 1, 1, 1)
