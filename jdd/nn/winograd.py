"""3x3 convolutions by Winograd's minimal filtering, written with matrix products and sums only."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# B^T, G and A^T of y = A^T [(G g G^T) * (B^T d B)] A for tiles of m x m outputs, by m.
_INPUT = {
    2: np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
    4: np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        float,
    ),
}
_KERNEL = {
    2: np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
    4: np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
}
_OUTPUT = {
    2: np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
    4: np.array(
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float
    ),
}


def convolve(x: Array, w: Array, tile: int) -> Array:
    """3x3 convolution with padding 1 as F(tile x tile, 3 x 3)."""
    n, height, width, channels = x.shape
    rows, columns, out = height // tile, width // tile, w.shape[-1]
    u = _both_axes(_KERNEL[tile], w.reshape(9, channels * out))
    kernels = _unstack(u.reshape(-1, channels, out))
    products = [jnp.dot(v, k) for v, k in zip(_tiles(x, tile), kernels, strict=True)]
    y = _both_axes(_OUTPUT[tile], jnp.stack(products).reshape(len(products), -1))
    y = y.reshape(tile, tile, n, rows, columns, out).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(n, height, width, out)


def weight_gradient(x: Array, dy: Array, tile: int) -> Array:
    """Gradient of <convolve(x, w, tile), dy> in w; shares the tiles of x with `convolve`."""
    n, height, width, out = dy.shape
    rows, columns, channels = height // tile, width // tile, x.shape[-1]
    parts = dy.reshape(n, rows, tile, columns, tile, out).transpose(2, 4, 0, 1, 3, 5)
    products = _both_axes(_OUTPUT[tile].T, parts.reshape(tile * tile, -1))
    grads = _unstack(products.reshape(-1, n * rows * columns, out))
    du = jnp.stack([jnp.dot(v.T, g) for v, g in zip(_tiles(x, tile), grads, strict=True)])
    dw = _both_axes(_KERNEL[tile].T, du.reshape(len(grads), -1))
    return dw.reshape(3, 3, channels, out)


def _tiles(x: Array, tile: int) -> list[Array]:
    """B^T d B of all overlapping tiles d: one [tiles, channels] matrix per position in the tile."""
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    grid = [_transform(row, tile, 2) for row in _transform(x, tile, 1)]
    return [part.reshape(-1, x.shape[-1]) for row in grid for part in row]


def _transform(x: Array, tile: int, axis: int) -> list[Array]:
    side = tile + 2
    span = x.shape[axis] - side + 1
    views = [lax.slice_in_dim(x, i, i + span, tile, axis) for i in range(side)]
    # Sums, not a matrix product: the matrices are small, and a third of the entries are zero.
    return [_weighted_sum(row, views) for row in _INPUT[tile]]


def _weighted_sum(weights: np.ndarray, parts: list[Array]) -> Array:
    terms = [part * float(w) for w, part in zip(weights, parts, strict=True) if w]
    return functools.reduce(jnp.add, terms)


def _both_axes(matrix: np.ndarray, x: Array) -> Array:
    return jnp.dot(jnp.asarray(np.kron(matrix, matrix), x.dtype), x)


def _unstack(x: Array) -> list[Array]:
    return [part[0] for part in lax.split(x, (1,) * x.shape[0])]
