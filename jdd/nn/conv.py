"""Convolutions that keep their speed inside loops (NHWC images, HWIO kernels, zeros around)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol, cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.nn import winograd
from jdd.streaming import varying_as


class Convolution(Protocol):
    """``conv(x [n, h, w, c], w [kh, kw, c, o], padding, stride) -> [n, h', w', o]``."""

    def __call__(self, x: Array, w: Array, padding: int, stride: int = 1, /) -> Array: ...


_Pads = tuple[int, int]
_Bilinear = Callable[[Array, Array, _Pads], Array]

# With fewer channels than this on one side, one matrix product over all kernel positions is faster.
_FEW_CHANNELS = 16


def lax_conv(x: Array, w: Array, padding: int, stride: int = 1) -> Array:
    """XLA's own convolution: ``x [n, h, w, c]``, ``w [kh, kw, c, o]``, zeros around.

    >>> lax_conv(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5)), 1).shape
    (1, 4, 4, 5)
    """
    return _lax_conv(x, w, (padding, padding), stride)


def loop_safe_conv(x: Array, w: Array, padding: int, stride: int = 1) -> Array:
    """The same convolution, as fast in a loop as outside, at every order of derivative.

    Reverse mode only: for `jax.jvp` (neural tangent kernels) build the network with `lax_conv`.

    >>> loop_safe_conv(jnp.ones((1, 7, 7, 2)), jnp.ones((3, 3, 2, 5)), 1, 2).shape
    (1, 4, 4, 5)
    """
    return _strided(_loop_safe, x, w, padding, stride)


def winograd_conv(x: Array, w: Array, padding: int, stride: int = 1) -> Array:
    """`loop_safe_conv`, by Winograd's F(4x4, 3x3) where the shapes allow it.

    That is: stride 1, 3x3 kernel, padding 1, at least 32 channels on both sides, height and width
    multiples of 4, float32 or wider. In float32 the relative error is about 3e-6 (direct: 5e-7),
    second derivatives included. Reverse mode only, as `loop_safe_conv`.
    """
    return _strided(_winograd, x, w, padding, stride)


def default_conv() -> Convolution:
    """Winograd on the CPU, XLA's own elsewhere.

    The gradient of 64 images on 2 cores (AMD EPYC, AVX-512), micro-batches of 16: 81 ms against 99 ms
    with the direct form (`experiments/benchmarks/convolution.py --tables streaming`). It is nearly as exact: the
    gradient of synthetic images through both gradients is 6e-6 from float64 with a smooth
    activation, XLA's own 1e-6 (`experiments/benchmarks/choices.py --tables convolution`). (With ReLU,
    pre-activations that change sign by rounding cost up to 1e-3 in either.)
    """
    return winograd_conv if jax.default_backend() == "cpu" else lax_conv


def _closed_family(convolve: _Bilinear, correlate: _Bilinear) -> _Bilinear:
    """Convolution whose derivatives of every order are `convolve` and `correlate` calls.

    `correlate(x, dy, pads)` is the gradient of <convolve(x, w, pads), dy> in w. Both are bilinear, and
    the gradients of either are again one of the two, so differentiation never leaves the pair. XLA
    on the CPU makes convolutions canonical outside loops only: a transposed one left to automatic
    differentiation would run 10 to 100 times slower in a loop.
    """

    @functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
    def conv(x: Array, w: Array, pads: _Pads) -> Array:
        return convolve(x, w, pads)

    @functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
    def weight_gradient(x: Array, dy: Array, pads: _Pads) -> Array:
        return correlate(x, dy, pads)

    def input_gradient(dy: Array, w: Array, pads: _Pads) -> Array:
        opposite = (w.shape[0] - 1 - pads[0], w.shape[1] - 1 - pads[1])
        return conv(dy, jnp.flip(w, (0, 1)).swapaxes(2, 3), opposite)

    def conv_backward(pads: _Pads, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
        x, w = saved
        return input_gradient(dy, w, pads), weight_gradient(x, dy, pads)

    def weight_backward(pads: _Pads, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
        x, dy = saved
        return input_gradient(dy, g, pads), conv(x, g, pads)

    conv.defvjp(lambda x, w, pads: (conv(x, w, pads), (x, w)), conv_backward)
    weight_gradient.defvjp(
        lambda x, dy, pads: (weight_gradient(x, dy, pads), (x, dy)), weight_backward
    )
    return cast(_Bilinear, conv)


def _strided(conv: _Bilinear, x: Array, w: Array, padding: int, stride: int) -> Array:
    """A convolution with a stride s, as convolutions of stride 1 over every s-th pixel.

    y[i] = sum_k w[k] x[s i + k]; with k = s q + r it is sum_r sum_q w_r[q] x_r[i + q], where w_r and x_r
    are every s-th weight and pixel from r on. It takes as many multiplications as the convolution
    itself (a 3x3 kernel falls into 2x2, 2x1, 1x2 and 1x1, a 1x1 kernel is one matrix product), and
    its derivatives are those of `conv` and of slices.
    """
    # A custom derivative must be of one type in both, where devices share images or weights.
    x, w = varying_as(w, x), varying_as(x, w)
    if stride == 1:
        return conv(x, w, (padding, padding))
    x = _pad(x, (padding, padding))
    kh, kw = w.shape[:2]
    height, width = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    parts = []
    for i in range(min(stride, kh)):
        for j in range(min(stride, kw)):
            kernel = w[i::stride, j::stride]
            rows, columns = height + kernel.shape[0] - 1, width + kernel.shape[1] - 1
            pixels = x[:, i::stride, j::stride][:, :rows, :columns]
            parts.append(conv(pixels, kernel, (0, 0)))
    return functools.reduce(jnp.add, parts)


def _lax_conv(x: Array, w: Array, pads: _Pads, stride: int = 1) -> Array:
    spatial = [(p, p) for p in pads]
    return lax.conv_general_dilated(
        x, w, (stride, stride), spatial, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _pad(x: Array, pads: _Pads) -> Array:
    """Adds zeros around the two spatial axes; removes pixels where the padding is negative."""
    (ph, pw), none = pads, (0, 0, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), (none, (ph, ph, 0), (pw, pw, 0), none))


def _shifts(x: Array, height: int, width: int) -> list[Array]:
    """All views of size height x width, row by row."""
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    return [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]


def _direct(x: Array, w: Array, pads: _Pads) -> Array:
    kh, kw, channels, out = w.shape
    height = x.shape[1] + 2 * pads[0] - kh + 1
    width = x.shape[2] + 2 * pads[1] - kw + 1
    # Where the kernel is larger than the map XLA's own takes 220 ms for what a product takes 2.7 (2x2 maps,
    # 512 channels, batch 32; 2 cores of an AMD EPYC, jax 0.10.2; choices.py --tables small_maps).
    is_small = x.shape[1] < kh or x.shape[2] < kw
    if channels < _FEW_CHANNELS or kh == kw == 1 or is_small:
        patches = jnp.concatenate(_shifts(_pad(x, pads), height, width), -1)
        return jnp.dot(patches, w.reshape(kh * kw * channels, out))
    if out < _FEW_CHANNELS:
        products = _pad(jnp.dot(x, w.transpose(2, 0, 1, 3).reshape(channels, -1)), pads)
        views = _shifts(products, height, width)
        parts = [v[..., i * out : (i + 1) * out] for i, v in enumerate(views)]
        return functools.reduce(jnp.add, parts)
    # Eigen's convolution takes no negative padding, which XLA would run in its naive loop.
    inside = (min(pads[0], 0), min(pads[1], 0))
    x = _pad(x, inside) if min(inside) < 0 else x
    return _lax_conv(x, w, (max(pads[0], 0), max(pads[1], 0)))


def _correlate(x: Array, dy: Array, pads: _Pads) -> Array:
    """dw[i, j] = sum over n, a, b of x[n, a + i - p, b + j - p] dy[n, a, b]^T, as one product."""
    x = _pad(x, pads)
    n, height, width, channels = x.shape
    _, h, w, out = dy.shape
    kh, kw = height - h + 1, width - w + 1
    if channels < _FEW_CHANNELS:
        patches = jnp.concatenate(_shifts(x, h, w), -1).reshape(n * h * w, kh * kw * channels)
        return jnp.dot(patches.T, dy.reshape(n * h * w, out)).reshape(kh, kw, channels, out)
    # x takes the shifts along rows, dy those along columns: kh + kw copies instead of kh * kw.
    left = jnp.concatenate([x[:, :, j : j + w] for j in range(kw)], -1)
    zero, none = jnp.zeros((), dy.dtype), (0, 0, 0)
    shifted = [lax.pad(dy, zero, (none, (i, kh - 1 - i, 0), none, none)) for i in range(kh)]
    right = jnp.concatenate(shifted, -1)
    size = n * height * w
    dw = jnp.dot(left.reshape(size, kw * channels).T, right.reshape(size, kh * out))
    return dw.reshape(kw, channels, kh, out).transpose(2, 0, 1, 3)


def _winograd_serves(x: Array, w_shape: tuple[int, ...], pads: _Pads) -> bool:
    # Its sums of tiles cancel: in half precision the error would be ten times the direct form's.
    precise = jnp.finfo(x.dtype).bits >= 32
    divisible = x.shape[1] % winograd.TILE == 0 and x.shape[2] % winograd.TILE == 0
    return (
        precise
        and divisible
        and w_shape[:2] == (3, 3)
        and pads == (1, 1)
        and min(w_shape[2:]) >= 32
    )


def _winograd_convolve(x: Array, w: Array, pads: _Pads) -> Array:
    serves = _winograd_serves(x, w.shape, pads)
    return winograd.convolve(x, w) if serves else _direct(x, w, pads)


def _winograd_correlate(x: Array, dy: Array, pads: _Pads) -> Array:
    kernel = [x.shape[a] + 2 * pads[a - 1] - dy.shape[a] + 1 for a in (1, 2)]
    serves = _winograd_serves(x, (*kernel, x.shape[3], dy.shape[3]), pads)
    return winograd.weight_gradient(x, dy) if serves else _correlate(x, dy, pads)


_loop_safe = _closed_family(_direct, _correlate)
_winograd = _closed_family(_winograd_convolve, _winograd_correlate)
