"""Convolutions that keep their speed inside loops (NHWC images, HWIO kernels, stride 1)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

Convolution = Callable[[Array, Array, int], Array]

# Below this many input channels the patches of all kernel positions are cheaper than two part-patches.
_FEW_CHANNELS = 16


def lax_conv(x: Array, w: Array, padding: int) -> Array:
    """XLA's own convolution."""
    return _lax_conv(x, w, (padding, padding))


def loop_safe_conv(x: Array, w: Array, padding: int) -> Array:
    """The same convolution, as fast in a loop as outside, at every order of derivative."""
    return _conv(x, w, (padding, padding))


def default_conv() -> Convolution:
    """Loop-safe on the CPU, XLA's own elsewhere."""
    return loop_safe_conv if jax.default_backend() == "cpu" else lax_conv


def _lax_conv(x: Array, w: Array, padding: tuple[int, int]) -> Array:
    pads = [(p, p) for p in padding]
    return lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _pad(x: Array, padding: tuple[int, int]) -> Array:
    """Adds zeros around the two spatial axes; removes pixels where the padding is negative."""
    ph, pw = padding
    config = [(0, 0, 0), (ph, ph, 0), (pw, pw, 0), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), config)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: Array, w: Array, padding: tuple[int, int]) -> Array:
    if min(padding) < 0:
        inside = (min(padding[0], 0), min(padding[1], 0))
        return _lax_conv(_pad(x, inside), w, (max(padding[0], 0), max(padding[1], 0)))
    return _lax_conv(x, w, padding)


def _conv_forward(x: Array, w: Array, padding: tuple[int, int]):
    return _conv(x, w, padding), (x, w)


def _conv_backward(padding: tuple[int, int], residuals: tuple[Array, Array], dy: Array):
    x, w = residuals
    return _input_gradient(dy, w, padding), _weight_gradient(x, dy, padding)


_conv.defvjp(_conv_forward, _conv_backward)


def _input_gradient(dy: Array, w: Array, padding: tuple[int, int]) -> Array:
    kh, kw = w.shape[:2]
    opposite = (kh - 1 - padding[0], kw - 1 - padding[1])
    return _conv(dy, jnp.flip(w, (0, 1)).swapaxes(2, 3), opposite)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _weight_gradient(x: Array, dy: Array, padding: tuple[int, int]) -> Array:
    """dw[i, j] = sum over n, a, b of x[n, a + i - p, b + j - p] dy[n, a, b]^T, as one matmul."""
    x = _pad(x, padding)
    n, height, width, channels = x.shape
    _, h, w, out = dy.shape
    kh, kw = height - h + 1, width - w + 1
    if channels < _FEW_CHANNELS:
        patches = [x[:, i : i + h, j : j + w] for i in range(kh) for j in range(kw)]
        left = jnp.concatenate(patches, -1).reshape(n * h * w, kh * kw * channels)
        return jnp.dot(left.T, dy.reshape(n * h * w, out)).reshape(kh, kw, channels, out)
    # Half of the shifts go to each factor: kh + kw copies are written instead of kh * kw.
    columns = jnp.concatenate([x[:, :, j : j + w] for j in range(kw)], -1)
    zero = jnp.zeros((), dy.dtype)
    shifts = [((0, 0, 0), (i, kh - 1 - i, 0), (0, 0, 0), (0, 0, 0)) for i in range(kh)]
    rows = jnp.concatenate([lax.pad(dy, zero, shift) for shift in shifts], -1)
    size = n * height * w
    dw = jnp.dot(columns.reshape(size, kw * channels).T, rows.reshape(size, kh * out))
    return dw.reshape(kw, channels, kh, out).transpose(2, 0, 1, 3)


def _weight_gradient_forward(x: Array, dy: Array, padding: tuple[int, int]):
    return _weight_gradient(x, dy, padding), (x, dy)


def _weight_gradient_backward(padding: tuple[int, int], residuals: tuple[Array, Array], g: Array):
    x, dy = residuals
    return _input_gradient(dy, g, padding), _conv(x, g, padding)


_weight_gradient.defvjp(_weight_gradient_forward, _weight_gradient_backward)
