"""3x3 convolutions by Winograd's minimal filtering, written with matrix products only.

For a kernel g and a tile d of (m + 2) x (m + 2) pixels of the padded image, a tile of m x m outputs
is A^T [(G g G^T) * (B^T d B)] A. The product * is elementwise; with channels it is one matrix product
for each position in the tile. That takes (m + 2)^2 / m^2 multiplications per output and channel
instead of 9 (2.25 for m = 4).

Reference: Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016
(https://arxiv.org/abs/1509.09308).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

TILE = 4

# The matrices B^T, G and A^T of the module docstring, for m = TILE.
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    float,
)
_KERNEL = (
    np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], float) / 24
)
_OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float
)
_SIDE = TILE + 2


def convolve(x: Array, w: Array) -> Array:
    """3x3 convolution with padding 1; height and width are multiples of TILE."""
    n, height, width, channels = x.shape
    rows, columns, out = height // TILE, width // TILE, w.shape[-1]
    kernels = _both_axes(_KERNEL, w.reshape(9, -1)).reshape(-1, channels, out)
    products = _product(_tiles(x), kernels, (((2,), (1,)), ((0,), (0,))))
    y = _both_axes(_OUTPUT, products.reshape(len(kernels), -1))
    y = y.reshape(TILE, TILE, n, rows, columns, out).transpose(2, 3, 0, 4, 1, 5)
    return y.reshape(n, height, width, out)


def weight_gradient(x: Array, dy: Array) -> Array:
    """Gradient of <convolve(x, w), dy> in w. XLA computes the tiles of x once for this and `convolve`."""
    n, height, width, out = dy.shape
    rows, columns, channels = height // TILE, width // TILE, x.shape[-1]
    parts = dy.reshape(n, rows, TILE, columns, TILE, out).transpose(2, 4, 0, 1, 3, 5)
    products = _both_axes(_OUTPUT.T, parts.reshape(TILE**2, -1))
    products = products.reshape(-1, n * rows * columns, out)
    kernels = _product(_tiles(x), products, (((1,), (1,)), ((0,), (0,))))
    dw = _both_axes(_KERNEL.T, kernels.reshape(len(products), -1))
    return dw.reshape(3, 3, channels, out)


def _tiles(x: Array) -> Array:
    """B^T d B of all overlapping tiles d: [position in the tile, tile, channel]."""
    channels = x.shape[-1]
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # First the rows, then the columns: 2 (m + 2) strided copies compile faster than (m + 2)^2.
    rows = jnp.stack([_strided(x, i, 1) for i in range(_SIDE)])
    tiles = jnp.stack([_strided(rows, j, 3) for j in range(_SIDE)], 1)
    return _both_axes(_INPUT, tiles.reshape(_SIDE**2, -1)).reshape(_SIDE**2, -1, channels)


def _strided(x: Array, start: int, axis: int) -> Array:
    return lax.slice_in_dim(x, start, x.shape[axis] - 1 - TILE + start, TILE, axis)


def _both_axes(matrix: np.ndarray, x: Array) -> Array:
    """Applies `matrix` to the rows and columns of tiles that are flattened along axis 0 of x."""
    return jnp.dot(jnp.asarray(np.kron(matrix, matrix), x.dtype), x, precision="highest")


def _product(a: Array, b: Array, dimensions: lax.DotDimensionNumbers) -> Array:
    # Sums over tiles amplify rounding, so the product must not use TF32 or bfloat16.
    return lax.dot_general(a, b, dimensions, precision="highest")
