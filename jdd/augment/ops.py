"""The differentiable augmentation ops of DSA, as deterministic functions of their parameters.

Images ``x`` are floats ``[N, H, W, C]`` (square where geometry is involved); a parameter is a scalar,
shared by the batch, or one value per image ``[N]``. With ``c = (side - 1) / 2`` and 0 for whatever lies
outside the image, as in Zhao and Bilen, "Dataset Condensation with Differentiable Siamese
Augmentation", 2021 (https://arxiv.org/abs/2102.08259), checked against the original code's outputs:

============================  =======================================================================
``flip(x, flip)``             mirrors the width axis where ``flip`` is true
``scale(x, sx, sy)``          bilinear sample at (c + sy (i - c), c + sx (j - c)); above 1 shrinks
``rotate(x, theta)``          bilinear sample at the position turned by ``theta`` radians
``crop(x, tx, ty)``           ``out[i, j] = x[i + tx, j + ty]``: a translation by whole pixels
``cutout(x, ox, oy, size)``   zeroes rows ``ox - size // 2 + (0 .. size - 1)``, columns with ``oy``
``brightness(x, b)``          ``x + b``
``saturation(x, s)``          ``(x - m) s + m``, m the mean over the channels of each pixel
``contrast(x, k)``            ``(x - m) k + m``, m the mean of each image
``color(x, b, s, k)``         brightness, then saturation, then contrast
============================  =======================================================================

Every op is affine in the image, works under ``jit``, ``vmap`` and ``grad`` to any order, and its first
gradient contains no scatter (slow on a TPU, and a sum in random order on a GPU).

>>> import jax.numpy as jnp
>>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
>>> flip(x, True)[0, 0, :, 0].tolist()
[2.0, 1.0, 0.0]
>>> crop(x, 1, 0)[0, :, 0, 0].tolist()
[3.0, 6.0, 0.0]
>>> cutout(x, 1, 1, 1)[0, 1, :, 0].tolist()
[3.0, 0.0, 5.0]
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from jdd.validation import at_least

# Figures behind the forms of the ops: docs/performance-choices.md, section "Augmentation".


def flip(x: Array, flip: ArrayLike) -> Array:
    """Mirror the width axis of the images for which ``flip`` is true."""
    _check(x)
    return jnp.where(_per_image(flip, x, jnp.bool_), x[:, :, ::-1], x)


def scale(x: Array, sx: ArrayLike, sy: ArrayLike) -> Array:
    """Resample about the centre, ``sx`` along the columns and ``sy`` along the rows; above 1 shrinks."""
    offset = _offsets(x)

    def resample(x: Array, s: ArrayLike, shared: str, own: str) -> Array:
        # Bilinear sampling separates here, and the transpose of a matrix needs no scatter.
        factor = _parameter(s, x, offset.dtype)
        weight = _hat(factor[..., None, None] * offset[:, None] - offset).astype(x.dtype)
        return jnp.einsum(own if factor.ndim else shared, weight, x, precision="highest")

    x = resample(x, sy, "ih,nhwc->niwc", "nih,nhwc->niwc")
    return resample(x, sx, "jw,nhwc->nhjc", "njw,nhwc->nhjc")


def rotate(x: Array, theta: ArrayLike) -> Array:
    """Turn about the centre: source column ``c + cos X - sin Y``, row ``c + sin X + cos Y``."""
    return _rotate(x, _parameter(theta, x, _offsets(x).dtype))


def crop(x: Array, tx: ArrayLike, ty: ArrayLike) -> Array:
    """Translate by whole pixels: ``out[i, j] = x[i + tx, j + ty]``, zero outside."""
    _offsets(x)
    return _crop(x, _parameter(tx, x, jnp.int32), _parameter(ty, x, jnp.int32))


def cutout(x: Array, ox: ArrayLike, oy: ArrayLike, size: int) -> Array:
    """Set a ``size`` x ``size`` square with centre (row ``ox``, column ``oy``) to zero."""
    at_least("size", size, 0)
    index = jnp.arange(_offsets(x).shape[0])

    def covered(o: ArrayLike) -> Array:
        start = _parameter(o, x, jnp.int32).reshape(-1, 1) - size // 2
        return (index >= start) & (index < start + size)

    hole = covered(ox)[:, :, None, None] & covered(oy)[:, None, :, None]
    return jnp.where(hole, 0, x)


def brightness(x: Array, b: ArrayLike) -> Array:
    """``x + b``."""
    _check(x)
    return x + _per_image(b, x, x.dtype)


def saturation(x: Array, s: ArrayLike) -> Array:
    """``(x - m) s + m`` with m the mean over the channels of each pixel: nothing for one channel."""
    _check(x)
    # Sums over an axis as short as this are slow on a CPU (docs/performance-choices.md).
    channels = [x[..., i : i + 1] for i in range(x.shape[3])]
    mean = sum(channels[1:], start=channels[0]) / x.shape[3]
    return (x - mean) * _per_image(s, x, x.dtype) + mean


def contrast(x: Array, k: ArrayLike) -> Array:
    """``(x - m) k + m`` with m the mean over height, width and channels of each image."""
    _check(x)
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    return (x - mean) * _per_image(k, x, x.dtype) + mean


def color(x: Array, b: ArrayLike, s: ArrayLike, k: ArrayLike) -> Array:
    """Brightness ``b``, then saturation ``s``, then contrast ``k``."""
    return contrast(saturation(brightness(x, b), s), k)


def _check(x: Array) -> None:
    if x.ndim != 4 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"images must be floats [N, H, W, C], got {x.dtype} {x.shape}")


def _offsets(x: Array) -> Array:
    """Pixel positions relative to the centre of a square image."""
    _check(x)
    side = x.shape[1]
    if x.shape[2] != side:
        raise ValueError(f"images must be square [N, side, side, C], got {x.shape}")
    # Distances from the centre are half as large as indices, so they round half as coarsely.
    return jnp.arange(side, dtype=jnp.promote_types(x.dtype, jnp.float32)) - (side - 1) / 2


def _parameter(value: ArrayLike, x: Array, dtype: jax.typing.DTypeLike) -> Array:
    p = jnp.asarray(value).astype(dtype)
    if p.shape not in ((), (x.shape[0],)):
        raise ValueError(
            f"an augmentation parameter is a scalar or one value per image ({x.shape[0]},), "
            f"got shape {p.shape}"
        )
    return p


def _per_image(value: ArrayLike, x: Array, dtype: jax.typing.DTypeLike) -> Array:
    return _parameter(value, x, dtype).reshape(-1, 1, 1, 1)


def _hat(distance: Array) -> Array:
    return jnp.maximum(0, 1 - jnp.abs(distance))


def _linear_op(
    forward: Callable[..., Array], transpose: Callable[..., Array]
) -> Callable[..., Array]:
    """``forward(x, *parameters)``, linear in x, with its transpose given as ``transpose``.

    JAX would turn the gathers of ``forward`` into scatters. Here the tangent is stated as the transpose of
    ``transpose``, so that reverse mode, which transposes once more, runs ``transpose`` as it is written.
    """
    op = jax.custom_jvp(forward)

    def jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
        x, *parameters = primals
        dx, *dparameters = tangents
        out = op(x, *parameters)
        tangent = jnp.zeros_like(out)
        if not isinstance(dx, SymbolicZero):
            (tangent,) = jax.linear_transpose(lambda ct: transpose(ct, *parameters), out)(dx)
        if not all(isinstance(d, SymbolicZero) for d in dparameters):
            tangent += jax.jvp(partial(forward, x), parameters, dparameters)[1]
        return out, tangent

    op.defjvp(jvp, symbolic_zeros=True)
    return op


def _gather(x: Array, rows: Array, cols: Array) -> Array:
    """``x[n, rows[n], cols[n]]``, zero outside; rows and cols broadcast to [N or 1, side, side]."""
    side = x.shape[1]
    rows, cols = jnp.broadcast_arrays(rows, cols)
    inside = (rows >= 0) & (rows < side) & (cols >= 0) & (cols < side)
    rows, cols = jnp.clip(rows, 0, side - 1), jnp.clip(cols, 0, side - 1)
    if rows.shape[0] == 1:
        return jnp.where(inside[..., None], x[:, rows[0], cols[0]], 0)
    taken = jax.vmap(lambda image, r, c: image[r, c])(x, rows, cols)
    return jnp.where(inside[..., None], taken, 0)


def _translate(x: Array, tx: Array, ty: Array) -> Array:
    index = jnp.arange(x.shape[1])
    return _gather(x, tx.reshape(-1, 1, 1) + index[:, None], ty.reshape(-1, 1, 1) + index[None, :])


def _turned(row: Array, col: Array, theta: Array) -> tuple[Array, Array]:
    """Source position, relative to the centre, of a pixel at (row, col) relative to the centre."""
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return sin * col + cos * row, cos * col - sin * row


def _bilinear(x: Array, theta: Array) -> Array:
    offset, theta = _offsets(x), theta.reshape(-1, 1, 1)
    centre = (x.shape[1] - 1) / 2
    row, col = _turned(offset[:, None], offset[None, :], theta)
    top, left = jnp.floor(row + centre), jnp.floor(col + centre)
    out = jnp.zeros_like(x)
    for r, c in itertools.product((top, top + 1), (left, left + 1)):
        weight = _hat(row - (r - centre)) * _hat(col - (c - centre))
        taken = _gather(x, r.astype(jnp.int32), c.astype(jnp.int32))
        out += weight[..., None].astype(x.dtype) * taken
    return out


def _bilinear_transpose(y: Array, theta: Array) -> Array:
    # Output pixels that read a given source pixel lie within sqrt(2) of where that pixel is turned to, so
    # they are among the 3 x 3 pixels around it.
    offset, theta = _offsets(y), theta.reshape(-1, 1, 1)
    centre = (y.shape[1] - 1) / 2
    source_row, source_col = offset[:, None], offset[None, :]
    row, col = _turned(source_row, source_col, -theta)
    near_row, near_col = jnp.round(row + centre), jnp.round(col + centre)
    out = jnp.zeros_like(y)
    for dr, dc in itertools.product((-1, 0, 1), repeat=2):
        r, c = near_row + dr, near_col + dc
        read_row, read_col = _turned(r - centre, c - centre, theta)
        weight = _hat(read_row - source_row) * _hat(read_col - source_col)
        taken = _gather(y, r.astype(jnp.int32), c.astype(jnp.int32))
        out += weight[..., None].astype(y.dtype) * taken
    return out


_rotate = _linear_op(_bilinear, _bilinear_transpose)
_crop = _linear_op(_translate, lambda y, tx, ty: _translate(y, -tx, -ty))
