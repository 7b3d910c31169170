"""Every convolution equals XLA's in value and in first and second derivatives."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jdd.nn.conv import Convolution, default_conv, lax_conv, loop_safe_conv, winograd_conv

# batch, height, width, channels in, channels out, kernel height, kernel width, padding[, stride]
DIRECT = {
    "first_layer_grey": (2, 6, 6, 1, 20, 3, 3, 3),
    "first_layer_colour": (2, 8, 8, 3, 16, 3, 3, 1),
    "hidden": (2, 6, 6, 17, 18, 3, 3, 1),
    "batch_one": (1, 4, 4, 16, 16, 3, 3, 1),
    "wide_padding": (2, 5, 4, 16, 17, 3, 3, 3),
    "kernel_5": (2, 9, 7, 18, 16, 5, 5, 2),
    "kernel_5_valid": (2, 9, 7, 3, 4, 5, 5, 0),
    "kernel_1": (2, 5, 4, 16, 3, 1, 1, 0),
    "few_out": (2, 6, 5, 16, 2, 3, 3, 1),
    "oblong_kernel": (2, 6, 7, 16, 16, 3, 5, 1),
    "map_below_kernel": (2, 2, 2, 17, 18, 3, 3, 1),
    "row_below_kernel": (2, 6, 2, 16, 17, 3, 3, 1),
    "one_pixel": (2, 1, 1, 16, 17, 3, 3, 1),
    "map_below_kernel_5": (2, 4, 4, 17, 16, 5, 5, 2),
}
STRIDED = {
    "halving": (2, 8, 8, 16, 17, 3, 3, 1, 2),
    "halving_odd": (2, 7, 5, 17, 16, 3, 3, 1, 2),
    "halving_unpadded": (2, 8, 7, 16, 16, 3, 3, 0, 2),
    "halving_first_layer": (2, 8, 8, 3, 16, 3, 3, 1, 2),
    "projection": (2, 8, 8, 16, 18, 1, 1, 0, 2),
    "projection_odd": (2, 7, 7, 16, 18, 1, 1, 0, 2),
    "kernel_5_by_3": (2, 11, 11, 16, 4, 5, 5, 2, 3),
    "kernel_2_by_3": (1, 8, 9, 2, 3, 2, 2, 0, 3),
}
WINOGRAD = {
    "square": (2, 8, 8, 32, 33, 3, 3, 1),
    "oblong": (1, 4, 12, 33, 32, 3, 3, 1),
}
CASES = [
    *(pytest.param(loop_safe_conv, shape, id=f"loop_safe-{k}") for k, shape in DIRECT.items()),
    *(pytest.param(loop_safe_conv, shape, id=f"loop_safe-{k}") for k, shape in STRIDED.items()),
    *(pytest.param(winograd_conv, shape, id=f"winograd-{k}") for k, shape in WINOGRAD.items()),
    pytest.param(winograd_conv, (2, 8, 8, 32, 32, 3, 3, 1, 2), id="winograd-halving"),
    pytest.param(winograd_conv, (2, 6, 6, 32, 32, 3, 3, 1), id="winograd-not_divisible"),
    pytest.param(winograd_conv, (2, 8, 8, 32, 32, 3, 3, 0), id="winograd-other_padding"),
    pytest.param(winograd_conv, (2, 8, 8, 32, 32, 5, 5, 1), id="winograd-other_kernel"),
    pytest.param(winograd_conv, (2, 8, 8, 3, 32, 3, 3, 1), id="winograd-few_channels"),
]
Shape = tuple[int, ...]


def operands(shape: Shape, dtype: str) -> tuple[Array, Array]:
    n, height, width, channels, out, kh, kw = shape[:7]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, height, width, channels))
    w = rng.normal(size=(kh, kw, channels, out)) / (kh * kw * channels) ** 0.5
    return jnp.asarray(x, dtype), jnp.asarray(w, dtype)


@functools.partial(jax.jit, static_argnums=(0, 3))
def derivatives(conv: Convolution, x: Array, w: Array, shape: Shape) -> list[Array]:
    """Value, both gradients, and the gradients of a scalar that mixes both gradients."""

    def scalar(x: Array, w: Array) -> Array:
        return jnp.sum(jnp.sin(conv(x, w, *shape[7:])))

    def of_gradients(x: Array, w: Array) -> Array:
        dx, dw = jax.grad(scalar, (0, 1))(x, w)
        return jnp.sum(jnp.cos(dx)) + jnp.sum(jnp.sin(2 * dw))

    first = jax.grad(scalar, (0, 1))(x, w)
    second = jax.grad(of_gradients, (0, 1))(x, w)
    return [conv(x, w, *shape[7:]), *first, *second]


def assert_close(got: list[Array], want: list[Array], tolerance: float) -> None:
    for a, b in zip(map(np.asarray, got), map(np.asarray, want), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)


@pytest.mark.parametrize(("conv", "shape"), CASES)
def test_derivatives_in_float64(conv: Convolution, shape: Shape) -> None:
    with jax.enable_x64(True):
        x, w = operands(shape, "float64")
        want = derivatives(lax_conv, x, w, shape)
        assert_close(derivatives(conv, x, w, shape), want, 1e-12)


# Relative L2 error; rounding grows through Winograd's transforms.
@pytest.mark.parametrize(
    ("conv", "shape", "tolerance"),
    [
        (loop_safe_conv, DIRECT["hidden"], 1e-5),
        (loop_safe_conv, DIRECT["first_layer_grey"], 1e-5),
        (loop_safe_conv, STRIDED["halving"], 1e-5),
        (winograd_conv, WINOGRAD["square"], 1e-4),
    ],
)
def test_derivatives_in_float32(conv: Convolution, shape: Shape, tolerance: float) -> None:
    x, w = operands(shape, "float32")
    want = derivatives(lax_conv, x, w, shape)
    assert_close(derivatives(conv, x, w, shape), want, tolerance)


@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (loop_safe_conv, (2, 4, 4, 16, 16, 3, 3, 1)),
        (loop_safe_conv, (2, 5, 4, 16, 16, 3, 3, 1, 2)),
        (winograd_conv, (2, 4, 4, 32, 32, 3, 3, 1)),
    ],
)
def test_meta_gradient_through_a_scan_of_sgd_steps(conv: Convolution, shape: Shape) -> None:
    def meta_gradient(conv: Convolution, x: Array, w: Array) -> list[Array]:
        def loss(w: Array, x: Array) -> Array:
            return jnp.mean(jnp.sin(conv(x, w, *shape[7:])))

        def after_training(x: Array) -> Array:
            def step(w: Array, _: None) -> tuple[Array, None]:
                return w - 0.5 * jax.grad(loss)(w, x), None

            trained, _ = jax.lax.scan(step, w, length=3)
            return loss(trained, x)

        return [jax.jit(jax.grad(after_training))(x)]

    with jax.enable_x64(True):
        x, w = operands(shape, "float64")
        assert_close(meta_gradient(conv, x, w), meta_gradient(lax_conv, x, w), 1e-12)


@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (loop_safe_conv, DIRECT["hidden"]),
        (loop_safe_conv, STRIDED["halving"]),
        (winograd_conv, WINOGRAD["square"]),
    ],
)
def test_vmap_over_images(conv: Convolution, shape: Shape) -> None:
    def gradients(conv: Convolution, x: Array, w: Array) -> list[Array]:
        return derivatives(conv, x, w, shape)

    with jax.enable_x64(True):
        x, w = operands(shape, "float64")
        stack = jnp.stack([x, 2 * x - 1, x[..., ::-1]])
        got = jax.vmap(lambda x: gradients(conv, x, w))(stack)
        reference = functools.partial(gradients, lax_conv, w=w)
        want = [jnp.stack(parts) for parts in zip(*map(reference, stack), strict=True)]
        assert_close(got, want, 1e-12)


def test_winograd_is_used_only_where_shapes_allow() -> None:
    def products(shape: Shape) -> int:
        x, w = operands(shape, "float32")
        text = str(jax.make_jaxpr(lambda x, w: winograd_conv(x, w, *shape[7:]))(x, w))
        assert ("conv_general_dilated" in text) != ("dot_general" in text)
        return text.count("dot_general[")

    # The transforms of kernel, image and result, and the product of the first two.
    assert products((1, 8, 8, 32, 32, 3, 3, 1)) == 4
    assert products((1, 8, 6, 32, 32, 3, 3, 1)) == 0
    assert products((1, 8, 8, 31, 32, 3, 3, 1)) == 0


@pytest.mark.parametrize("shape", [STRIDED["halving"], STRIDED["projection_odd"]])
def test_no_derivative_of_a_strided_convolution_is_left_to_xla(shape: Shape) -> None:
    """XLA's naive loop runs what is not canonical: any dilation, a stride, or batch and feature swapped."""
    x, w = operands(shape, "float32")
    text = str(jax.make_jaxpr(lambda x, w: derivatives(loop_safe_conv, x, w, shape))(x, w))
    dimensions = re.findall(r"dimension_numbers=ConvDimensionNumbers\((.*?)\)\)", text)
    canonical = "lhs_spec=(0, 3, 1, 2), rhs_spec=(3, 2, 0, 1), out_spec=(0, 3, 1, 2"
    assert set(dimensions) <= {canonical}
    assert set(re.findall(r"(?:window_strides|[lr]hs_dilation)=\((.*?)\)", text)) <= {"1, 1"}
    assert dimensions or shape == STRIDED["projection_odd"]


def test_default_by_platform() -> None:
    on_cpu = jax.default_backend() == "cpu"
    assert default_conv() is (winograd_conv if on_cpu else lax_conv)
