"""Linen layers with the initialisation and numerics of PyTorch, on NHWC arrays."""

from __future__ import annotations

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.nn.conv import Convolution

EPSILON = 1e-5

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.01),
    "sigmoid": jax.nn.sigmoid,
    "swish": jax.nn.silu,
}
NORMS = ("instance", "batch", "layer", "group", "none")
POOLINGS = ("avg", "max", "none")


def torch_uniform(fan_in: int) -> Callable[..., Array]:
    """PyTorch's initialisation of kernels and biases: uniform between -1/sqrt(fan_in) and 1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(
        key, shape, dtype, -bound, bound
    )


class Conv(nn.Module):
    """Square convolution."""

    features: int
    size: int
    padding: int
    conv: Convolution
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        initializer = torch_uniform(math.prod(shape[:3]))
        kernel = self.param("kernel", initializer, shape)
        out = self.conv(x, kernel, self.padding, self.stride)
        if not self.use_bias:
            return out
        return out + of_rank(out, self.param("bias", initializer, (self.features,)))


class Dense(nn.Module):
    """Linear layer with a bias."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        initializer = torch_uniform(x.shape[-1])
        kernel = self.param("kernel", initializer, (x.shape[-1], self.features))
        return x @ kernel + of_rank(x, self.param("bias", initializer, (self.features,)))


class Norm(nn.Module):
    """One of the papers' five norms, each with a learned scale and bias.

    "instance": statistics per sample and channel. "group": per sample and group of channels (4
    groups). "layer": per sample, with a scale and bias for every position. "batch": per channel; in
    training the running statistics move by a tenth towards the mean and the *unbiased* variance of
    the batch. "none": the identity.
    """

    kind: str

    @nn.compact
    def __call__(self, x: Array, training: bool = False) -> Array:
        if self.kind == "none":
            return x
        shape = x.shape[1:] if self.kind == "layer" else x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        scale, bias = of_rank(x, scale), of_rank(x, bias)
        if self.kind == "batch":
            mean, var = (of_rank(x, moment) for moment in self._batch_moments(x, training))
            return (x - mean) * (lax.rsqrt(var + EPSILON) * scale) + bias
        if self.kind == "group":
            grouped = x.reshape(*x.shape[:-1], 4, -1)
            return _standardise(grouped, (1, 2, 4)).reshape(x.shape) * scale + bias
        if self.kind == "instance":
            return instance_norm(x, scale, bias)
        return _standardise(x, (1, 2, 3)) * scale + bias

    def _batch_moments(self, x: Array, training: bool) -> tuple[Array, Array]:
        channels = x.shape[-1:]
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels, jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, channels, jnp.float32)
        if not training:
            return mean.value, var.value
        batch_mean = x.mean((0, 1, 2))
        batch_var = jnp.square(x - of_rank(x, batch_mean)).mean((0, 1, 2))
        n = math.prod(x.shape[:3])
        if n < 2:
            raise ValueError(
                f"batch norm needs at least 2 values per channel in training, got {n} "
                f"(batch times map: {x.shape[0]} x {x.shape[1]}x{x.shape[2]})"
            )
        mean.value = 0.9 * mean.value + 0.1 * batch_mean
        var.value = 0.9 * var.value + 0.1 * batch_var * n / (n - 1)
        return batch_mean, batch_var


def of_rank(x: Array, value: Array) -> Array:
    """A value of the last axes of x, with the rank of x, so that no rank is promoted."""
    return value.reshape((1,) * (x.ndim - value.ndim) + value.shape)


def _standardise(x: Array, axes: tuple[int, ...]) -> Array:
    centred = x - x.mean(axes, keepdims=True)
    return centred * lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + EPSILON)


@jax.custom_jvp
def instance_norm(x: Array, scale: Array, bias: Array) -> Array:
    """(x - mean) / sqrt(variance + 1e-5) * scale + bias, per sample and channel.

    The derivative is written by hand. Its transpose needs two sums over the map, of g and of g times
    the standardised x, for x, scale and bias together. Automatic differentiation computes five.
    """
    mean, rstd = _instance_moments(x)
    return (x - mean) * rstd * scale + bias


@instance_norm.defjvp
def _instance_norm_tangent(
    primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    x, scale, bias = primals
    dx, dscale, dbias = tangents
    mean, rstd = _instance_moments(x)
    standard = (x - mean) * rstd
    gain = rstd * scale
    slope = dscale - gain * (standard * dx).mean((1, 2), keepdims=True)
    offset = dbias - gain * dx.mean((1, 2), keepdims=True)
    return standard * scale + bias, gain * dx + standard * slope + offset


def _instance_moments(x: Array) -> tuple[Array, Array]:
    mean = x.mean((1, 2), keepdims=True)
    return mean, lax.rsqrt(jnp.square(x - mean).mean((1, 2), keepdims=True) + EPSILON)


@jax.custom_jvp
def average_pool(x: Array) -> Array:
    """Mean of 2x2 blocks.

    The value is a sum of slices, because XLA fuses it with the activation and the norm into one pass
    over the map, and does not fuse a mean. The derivative is that of a mean, because its transpose is
    a broadcast, cheaper than four paddings.
    """
    x = _blocks_2x2(x)
    return (x[:, :, 0, :, 0] + x[:, :, 0, :, 1] + x[:, :, 1, :, 0] + x[:, :, 1, :, 1]) / 4


@average_pool.defjvp
def _average_pool_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return average_pool(*primals), _blocks_2x2(*tangents).mean((2, 4))


def _blocks_2x2(x: Array) -> Array:
    """[n, rows, 2, columns, 2, channels], without an odd last row or column, as in PyTorch."""
    n, h, w, c = x.shape
    return x[:, : h // 2 * 2, : w // 2 * 2].reshape(n, h // 2, 2, w // 2, 2, c)


def max_pool(x: Array) -> Array:
    """Maximum of 2x2 blocks; among equal maxima the first (row by row) has the derivative, as in PyTorch.

    `jnp.max` would divide the derivative among equal maxima. These are common: on a flat background
    all four values are equal.
    """
    x = _blocks_2x2(x)
    upper = _first_of_largest(x[:, :, 0, :, 0], x[:, :, 0, :, 1])
    return _first_of_largest(upper, _first_of_largest(x[:, :, 1, :, 0], x[:, :, 1, :, 1]))


def _first_of_largest(a: Array, b: Array) -> Array:
    # A NaN on either side is returned, because NaN in the loss shows that a run diverged.
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


def pool(kind: str, x: Array) -> Array:
    """2x2 pooling of stride 2.

    Written with slices and selections instead of ``reduce_window``, so that derivatives of every order
    are dense and cheap on all platforms.
    """
    if kind == "none":
        return x
    return average_pool(x) if kind == "avg" else max_pool(x)
