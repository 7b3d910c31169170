"""3x3 convolutions by Winograd's minimal filtering, written with matrix products and sums only."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# Rows of B^T, G and A^T in y = A^T [(G g) * (B^T d)]; the tile size m is the number of outputs.
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

_Grid = list[list[Array]]


def winograd(x: Array, w: Array, tile: int) -> Array:
    """3x3 convolution with padding 1: F(tile x tile, 3 x 3)."""
    n, height, width, channels = x.shape
    rows, columns, out = height // tile, width // tile, w.shape[-1]
    side, count = tile + 2, n * rows * columns
    kernel = _both_axes(_KERNEL[tile], x.dtype)
    u = jnp.dot(kernel, w.reshape(9, channels * out)).reshape(side * side, channels, out)
    kernels = [k[0] for k in lax.split(u, (1,) * side**2)]
    tiles = [v.reshape(count, channels) for row in _input_transform(x, tile) for v in row]
    products = jnp.stack([jnp.dot(v, k) for v, k in zip(tiles, kernels, strict=True)])
    back = _both_axes(_OUTPUT[tile], x.dtype)
    y = jnp.dot(back, products.reshape(side * side, count * out))
    y = y.reshape(tile, tile, n, rows, columns, out).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(n, height, width, out)


def _both_axes(matrix: np.ndarray, dtype: jnp.dtype) -> Array:
    return jnp.asarray(np.kron(matrix, matrix), dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _input_transform(x: Array, tile: int) -> _Grid:
    """B^T d B for every tile d of the padded image; a grid of [n, rows, columns, channels]."""
    matrix = _INPUT[tile]
    side = tile + 2
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def views(a: Array, axis: int) -> list[Array]:
        span = a.shape[axis] - side + 1
        return [lax.slice_in_dim(a, i, i + span, tile, axis) for i in range(side)]

    return [_combine(matrix, views(row, 2)) for row in _combine(matrix, views(x, 1))]


def _input_transform_forward(x: Array, tile: int) -> tuple[_Grid, None]:
    return _input_transform(x, tile), None


def _input_transform_backward(tile: int, _: None, g: _Grid) -> tuple[Array]:
    return (_input_transform_transposed(g, tile),)


_input_transform.defvjp(_input_transform_forward, _input_transform_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _input_transform_transposed(g: _Grid, tile: int) -> Array:
    matrix = _INPUT[tile].T
    n, rows, columns, channels = g[0][0].shape
    grid = [_combine(matrix, row) for row in g]
    grid = [_overlap(column, tile, 1) for column in _transposed(grid, matrix)]
    grid = [_overlap(row, tile, 2) for row in zip(*grid, strict=True)]
    x = jnp.stack([jnp.stack(row, 3) for row in grid], 2)
    return x.reshape(n, rows * tile, columns * tile, channels)


def _transposed(grid: _Grid, matrix: np.ndarray) -> _Grid:
    return [_combine(matrix, list(column)) for column in zip(*grid, strict=True)]


def _overlap(parts: list[Array], tile: int, axis: int) -> list[Array]:
    """Adds to a tile what its two neighbours say of its first and its last line."""
    lines = list(parts[1:-1])
    lines[0] = lines[0] + _shift(parts[-1], 1, axis)
    lines[-1] = lines[-1] + _shift(parts[0], -1, axis)
    return lines


def _shift(x: Array, by: int, axis: int) -> Array:
    config = [(by, -by, 0) if a == axis else (0, 0, 0) for a in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def _transposed_forward(g: _Grid, tile: int) -> tuple[Array, None]:
    return _input_transform_transposed(g, tile), None


def _transposed_backward(tile: int, _: None, x: Array) -> tuple[_Grid]:
    return (_input_transform(x, tile),)


_input_transform_transposed.defvjp(_transposed_forward, _transposed_backward)


def _combine(matrix: np.ndarray, parts: list[Array]) -> list[Array]:
    """The rows of `matrix` times `parts`; zeros and ones cost nothing."""
    return [_weighted_sum(row, parts) for row in matrix]


def _weighted_sum(weights: np.ndarray, parts: list[Array]) -> Array:
    terms = [a if w == 1 else a * float(w) for w, a in zip(weights, parts, strict=True) if w]
    return functools.reduce(jnp.add, terms)
