"""The augmentation with which Dataset Condensation (DC) trains the networks that evaluate a set."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jdd.augment.affine_switch import affine_switch
from jdd.augment.dsa import integer, parse_strategy
from jdd.augment.ops import check_images

DC_OPS = ("crop", "scale", "rotate", "noise")
#: The original's strategy for MNIST; it uses "crop_noise" for networks with BatchNorm, and none elsewhere.
DC_STRATEGY = "crop_scale_rotate"


@dataclass(frozen=True)
class DCRatios:
    """Strengths of the ops of `dc_augment`. The defaults are those of the original code.

    Attributes:
      crop: pixels of padding p, at least 1. The offset along each axis is a uniform integer from 0 to
        2p - 1.
      scale: relative change r, from 0 up to, but not, 1. The new height is the whole part of a uniform
        number between (1 - r) and (1 + r) times the height; so is the new width, drawn on its own.
      rotate: from 1 to 180. The angle is a uniform integer from -rotate to rotate - 1, in degrees.
      noise: standard deviation, at least 0.

    Raises:
      ValueError: if a value is out of range.

    >>> DCRatios(rotate=15).rotate
    15
    """

    crop: int = 4
    scale: float = 0.2
    rotate: int = 45
    noise: float = 0.001

    def __post_init__(self) -> None:
        if not isinstance(self.crop, int) or self.crop < 1:
            raise ValueError(f"crop must be a whole number of at least 1, got {self.crop}")
        if not isinstance(self.rotate, int) or not 1 <= self.rotate <= 180:
            raise ValueError(f"rotate must be a whole number from 1 to 180, got {self.rotate}")
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale must be at least 0 and below 1, got {self.scale}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise must be at least 0 and finite, got {self.noise}")


class _Draw(NamedTuple):
    """What the ops need besides one image [1, H, W, C]; drawn per image, except for ``fill``."""

    u: Array  # [2], uniform
    noise_key: Any  # None where the strategy has no noise
    fill: Array  # [C], means of the whole batch


@functools.partial(jax.jit, static_argnames=("strategy", "ratios"))
def dc_augment(
    key: Array, images: Array, strategy: str = DC_STRATEGY, *, ratios: DCRatios = DCRatios()
) -> Array:
    """Applies one op to each *image*, drawn uniformly from the strategy.

    The ops are, with m the mean of each channel over the batch and the original's strengths:

    - ``crop``: pads by 4 pixels of m, and cuts at an offset of 0 to 7 (8 is excluded, as in the original)
    - ``scale``: resizes to 0.8 to 1.2 times the height and the width by the nearest pixel; then pads with
      *zero*, or cuts, about the centre
    - ``rotate``: turns by -45 to 44 degrees with a cubic spline, as ``scipy.ndimage.rotate``: on a canvas
      that holds the whole turned image, of which the centre is cut (half a pixel off where the two sizes
      differ by an odd number). Filled with the mean of m
    - ``noise``: adds 0.001 N(0, 1)

    The images are looped over, and each goes through its op only. The gradient with respect to the
    images treats m as a constant, as the original's arithmetic does.

    Args:
      key: typed PRNG key.
      images: normalised floats ``[N, H, W, C]``, of any height and width.
      strategy: ops joined by "_"; static.
      ratios: strengths of the ops; static.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: if the strategy names an unknown op, or the images are of another form.

    Reference: the code of Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021,
    https://arxiv.org/abs/2006.05929. Deviations: JAX's random numbers in place of numpy's. Of images that
    are not square, the new width is relative to the width (in the original to the height), and a turned
    canvas that is smaller than the image along an axis is filled up (the original fails).

    >>> dc_augment(jax.random.key(0), jnp.ones((2, 8, 12, 1)), "crop_noise").shape
    (2, 8, 12, 1)
    """
    names = parse_strategy(strategy, DC_OPS)
    if not names:
        return images
    check_images(images)
    count = images.shape[0]
    draw_key, noise_key = jax.random.split(key)
    u = jax.random.uniform(draw_key, (count, 3), jnp.float32)
    index = integer(u[:, 2], len(names))
    noise_keys = jax.random.split(noise_key, count) if "noise" in names else None
    fill = lax.stop_gradient(images.mean(axis=(0, 1, 2)))
    apply = _any_of(names, ratios)

    def augment(each: tuple[Array, Array, Any, Array]) -> Array:
        index, u, noise_key, image = each
        return apply(index, _Draw(u, noise_key, fill), image[None])[0]

    # Evaluation at IPC 1 and 10 has 10 and 100 images: a loop that runs one op each costs less than all
    # ops for all images and a selection.
    return lax.map(augment, (index, u[:, :2], noise_keys, images))


@functools.cache
def _any_of(names: tuple[str, ...], ratios: DCRatios) -> Callable[[Array, _Draw, Array], Array]:
    table = {"crop": _crop, "scale": _scale, "rotate": _rotate, "noise": _noise}
    return affine_switch([functools.partial(table[name], ratios) for name in names])


def _crop(ratios: DCRatios, draw: _Draw, x: Array) -> Array:
    return shifted_crop(x, integer(draw.u, 2 * ratios.crop), draw.fill, pad=ratios.crop)


def _scale(ratios: DCRatios, draw: _Draw, x: Array) -> Array:
    extent = jnp.asarray(x.shape[1:3], draw.u.dtype)
    size = (1 - ratios.scale + 2 * ratios.scale * draw.u) * extent
    return nearest_scale(x, jnp.floor(size).astype(jnp.int32), ratio=ratios.scale)


def _rotate(ratios: DCRatios, draw: _Draw, x: Array) -> Array:
    angle = integer(draw.u[0], 2 * ratios.rotate) - ratios.rotate
    return spline_rotate(x, angle, draw.fill.mean(), limit=ratios.rotate)


def _noise(ratios: DCRatios, draw: _Draw, x: Array) -> Array:
    return x + ratios.noise * jax.random.normal(draw.noise_key, x.shape, x.dtype)


def shifted_crop(x: Array, offset: Array, fill: Array, *, pad: int) -> Array:
    """Pads images, and cuts images of their size out.

    Args:
      x: ``[N, H, W, C]``.
      offset: where to cut, integers (row, column) from 0 to 2 pad.
      fill: ``[C]``, the value of the padding.
      pad: pixels on each side; static.

    Returns:
      ``[N, H, W, C]``.

    >>> x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    >>> shifted_crop(x, jnp.array([1, 0]), jnp.array([9.0]), pad=1)[0, ..., 0].tolist()
    [[9.0, 0.0], [9.0, 2.0]]
    """
    inside = []
    for axis in (0, 1):
        extent = x.shape[axis + 1]
        source = jnp.arange(extent) + offset[axis] - pad
        inside.append((source >= 0) & (source < extent))
    around = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    zero = jnp.zeros((), offset.dtype)
    cut = lax.dynamic_slice(around, (zero, offset[0], offset[1], zero), x.shape)
    return jnp.where(_both(*inside), cut, fill.reshape(1, 1, 1, -1))


def nearest_scale(x: Array, size: Array, *, ratio: float) -> Array:
    """Resizes images by the nearest pixel, about their centre, within a frame of their size.

    As in ``torch.nn.functional.interpolate``, pixel i of n reads pixel ``floor(i * extent / n)``, computed
    in float32. What a smaller image does not cover is zero.

    Args:
      x: ``[N, H, W, C]``.
      size: new height and width, integers; limited to ``(1 - ratio)`` to ``(1 + ratio)`` times the old.
      ratio: largest relative change; static.

    Returns:
      ``[N, H, W, C]``.

    >>> x = jnp.arange(1.0, 5.0).reshape(1, 1, 4, 1)
    >>> nearest_scale(x, jnp.array([1, 2]), ratio=0.5).ravel().tolist()
    [0.0, 1.0, 3.0, 0.0]
    """
    height, width = x.shape[1:3]
    new_height, new_width = (
        jnp.clip(size[axis], max(int((1 - ratio) * extent), 1), int((1 + ratio) * extent))
        for axis, extent in enumerate((height, width))
    )
    # The original centres the resized image, and then the cut, in a square that holds both images.
    canvas = jnp.maximum(jnp.maximum(new_height, new_width), max(height, width))
    rows, row_inside = _nearest(height, new_height, canvas, ratio)
    columns, column_inside = _nearest(width, new_width, canvas, ratio)
    return jnp.where(_both(row_inside, column_inside), x[:, rows[:, None], columns[None, :]], 0)


def _nearest(extent: int, size: Array, canvas: Array, ratio: float) -> tuple[Array, Array]:
    """Along one axis: the pixel that each output pixel reads, and whether it lies in the resized image."""
    smallest, largest = int((1 - ratio) * extent), int((1 + ratio) * extent)
    sizes = np.arange(smallest, largest + 1, dtype=np.float32)[:, None]
    table = np.arange(largest, dtype=np.float32) * (np.float32(extent) / np.maximum(sizes, 1))
    table = jnp.asarray(np.minimum(table.astype(np.int32), extent - 1))
    position = jnp.arange(extent) + (canvas - extent) // 2 - (canvas - size) // 2
    inside = (position >= 0) & (position < size)
    return table[size - smallest, jnp.clip(position, 0, largest - 1)], inside


def _both(rows: Array, columns: Array) -> Array:
    """[1, H, W, 1], true where the row [H] and the column [W] are."""
    return rows[None, :, None, None] & columns[None, None, :, None]


def spline_rotate(x: Array, angle: Array, fill: Array, *, limit: int = 180) -> Array:
    """Turns images by whole degrees with a cubic spline, about their centre.

    It is ``scipy.ndimage.rotate(x, angle, axes=(1, 2), cval=fill)`` with the centre cut out: a cubic
    B-spline with mirrored ends, by its coefficients and then 4 x 4 taps.

    Args:
      x: ``[N, H, W, C]``.
      angle: integer, in degrees, from -limit to limit.
      fill: the value of positions outside the pixel centres of the image.
      limit: largest angle; static.

    Returns:
      ``[N, H, W, C]``.

    >>> x = jnp.arange(3.0).reshape(1, 1, 3, 1)
    >>> spline_rotate(x, jnp.array(180), jnp.array(0.0)).ravel().round(3).tolist()
    [2.0, 1.0, 0.0]
    """
    height, width = x.shape[1:3]
    middle_row, middle_column = (height - 1) / 2, (width - 1) / 2
    cos, sin, row_shift, column_shift = _angles(height, width, limit)
    cos, sin = jnp.asarray(cos)[angle + limit], jnp.asarray(sin)[angle + limit]

    def positions(extent: int, shift: np.ndarray) -> Array:
        offset = jnp.arange(extent, dtype=jnp.float32) - (extent - 1) / 2
        return offset + jnp.asarray(shift)[angle + limit]

    down = positions(height, row_shift)
    # One array for squares: the compiler then rounds as it did when it could assume one.
    along = down if height == width else positions(width, column_shift)
    rows, columns = down[:, None], along[None, :]
    row = cos * rows + sin * columns
    column = cos * columns - sin * rows
    inside = (jnp.abs(row) <= middle_row) & (jnp.abs(column) <= middle_column)

    row_prefilter, column_prefilter = (jnp.asarray(_prefilter(n), x.dtype) for n in (height, width))
    x = jnp.einsum("ih,nhwc->niwc", row_prefilter, x, precision="highest")
    x = jnp.einsum("jw,nhwc->nhjc", column_prefilter, x, precision="highest")

    top, left = jnp.floor(row + middle_row), jnp.floor(column + middle_column)
    out = jnp.zeros_like(x)
    for dr, dc in itertools.product(range(-1, 3), repeat=2):
        r, c = top + dr, left + dc
        weight = _cubic(row - (r - middle_row)) * _cubic(column - (c - middle_column))
        taken = x[:, _mirror(r, height), _mirror(c, width)]
        out += weight[None, ..., None].astype(x.dtype) * taken
    return jnp.where(inside[None, ..., None], out, fill)


def _angles(height: int, width: int, limit: int) -> tuple[np.ndarray, ...]:
    """For each angle from -limit to limit degrees: cosine, sine, and shift of the rows and of the columns."""
    # Imported where it is used: it would make every import of jdd slower.
    from scipy.special import cosdg, sindg

    degrees = np.arange(-limit, limit + 1, dtype=np.float64)
    # Exact at right angles, where rounding would move the ends of an image one pixel high out of it.
    cos, sin = cosdg(degrees), sindg(degrees)

    def shift(extent: int, other: int) -> np.ndarray:
        # Extent of the canvas that holds the turned image. Cutting its centre out by whole pixels leaves
        # half a pixel of shift where the two differ by an odd number.
        canvas = (extent * np.abs(cos) + other * np.abs(sin) + 0.5).astype(int)
        return (canvas - extent) // 2 - (canvas - extent) / 2

    return tuple(
        t.astype(np.float32) for t in (cos, sin, shift(height, width), shift(width, height))
    )


def _prefilter(extent: int) -> np.ndarray:
    """The matrix from samples to cubic B-spline coefficients: inverse of the spline at the samples."""
    if extent == 1:
        return np.ones((1, 1))
    at_samples = np.zeros((extent, extent))
    for i in range(extent):
        for j, weight in ((i - 1, 1 / 6), (i, 4 / 6), (i + 1, 1 / 6)):
            at_samples[i, extent - 1 - abs(extent - 1 - abs(j))] += weight
    return np.linalg.inv(at_samples)


def _cubic(t: Array) -> Array:
    """The cubic B-spline, zero from a distance of 2."""
    t = jnp.abs(t)
    near, far = (4 + t * t * (3 * t - 6)) / 6, jnp.maximum(2 - t, 0) ** 3 / 6
    return jnp.where(t < 1, near, far)


def _mirror(index: Array, extent: int) -> Array:
    """Reflects at the first and last pixel. An index that is still outside has weight zero or is filled."""
    last = extent - 1
    return jnp.clip(last - jnp.abs(last - jnp.abs(index)), 0, last).astype(jnp.int32)
