"""The augmentation with which Dataset Condensation (DC) trains its *evaluation* networks (never DSA's)."""

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

DC_OPS = ("crop", "scale", "rotate", "noise")
#: The original's strategy for MNIST; it uses "crop_noise" for networks with BatchNorm, and none elsewhere.
DC_STRATEGY = "crop_scale_rotate"


@dataclass(frozen=True)
class DCRatios:
    """Strengths of the ops of `dc_augment`; the defaults are the original's.

    - ``crop``: pixels of padding p; the offset is a uniform integer in [0, 2p - 1] per axis
    - ``scale``: relative change r; height and width are ``int(U(1 - r, 1 + r) side)``
    - ``rotate``: the angle is a uniform integer in [-rotate, rotate - 1], in degrees
    - ``noise``: standard deviation

    Raises ``ValueError`` for a value out of range.
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
    """What the ops need besides one image [1, side, side, C]; drawn per image but for ``fill``."""

    u: Array  # [2], uniform
    noise_key: Any  # None where no op asks for it
    fill: Array  # [C], means of the whole batch


@functools.partial(jax.jit, static_argnames=("strategy", "ratios"))
def dc_augment(
    key: Array, images: Array, strategy: str = DC_STRATEGY, *, ratios: DCRatios = DCRatios()
) -> Array:
    """One op per *image*, drawn uniformly from the strategy.

    ``images`` are normalised floats [N, side, side, C]; the result has their shape and dtype. The ops, with
    m the mean of each channel over the batch:

    - ``crop``: pad by 4 pixels of m, cut at a uniform offset of 0 to 7 (8 is excluded, as in the original)
    - ``scale``: nearest-neighbour resize to a height and a width of 0.8 to 1.2 of the side; then pad with
      *zero*, or cut, about the centre
    - ``rotate``: by -45 to 44 degrees, cubic spline as ``scipy.ndimage.rotate`` does it (the canvas grows with
      the image, then the centre is cut: half a pixel off where the two sizes differ by an odd number), filled
      with the mean of m
    - ``noise``: + 0.001 N(0, 1)

    Images are looped over, and each goes through its own op only. The gradient with respect to the images
    is that of the original's arithmetic, in which m is a constant.

    Raises ``ValueError`` for an unknown op, or images of another shape.

    Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", 2021
    (https://arxiv.org/abs/2006.05929). Deviation: JAX's random numbers in place of numpy's.

    >>> dc_augment(jax.random.key(0), jnp.ones((2, 8, 8, 1)), "crop_noise").shape
    (2, 8, 8, 1)
    """
    names = parse_strategy(strategy, DC_OPS)
    square = images.ndim == 4 and images.shape[1] == images.shape[2]
    if not square or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"images must be square floats [N, side, side, C], got {images.shape} of {images.dtype}"
        )
    if not names:
        return images
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
    size = (1 - ratios.scale + 2 * ratios.scale * draw.u) * x.shape[1]
    return nearest_scale(x, jnp.floor(size).astype(jnp.int32), ratio=ratios.scale)


def _rotate(ratios: DCRatios, draw: _Draw, x: Array) -> Array:
    angle = integer(draw.u[0], 2 * ratios.rotate) - ratios.rotate
    return spline_rotate(x, angle, draw.fill.mean(), limit=ratios.rotate)


def _noise(ratios: DCRatios, draw: _Draw, x: Array) -> Array:
    return x + ratios.noise * jax.random.normal(draw.noise_key, x.shape, x.dtype)


def shifted_crop(x: Array, offset: Array, fill: Array, *, pad: int) -> Array:
    """Pad [N, side, side, C] by ``pad`` pixels of ``fill`` [C]; cut at ``offset`` (row, column)."""
    side = x.shape[1]
    source = jnp.arange(side) + offset[:, None] - pad
    inside = (source >= 0) & (source < side)
    around = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    zero = jnp.zeros((), offset.dtype)
    cut = lax.dynamic_slice(around, (zero, offset[0], offset[1], zero), x.shape)
    return jnp.where((inside[0][:, None] & inside[1][None, :])[..., None], cut, fill)


def nearest_scale(x: Array, size: Array, *, ratio: float) -> Array:
    """Resize [N, side, side, C] to ``size`` (height, width) by the nearest pixel, at the same centre.

    Both sizes lie within ``(1 -+ ratio) side``. As in ``torch.nn.functional.interpolate``, pixel i reads pixel
    ``floor(i * side / size)``, in float32. What the smaller image does not cover is zero.
    """
    side = x.shape[1]
    smallest, largest = int((1 - ratio) * side), int((1 + ratio) * side)
    sizes = np.arange(smallest, largest + 1, dtype=np.float32)[:, None]
    source = np.arange(largest, dtype=np.float32) * (np.float32(side) / np.maximum(sizes, 1))
    source = jnp.asarray(np.minimum(source.astype(np.int32), side - 1))
    size = jnp.clip(size, max(smallest, 1), largest)
    # The original centres the resized image, and then the cut, in a square that holds both images.
    canvas = jnp.maximum(size.max(), side)
    position = jnp.arange(side) + (canvas - side) // 2 - (canvas - size[:, None]) // 2
    inside = (position >= 0) & (position < size[:, None])
    index = jnp.take_along_axis(source[size - smallest], jnp.clip(position, 0, largest - 1), axis=1)
    taken = x[:, index[0][:, None], index[1][None, :]]
    return jnp.where((inside[0][:, None] & inside[1][None, :])[..., None], taken, 0)


def spline_rotate(x: Array, angle: Array, fill: Array, *, limit: int = 180) -> Array:
    """``scipy.ndimage.rotate(x, angle, axes=(1, 2), cval=fill)`` cut to the centre, for whole degrees.

    Cubic B-spline with mirrored ends: coefficients first, then 4 x 4 taps; positions outside the pixel
    centres give ``fill``. ``angle`` lies in [-limit, limit].
    """
    side = x.shape[1]
    cos, sin, shift = (t[angle + limit] for t in map(jnp.asarray, _angles(side, limit)))
    offset = jnp.arange(side, dtype=jnp.float32) - (side - 1) / 2 + shift
    row = cos * offset[:, None] + sin * offset[None, :]
    col = cos * offset[None, :] - sin * offset[:, None]
    centre = (side - 1) / 2
    inside = (jnp.abs(row) <= centre) & (jnp.abs(col) <= centre)

    prefilter = jnp.asarray(_prefilter(side), x.dtype)
    x = jnp.einsum("ih,nhwc->niwc", prefilter, x, precision="highest")
    x = jnp.einsum("jw,nhwc->nhjc", prefilter, x, precision="highest")

    top, left = jnp.floor(row + centre), jnp.floor(col + centre)
    out = jnp.zeros_like(x)
    for dr, dc in itertools.product(range(-1, 3), repeat=2):
        r, c = top + dr, left + dc
        weight = _cubic(row - (r - centre)) * _cubic(col - (c - centre))
        out += weight[..., None].astype(x.dtype) * x[:, _mirror(r, side), _mirror(c, side)]
    return jnp.where(inside[..., None], out, fill)


def _angles(side: int, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine, sine and shift of the pixel positions for each angle from -limit to limit degrees."""
    angle = np.deg2rad(np.arange(-limit, limit + 1, dtype=np.float64))
    cos, sin = np.cos(angle), np.sin(angle)
    # Size of the canvas that holds the turned image; cutting its centre out by whole pixels leaves half a
    # pixel of shift where the sizes differ by an odd number.
    canvas = (side * (np.abs(cos) + np.abs(sin)) + 0.5).astype(int)
    shift = (canvas - side) // 2 - (canvas - side) / 2
    return cos.astype(np.float32), sin.astype(np.float32), shift.astype(np.float32)


def _prefilter(side: int) -> np.ndarray:
    """The matrix from samples to cubic B-spline coefficients: inverse of the spline at the samples."""
    if side == 1:
        return np.ones((1, 1))
    at_samples = np.zeros((side, side))
    for i in range(side):
        for j, weight in ((i - 1, 1 / 6), (i, 4 / 6), (i + 1, 1 / 6)):
            at_samples[i, side - 1 - abs(side - 1 - abs(j))] += weight
    return np.linalg.inv(at_samples)


def _cubic(t: Array) -> Array:
    """The cubic B-spline, zero from a distance of 2."""
    t = jnp.abs(t)
    near, far = (4 + t * t * (3 * t - 6)) / 6, jnp.maximum(2 - t, 0) ** 3 / 6
    return jnp.where(t < 1, near, far)


def _mirror(index: Array, side: int) -> Array:
    """Reflect at the first and last pixel; one that is off by more has weight zero or is filled."""
    last = side - 1
    return jnp.clip(last - jnp.abs(last - jnp.abs(index)), 0, last).astype(jnp.int32)
