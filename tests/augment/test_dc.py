"""DC's evaluation augmentation against scipy and against its definition in plain numpy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax import Array

from jdd.augment import DCRatios, dc_augment
from jdd.augment.dc import nearest_scale, shifted_crop, spline_rotate

RNG = np.random.default_rng(0)


def scipy_rotate(x: np.ndarray, angle: float, fill: float) -> np.ndarray:
    """The original's two steps: rotate on a canvas that grows, then cut the centre out."""
    side = x.shape[1]
    canvas = np.asarray(scipy.ndimage.rotate(x, angle, axes=(1, 2), cval=fill))
    start = int((canvas.shape[1] - side) / 2)
    return canvas[:, start : start + side, start : start + side]


def numpy_crop(x: np.ndarray, row: int, col: int, fill: np.ndarray, pad: int = 4) -> np.ndarray:
    n, side, _, channels = x.shape
    canvas = np.zeros((n, side + 2 * pad, side + 2 * pad, channels), np.float32) + fill
    canvas[:, pad : pad + side, pad : pad + side] = x
    return canvas[:, row : row + side, col : col + side]


def numpy_scale(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest resize, on a square of zeros that holds it and the image, of which the centre is cut.

    In whole numbers: torch's float32 reads the same pixels at the sides used here.
    """
    n, side, _, channels = x.shape
    rows, cols = np.arange(height) * side // height, np.arange(width) * side // width
    canvas = max(height, width, side)
    out = np.zeros((n, canvas, canvas, channels), np.float32)
    r, c = (canvas - height) // 2, (canvas - width) // 2
    out[:, r : r + height, c : c + width] = x[:, rows][:, :, cols]
    cut = (canvas - side) // 2
    return out[:, cut : cut + side, cut : cut + side]


@pytest.mark.parametrize("side", [28, 32, 9])
def test_rotation_is_scipy_at_every_angle(side: int) -> None:
    x = RNG.normal(size=(1, side, side, 2)).astype(np.float32)
    ours = jax.jit(spline_rotate, static_argnames="limit")
    for angle in range(-45, 46):
        expected = scipy_rotate(x, angle, 0.37)
        out = ours(x, jnp.int32(angle), 0.37, limit=45)
        np.testing.assert_allclose(out, expected, atol=3e-5, err_msg=f"{angle} degrees")
    for angle in (-180, -90, -77, 46, 90, 135, 179):
        out = ours(x, jnp.int32(angle), 0.37)
        np.testing.assert_allclose(out, scipy_rotate(x, angle, 0.37), atol=3e-5)


@pytest.mark.parametrize("side", [28, 32, 10])
def test_scale_is_nearest_resize_about_the_centre(side: int) -> None:
    x = RNG.normal(size=(1, side, side, 1)).astype(np.float32)
    ours = jax.jit(lambda size: nearest_scale(jnp.asarray(x), size, ratio=0.2))
    sizes = range(int(0.8 * side), int(1.2 * side) + 1)
    for height in sizes:
        for width in sizes:
            out = ours(jnp.asarray([height, width]))
            np.testing.assert_array_equal(out, numpy_scale(x, height, width))


def test_crop_fills_with_the_mean() -> None:
    x = RNG.normal(size=(2, 6, 6, 3)).astype(np.float32)
    fill = np.asarray([0.5, -1, 2], np.float32)
    ours = jax.jit(lambda offset: shifted_crop(jnp.asarray(x), offset, jnp.asarray(fill), pad=4))
    for row in range(8):
        for col in range(8):
            out = ours(jnp.asarray([row, col]))
            np.testing.assert_array_equal(out, numpy_crop(x, row, col, fill))


def candidates(images: np.ndarray) -> dict[str, np.ndarray]:
    """Every image that each op can make of each image of the batch: [possibilities, N, side, side, C]."""
    side, fill = images.shape[1], images.mean(axis=(0, 1, 2))
    sizes = range(int(0.8 * side), int(1.2 * side - 1e-9) + 1)
    return {
        "crop": np.stack(
            [numpy_crop(images, r, c, fill) for r in range(8) for c in range(8)], dtype=np.float32
        ),
        "scale": np.stack([numpy_scale(images, h, w) for h in sizes for w in sizes]),
        "rotate": np.stack([scipy_rotate(images, a, fill.mean()) for a in range(-45, 45)]),
    }


def explain(
    out: np.ndarray, table: dict[str, np.ndarray]
) -> tuple[list[str], dict[str, list[int]]]:
    """Which op, and which of its possibilities, made each image: exactly one must fit."""
    names, places = [], {name: [] for name in table}
    for i, image in enumerate(out):
        fits = {
            name: np.flatnonzero(np.abs(made[:, i] - image).max(axis=(1, 2, 3)) < 1e-4)
            for name, made in table.items()
        }
        # Some images can be made in several ways, such as the untouched one.
        named = [name for name, found in fits.items() if len(found)]
        assert named, f"image {i} is none of what the ops can make"
        names.append(named[0])
        places[named[0]].append(int(fits[named[0]][0]))
    return names, places


def test_each_image_gets_one_op_with_parameters_in_range() -> None:
    images = RNG.normal(size=(300, 10, 10, 1)).astype(np.float32) + 0.7
    table = candidates(images)
    names, places = explain(np.asarray(dc_augment(jax.random.key(0), jnp.asarray(images))), table)
    for name in table:
        assert names.count(name) == pytest.approx(100, abs=42)  # five standard deviations
    offsets = np.asarray(places["crop"])
    assert set(offsets // 8) == set(offsets % 8) == set(range(8))
    sizes = np.asarray(places["scale"])
    assert set(sizes // 4) == set(sizes % 4) == set(range(4))
    angles = np.asarray(places["rotate"]) - 45
    assert len(set(angles)) > 45
    assert angles.min() < -38
    assert angles.max() > 38


def test_noise() -> None:
    images = jnp.zeros((20, 16, 16, 3))
    out = np.asarray(dc_augment(jax.random.key(0), images, "noise"))
    np.testing.assert_allclose(out.std(axis=(1, 2, 3)), 0.001, rtol=0.15)
    assert len({image.tobytes() for image in out}) == 20
    mixed = np.asarray(dc_augment(jax.random.key(0), images, "crop_noise"))
    noisy = (mixed != 0).any(axis=(1, 2, 3)).sum()
    assert 2 <= noisy <= 18


def test_vmap_is_a_loop() -> None:
    images = jnp.asarray(RNG.normal(size=(3, 5, 8, 8, 1)), jnp.float32)
    keys = jax.random.split(jax.random.key(2), 3)

    def augment(key: Array, x: Array) -> Array:
        return dc_augment(key, x, "crop_scale_noise")

    looped = jnp.stack([augment(k, x) for k, x in zip(keys, images, strict=True)])
    np.testing.assert_allclose(jax.vmap(augment)(keys, images), looped, atol=1e-6)


def test_gradient_passes_through() -> None:
    images = jnp.asarray(RNG.normal(size=(6, 8, 8, 1)), jnp.float32)
    weights = jnp.asarray(RNG.normal(size=images.shape), jnp.float32)

    @jax.jit
    def loss(x: Array) -> Array:
        return jnp.vdot(dc_augment(jax.random.key(3), x, "crop_scale"), weights)

    # Linear but for the fill, which depends on the mean alone: leave the mean where it is.
    direction = jnp.asarray(RNG.normal(size=images.shape), jnp.float32)
    direction -= direction.mean()
    along = jnp.vdot(jax.jit(jax.grad(loss))(images), direction)
    np.testing.assert_allclose(along, loss(images + direction) - loss(images), rtol=1e-3)


def test_none_is_the_identity_and_errors_name_the_culprit() -> None:
    images, key = jnp.ones((2, 8, 8, 1)), jax.random.key(0)
    np.testing.assert_array_equal(dc_augment(key, images, "none"), images)
    with pytest.raises(ValueError, match=r"unknown op 'rotated' .*did you mean 'rotate'\?"):
        dc_augment(key, images, "rotated")
    with pytest.raises(
        ValueError, match=r"unknown op 'flip' .*allowed: crop, scale, rotate, noise"
    ):
        dc_augment(key, images, "crop_flip")
    with pytest.raises(ValueError, match=r"square .* got \(2, 8, 6, 1\)"):
        dc_augment(key, images[:, :, :6])


@pytest.mark.parametrize(
    ("option", "value"),
    [("crop", 0), ("crop", 1.5), ("scale", 1.0), ("rotate", 0), ("noise", -1.0)],
)
def test_ratio_out_of_range(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option} must be .*, got {value}"):
        DCRatios(**{option: value})
