"""Convolutions that are as fast inside a loop as outside (NHWC images, HWIO kernels, zero padding).

Measurements behind the choices in this module: docs/performance-choices.md, section "Convolutions".
"""

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

# Below this number of input or output channels, one matrix product over all kernel positions is faster.
_FEW_CHANNELS = 16


def lax_conv(x: Array, w: Array, padding: int, stride: int = 1) -> Array:
    """XLA's own convolution of ``x [n, h, w, c]`` and ``w [kh, kw, c, o]``, with zero padding.

    >>> lax_conv(jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5)), 1).shape
    (1, 4, 4, 5)
    """
    return _lax_conv(x, w, (padding, padding), stride)


def loop_safe_conv(x: Array, w: Array, padding: int, stride: int = 1) -> Array:
    """The convolution of `lax_conv`, as fast in a loop as outside, for derivatives of every order.

    Supports reverse mode only. For `jax.jvp` (neural tangent kernels), build the network with
    `lax_conv`.

    >>> loop_safe_conv(jnp.ones((1, 7, 7, 2)), jnp.ones((3, 3, 2, 5)), 1, 2).shape
    (1, 4, 4, 5)
    """
    return _strided(_loop_safe, x, w, padding, stride)


def winograd_conv(x: Array, w: Array, padding: int, stride: int = 1) -> Array:
    """Winograd's F(4x4, 3x3) for the shapes it supports, else `loop_safe_conv`.

    Winograd's algorithm supports stride 1, 3x3 kernels, padding 1, at least 32 input and 32 output
    channels, height and width that are multiples of 4, and float32 or wider. In float32 the relative
    error is about 3e-6 (direct: 5e-7), also for second derivatives. Supports reverse mode only, as
    `loop_safe_conv`.

    >>> winograd_conv(jnp.ones((1, 8, 8, 32)), jnp.ones((3, 3, 32, 32)), 1).shape
    (1, 8, 8, 32)
    """
    return _strided(_winograd, x, w, padding, stride)


def default_conv() -> Convolution:
    """The convolution for the current platform: `winograd_conv` on a CPU, `lax_conv` elsewhere.

    Speed and accuracy: docs/performance-choices.md, section "Convolutions".

    >>> default_conv() is (winograd_conv if jax.default_backend() == "cpu" else lax_conv)
    True
    """
    return winograd_conv if jax.default_backend() == "cpu" else lax_conv


def chosen_conv(conv: Convolution | None) -> Convolution:
    """Returns ``conv``, or the default of the platform for None.

    Raises:
      ValueError: if ``conv`` is neither a function nor None.

    >>> chosen_conv("winograd")
    Traceback (most recent call last):
        ...
    ValueError: conv must be a function such as jdd.nn.winograd_conv, or None, got 'winograd'
    """
    if conv is None:
        return default_conv()
    if not callable(conv):
        raise ValueError(
            f"conv must be a function such as jdd.nn.winograd_conv, or None, got {conv!r}"
        )
    return conv


def _closed_family(convolve: _Bilinear, correlate: _Bilinear) -> _Bilinear:
    """A convolution whose derivatives of every order are calls of `convolve` and `correlate`.

    `correlate(x, dy, pads)` is the gradient of <convolve(x, w, pads), dy> in w. Both functions are
    bilinear, and each gradient of one of them is again a call of one of them. On a CPU, XLA rewrites
    the transposed convolutions of automatic differentiation to a fast form only outside loops; in a
    loop they are much slower (docs/performance-choices.md, section "Convolutions").
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
    """A convolution with stride s, as a sum of convolutions of stride 1 over every s-th pixel.

    y[i] = sum_k w[k] x[s i + k]. With k = s q + r this is sum_r sum_q w_r[q] x_r[i + q], where w_r and
    x_r are every s-th weight and pixel, starting at r. The number of multiplications is the same: a
    3x3 kernel splits into 2x2, 2x1, 1x2 and 1x1, and a 1x1 kernel is one matrix product. The
    derivatives are those of `conv` and of slices.
    """
    # A custom derivative needs the same type for x and w under shard_map, also if devices share one of them.
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
    """Adds zeros around the two spatial axes; a negative padding removes pixels."""
    (ph, pw), none = pads, (0, 0, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), (none, (ph, ph, 0), (pw, pw, 0), none))


def _shifts(x: Array, height: int, width: int) -> list[Array]:
    """All windows of size height x width, row by row."""
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    return [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]


def _direct(x: Array, w: Array, pads: _Pads) -> Array:
    kh, kw, channels, out = w.shape
    height = x.shape[1] + 2 * pads[0] - kh + 1
    width = x.shape[2] + 2 * pads[1] - kw + 1
    # XLA's own convolution is slow for a map smaller than the kernel (docs/performance-choices.md).
    is_small = x.shape[1] < kh or x.shape[2] < kw
    if channels < _FEW_CHANNELS or kh == kw == 1 or is_small:
        patches = jnp.concatenate(_shifts(_pad(x, pads), height, width), -1)
        return jnp.dot(patches, w.reshape(kh * kw * channels, out))
    if out < _FEW_CHANNELS:
        products = _pad(jnp.dot(x, w.transpose(2, 0, 1, 3).reshape(channels, -1)), pads)
        windows = _shifts(products, height, width)
        parts = [window[..., i * out : (i + 1) * out] for i, window in enumerate(windows)]
        return functools.reduce(jnp.add, parts)
    # Eigen's convolution does not support negative padding; XLA would use its slow generic loop instead.
    cropping = (min(pads[0], 0), min(pads[1], 0))
    x = _pad(x, cropping) if min(cropping) < 0 else x
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
    # Shifts x along one axis and dy along the other: kh + kw copies instead of kh * kw.
    left = jnp.concatenate([x[:, :, j : j + w] for j in range(kw)], -1)
    zero, none = jnp.zeros((), dy.dtype), (0, 0, 0)
    shifted = [lax.pad(dy, zero, (none, (i, kh - 1 - i, 0), none, none)) for i in range(kh)]
    right = jnp.concatenate(shifted, -1)
    size = n * height * w
    dw = jnp.dot(left.reshape(size, kw * channels).T, right.reshape(size, kh * out))
    return dw.reshape(kw, channels, kh, out).transpose(2, 0, 1, 3)


def _supports_winograd(x: Array, w_shape: tuple[int, ...], pads: _Pads) -> bool:
    # Sums over tiles cancel: in half precision the error would be ten times that of the direct form.
    is_precise = jnp.finfo(x.dtype).bits >= 32
    is_divisible = x.shape[1] % winograd.TILE == 0 and x.shape[2] % winograd.TILE == 0
    return (
        is_precise
        and is_divisible
        and w_shape[:2] == (3, 3)
        and pads == (1, 1)
        and min(w_shape[2:]) >= 32
    )


def _winograd_convolve(x: Array, w: Array, pads: _Pads) -> Array:
    is_supported = _supports_winograd(x, w.shape, pads)
    return winograd.convolve(x, w) if is_supported else _direct(x, w, pads)


def _winograd_correlate(x: Array, dy: Array, pads: _Pads) -> Array:
    kernel = [x.shape[a] + 2 * pads[a - 1] - dy.shape[a] + 1 for a in (1, 2)]
    is_supported = _supports_winograd(x, (*kernel, x.shape[3], dy.shape[3]), pads)
    return winograd.weight_gradient(x, dy) if is_supported else _correlate(x, dy, pads)


_loop_safe = _closed_family(_direct, _correlate)
_winograd = _closed_family(_winograd_convolve, _winograd_correlate)
