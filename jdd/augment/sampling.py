"""Reading pixels at other places: translation and rotation, with transposes that need no scatter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

# Figures behind these forms: docs/performance-choices.md, section "Augmentation".


def pixel_offsets(x: Array) -> tuple[Array, Array]:
    """Positions of the rows and of the columns of images, relative to the centre.

    Args:
      x: images ``[N, H, W, C]``.

    Returns:
      ``[H]`` and ``[W]``, in float32 at least.

    >>> [positions.tolist() for positions in pixel_offsets(jnp.zeros((1, 2, 3, 1)))]
    [[-0.5, 0.5], [-1.0, 0.0, 1.0]]
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    # Distances from the centre are half as large as indices, so they round half as coarsely.
    rows, columns = (jnp.arange(n, dtype=dtype) - (n - 1) / 2 for n in x.shape[1:3])
    return rows, columns


def hat(distance: Array) -> Array:
    """The weight of a pixel in bilinear sampling, by its distance along one axis.

    >>> hat(jnp.array([0.0, -0.25, 2.0])).tolist()
    [1.0, 0.75, 0.0]
    """
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


def _gather(x: Array, rows: Array, columns: Array) -> Array:
    """``x[n, rows[n], columns[n]]``, zero outside; both indices broadcast to [N or 1, H, W]."""
    height, width = x.shape[1:3]
    rows, columns = jnp.broadcast_arrays(rows, columns)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    if rows.shape[0] == 1:
        return jnp.where(inside[..., None], x[:, rows[0], columns[0]], 0)
    taken = jax.vmap(lambda image, r, c: image[r, c])(x, rows, columns)
    return jnp.where(inside[..., None], taken, 0)


def _translate(x: Array, tx: Array, ty: Array) -> Array:
    rows, columns = jnp.arange(x.shape[1])[None, :, None], jnp.arange(x.shape[2])[None, None, :]
    return _gather(x, tx.reshape(-1, 1, 1) + rows, ty.reshape(-1, 1, 1) + columns)


def _turned(row: Array, column: Array, theta: Array) -> tuple[Array, Array]:
    """Source position of a pixel; both are relative to the centre."""
    cos, sin = jnp.cos(theta), jnp.sin(theta)
    return sin * column + cos * row, cos * column - sin * row


def _bilinear(x: Array, theta: Array) -> Array:
    pixel_row, pixel_column, theta, middle_row, middle_column = _grid(x, theta)
    row, column = _turned(pixel_row, pixel_column, theta)
    top, left = jnp.floor(row + middle_row), jnp.floor(column + middle_column)
    out = jnp.zeros_like(x)
    for r, c in itertools.product((top, top + 1), (left, left + 1)):
        weight = hat(row - (r - middle_row)) * hat(column - (c - middle_column))
        taken = _gather(x, r.astype(jnp.int32), c.astype(jnp.int32))
        out += weight[..., None].astype(x.dtype) * taken
    return out


def _bilinear_transpose(y: Array, theta: Array) -> Array:
    # Output pixels that read a given source pixel lie within sqrt(2) of where that pixel is turned to, so
    # they are among the 3 x 3 pixels around it.
    source_row, source_column, theta, middle_row, middle_column = _grid(y, theta)
    row, column = _turned(source_row, source_column, -theta)
    near_row, near_column = jnp.round(row + middle_row), jnp.round(column + middle_column)
    out = jnp.zeros_like(y)
    for dr, dc in itertools.product((-1, 0, 1), repeat=2):
        r, c = near_row + dr, near_column + dc
        read_row, read_column = _turned(r - middle_row, c - middle_column, theta)
        weight = hat(read_row - source_row) * hat(read_column - source_column)
        taken = _gather(y, r.astype(jnp.int32), c.astype(jnp.int32))
        out += weight[..., None].astype(y.dtype) * taken
    return out


def _grid(x: Array, theta: Array) -> tuple[Array, Array, Array, float, float]:
    """Pixel positions and angle, which broadcast to [N or 1, H, W], and the index of the centre."""
    rows, columns = pixel_offsets(x)
    height, width = x.shape[1:3]
    angle = theta.reshape(-1, 1, 1)
    return rows[None, :, None], columns[None, None, :], angle, (height - 1) / 2, (width - 1) / 2


rotation = _linear_op(_bilinear, _bilinear_transpose)
"""``rotation(x, theta)``: `jdd.augment.ops.rotate` of checked arguments."""

translation = _linear_op(_translate, lambda y, tx, ty: _translate(y, -tx, -ty))
"""``translation(x, tx, ty)``: `jdd.augment.ops.crop` of checked arguments."""
