"""The deterministic ops against the original code's arrays, and their derivatives against themselves."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jdd.augment import ops

CHAIN = ("color", "crop", "cutout", "flip", "scale", "rotate")
ARGUMENTS = {
    "flip": {"flip": "flip"},
    "scale": {"sx": "scale_sx", "sy": "scale_sy"},
    "rotate": {"theta": "rotate_theta"},
    "crop": {"tx": "crop_tx", "ty": "crop_ty"},
    "cutout": {"ox": "cutout_ox", "oy": "cutout_oy"},
    "brightness": {"b": "brightness_b"},
    "saturation": {"s": "saturation_s"},
    "contrast": {"k": "contrast_k"},
    "color": {"b": "brightness_b", "s": "saturation_s", "k": "contrast_k"},
}
# Largest differences, float32 to float32: the original's own error against float64 is up to 1.2e-5 for the
# resampling ops and 1.7e-5 for the chain (tests/reference: README of the arrays).
TOLERANCE = {"flip": 0, "crop": 0, "cutout": 0, "scale": 2e-5, "rotate": 2e-5, "chain": 2e-5}
COLOUR_TOLERANCE = 2e-6

SHAPES = [(5, 5), (4, 7)]
SMALL = {
    "flip": {"flip": (True, [True, False, True])},
    "scale": {"sx": (0.87, [0.85, 1.1, 1.2]), "sy": (1.13, [1.2, 0.9, 1.0])},
    "rotate": {"theta": (0.2, [0.26, -0.13, 0.0])},
    "crop": {"tx": (-2, [1, 0, -2]), "ty": (1, [2, -1, 0])},
    "cutout": {"ox": (0, [7, 3, 0]), "oy": (5, [1, 8, 4])},
    "color": {"b": (0.3, [-0.4, 0.1, 0]), "s": (0.4, [1.9, 0, 1]), "k": (1.4, [0.5, 1, 0.7])},
}


def nhwc(images: np.ndarray) -> Array:
    return jnp.asarray(images.transpose(0, 2, 3, 1))


def small(name: str, per_image: bool) -> Callable[[Array], Array]:
    arguments = {k: jnp.asarray(v[per_image]) for k, v in SMALL[name].items()}
    size = {"size": 4} if name == "cutout" else {}
    return lambda x: getattr(ops, name)(x, **arguments, **size)


@functools.cache
def value_and_transpose(name: str, size: int) -> Callable[..., tuple[Array, Array]]:
    """``(x, arguments, y) -> op(x), y times d op / d x``: compiled once for the op and for the chain."""
    extra = {"size": size} if name == "cutout" else {}

    @jax.jit
    def both(x: Array, arguments: dict[str, Array], y: Array) -> tuple[Array, Array]:
        out, back = jax.vjp(lambda x: getattr(ops, name)(x, **arguments, **extra), x)
        return out, back(y)[0]

    return both


@pytest.fixture(params=SHAPES, ids=str)
def images(request: pytest.FixtureRequest) -> Array:
    return jax.random.normal(jax.random.key(0), (3, *request.param, 3))


@pytest.mark.parametrize("form", ["siamese", "independent"])
@pytest.mark.parametrize("kind", ["rgb", "gray"])
@pytest.mark.parametrize("name", [*ARGUMENTS, "chain"])
def test_original_outputs_and_gradients(reference, name: str, kind: str, form: str) -> None:
    arrays = reference("augment")
    x, r = nhwc(arrays[f"{kind}.x"]), nhwc(arrays[f"{kind}.r"])

    def arguments(op: str) -> dict[str, Array]:
        stored = {k: arrays[f"{kind}.{name}.{form}.{v}"] for k, v in ARGUMENTS[op].items()}
        return {k: jnp.asarray(v[0] if form == "siamese" else v) for k, v in stored.items()}

    size = int(arrays[f"{kind}.cutout_size"])
    steps = CHAIN if name == "chain" else (name,)
    inputs = [x]
    for op in steps:
        inputs.append(value_and_transpose(op, size)(inputs[-1], arguments(op), r)[0])
    out, gradient = inputs.pop(), r
    for op, before in zip(reversed(steps), reversed(inputs), strict=True):
        gradient = value_and_transpose(op, size)(before, arguments(op), gradient)[1]

    tolerance = TOLERANCE.get(name, COLOUR_TOLERANCE)
    for result, key in ((out, "out"), (gradient, "grad")):
        expected = nhwc(arrays[f"{kind}.{name}.{form}.{key}"])
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", SMALL)
def test_one_parameter_per_image_is_one_call_per_image(name: str, images: Array) -> None:
    extra = {"size": 4} if name == "cutout" else {}
    parameters = {k: jnp.asarray(v[1]) for k, v in SMALL[name].items()}

    def one(image: Array, p: dict[str, Array]) -> Array:
        return getattr(ops, name)(image[None], **p, **extra)[0]

    together = jax.jit(small(name, per_image=True))(images)
    np.testing.assert_allclose(together, jax.jit(jax.vmap(one))(images, parameters), atol=1e-6)


def bilinear(image: np.ndarray, row: float, col: float) -> np.ndarray:
    """One sample, zero outside: the definition, in float64."""
    total = np.zeros(image.shape[2])
    for r in range(image.shape[0]):
        for c in range(image.shape[1]):
            total += max(0, 1 - abs(row - r)) * max(0, 1 - abs(col - c)) * image[r, c]
    return total


@pytest.mark.parametrize("shape", [(4, 4), (7, 7), (4, 7), (6, 3), (1, 5)])
def test_resampling_follows_its_definition(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(1, *shape, 2))
    (r, c), sx, sy, theta = ((n - 1) / 2 for n in shape), 1.17, 0.86, 0.8
    scaled, turned = np.zeros_like(x), np.zeros_like(x)
    for i, j in np.ndindex(shape):
        scaled[0, i, j] = bilinear(x[0], r + sy * (i - r), c + sx * (j - c))
        row = r + np.sin(theta) * (j - c) + np.cos(theta) * (i - r)
        column = c + np.cos(theta) * (j - c) - np.sin(theta) * (i - r)
        turned[0, i, j] = bilinear(x[0], row, column)
    x32 = jnp.asarray(x, jnp.float32)
    np.testing.assert_allclose(jax.jit(ops.scale)(x32, sx, sy), scaled, atol=3e-6)
    np.testing.assert_allclose(jax.jit(ops.rotate)(x32, theta), turned, atol=3e-6)


@pytest.mark.parametrize("shape", [(5, 5), (6, 6), (3, 6), (7, 2)])
def test_rotation_and_its_gradient_are_adjoint_at_every_angle(shape: tuple[int, int]) -> None:
    # The gradient is written by hand as a gather; multiples of 45 degrees are its hardest cases.
    pixels = shape[0] * shape[1]
    basis = jnp.eye(pixels).reshape(-1, *shape, 1)

    @jax.jit
    def both(theta: Array) -> tuple[Array, Array]:
        out, back = jax.vjp(lambda x: ops.rotate(x, theta), basis)
        return out.reshape(pixels, -1), back(basis)[0].reshape(pixels, -1)

    for theta in (0.0, 0.26, -0.7, np.pi / 4, 1.3, np.pi / 2, 2.9, np.pi):
        out, transposed = both(jnp.float32(theta))
        np.testing.assert_allclose(out.T, transposed, atol=2e-6, err_msg=f"angle {theta}")


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_derivatives_of_two_orders_in_both_modes(name: str, per_image: bool, images: Array) -> None:
    op = small(name, per_image)
    matrix = jax.jit(jax.jacfwd(op))(images).reshape(images.size, images.size)

    @jax.jit
    def derivatives(x: Array) -> tuple[Array, Array, Array]:
        def gradient(x: Array) -> Array:
            return jax.grad(lambda x: jnp.sum(jnp.sin(op(x))))(x)

        second = jax.grad(lambda x: jnp.sum(jnp.cos(gradient(x))))(x)
        return op(x).ravel(), gradient(x).ravel(), second.ravel()

    # The ops are affine, y = M x + m: everything follows from the matrix that their tangents make.
    constant = derivatives(jnp.zeros_like(images))[0]
    y, gradient, second = derivatives(images)
    np.testing.assert_allclose(y, matrix @ images.ravel() + constant, atol=1e-5)
    np.testing.assert_allclose(gradient, matrix.T @ jnp.cos(y), atol=1e-5)
    expected = matrix.T @ (jnp.sin(y) * (matrix @ jnp.sin(gradient)))
    np.testing.assert_allclose(second, expected, atol=2e-5)


def test_angle_and_factors_have_gradients(images: Array) -> None:
    weights = jax.random.normal(jax.random.key(1), images.shape)
    for op in (ops.rotate, lambda x, t: ops.scale(x, t, 1.1), ops.brightness, ops.contrast):
        loss = jax.jit(functools.partial(lambda op, t: jnp.vdot(op(images, t), weights), op))
        # The ops are piecewise smooth in a factor: a step this small stays between two kinks.
        finite = (loss(0.93 + 1e-3) - loss(0.93 - 1e-3)) / 2e-3
        np.testing.assert_allclose(jax.grad(loss)(0.93), finite, rtol=2e-2)


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_gradient_has_no_scatter(name: str, per_image: bool, images: Array) -> None:
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(small(name, per_image)(x) ** 2)))
    assert "scatter" not in gradient.lower(images).as_text()


def test_neutral_parameters_change_nothing(images: Array) -> None:
    @jax.jit
    def neutral(x: Array) -> list[Array]:
        return [
            ops.flip(x, False),
            ops.scale(x, 1, 1),
            ops.rotate(x, 0),
            ops.crop(x, 0, 0),
            ops.cutout(x, 4, 4, 0),
            ops.color(x, 0, 1, 1),
        ]

    for out in neutral(images):
        np.testing.assert_allclose(out, images, atol=3e-7)
    gray = images[..., :1]
    np.testing.assert_array_equal(ops.saturation(gray, 0.3), gray)


@pytest.mark.parametrize("name", SMALL)
def test_dtype_is_kept(name: str, images: Array) -> None:
    op = jax.jit(small(name, per_image=True))
    out = op(images.astype(jnp.bfloat16))
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), op(images), atol=0.1)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(5, 4, 3), (3, 0, 4, 1), (3, 4, 0, 1), (3, 4, 4, 0)])
def test_images_of_another_form_are_refused(name: str, shape: tuple[int, ...]) -> None:
    message = f"[N, H, W, C] with H, W, C at least 1, got float32 {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        small(name, per_image=False)(jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"images must be floats .*, got uint8"):
        small(name, per_image=False)(jnp.zeros((3, 4, 5, 1), jnp.uint8))


def test_wrong_parameters_are_refused() -> None:
    images = jnp.ones((3, 4, 5, 1))
    with pytest.raises(ValueError, match=r"one value per image \(3,\), got shape \(2,\)"):
        ops.brightness(images, jnp.ones(2))
    with pytest.raises(ValueError, match="size must be at least 0, got -1"):
        ops.cutout(images, 1, 1, (2, -1))
    with pytest.raises(ValueError, match=r"pair \(height, width\), got \(1, 2, 3\)"):
        ops.cutout(images, 1, 1, (1, 2, 3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"size must be a whole number .*, got 1.5"):
        ops.cutout(images, 1, 1, 1.5)  # pyright: ignore[reportArgumentType]
