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


SHAPES = [(28, 28), (32, 32), (9, 9), (20, 32), (33, 17), (2, 7)]


def scipy_rotate(x: np.ndarray, angle: float, fill: float) -> np.ndarray:
    """The original's two steps: rotate on a canvas of another size, then cut the centre out.

    Along an axis where the canvas is smaller than the image, the original fails; here the canvas is filled up.
    """
    height, width = x.shape[1:3]
    canvas = np.asarray(scipy.ndimage.rotate(x, angle, axes=(1, 2), cval=fill))
    margin = max(height, width)
    rest = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    r, c = (margin + (canvas.shape[i] - x.shape[i]) // 2 for i in (1, 2))
    filled = np.pad(canvas, rest, constant_values=fill)
    return filled[:, r : r + height, c : c + width]


def numpy_crop(x: np.ndarray, row: int, column: int, fill: np.ndarray, pad: int = 4) -> np.ndarray:
    n, height, width, channels = x.shape
    canvas = np.zeros((n, height + 2 * pad, width + 2 * pad, channels), np.float32) + fill
    canvas[:, pad : pad + height, pad : pad + width] = x
    return canvas[:, row : row + height, column : column + width]


def numpy_scale(x: np.ndarray, new_height: int, new_width: int) -> np.ndarray:
    """Nearest resize, on a square of zeros that holds it and the image, of which the centre is cut.

    In whole numbers: torch's float32 reads the same pixels at the sizes used here.
    """
    n, height, width, channels = x.shape
    rows = np.arange(new_height) * height // new_height
    columns = np.arange(new_width) * width // new_width
    side = max(new_height, new_width, height, width)
    canvas = np.zeros((n, side, side, channels), np.float32)
    r, c = (side - new_height) // 2, (side - new_width) // 2
    canvas[:, r : r + new_height, c : c + new_width] = x[:, rows][:, :, columns]
    r, c = (side - height) // 2, (side - width) // 2
    return canvas[:, r : r + height, c : c + width]


def sizes_of(extent: int) -> range:
    """What the op "scale" can make of a height or width."""
    return range(max(int(0.8 * extent), 1), int(1.2 * extent - 1e-9) + 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_rotation_is_scipy_at_every_angle(shape: tuple[int, int]) -> None:
    x = RNG.normal(size=(1, *shape, 2)).astype(np.float32)
    turned = jax.jit(spline_rotate, static_argnames="limit")
    for angle in range(-45, 46):
        expected = scipy_rotate(x, angle, 0.37)
        out = turned(x, jnp.int32(angle), 0.37, limit=45)
        np.testing.assert_allclose(out, expected, atol=3e-5, err_msg=f"{angle} degrees")
    for angle in (-180, -90, -77, 46, 90, 135, 179, 180):
        out = turned(x, jnp.int32(angle), 0.37)
        np.testing.assert_allclose(out, scipy_rotate(x, angle, 0.37), atol=3e-5)


def test_an_image_one_pixel_high_turns_by_right_angles() -> None:
    # At other angles scipy's rounding decides whether the middle lies in the image.
    x = RNG.normal(size=(1, 1, 6, 2)).astype(np.float32)
    for angle in (-180, -90, 0, 90, 180):
        out = jax.jit(spline_rotate)(x, jnp.int32(angle), 0.37)
        np.testing.assert_allclose(out, scipy_rotate(x, angle, 0.37), atol=3e-5)
    np.testing.assert_allclose(out, x[:, :, ::-1], atol=3e-5)


@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (10, 10), (10, 15), (21, 8), (1, 6)])
def test_scale_is_nearest_resize_about_the_centre(shape: tuple[int, int]) -> None:
    x = RNG.normal(size=(1, *shape, 1)).astype(np.float32)
    sizes = np.stack(np.meshgrid(*map(sizes_of, shape), indexing="ij"), -1).reshape(-1, 2)
    one_by_one = jax.jit(
        lambda x: jax.lax.map(lambda size: nearest_scale(x, size, ratio=0.2), sizes)
    )
    for size, out in zip(sizes, np.asarray(one_by_one(jnp.asarray(x))), strict=True):
        np.testing.assert_array_equal(out, numpy_scale(x, *size), err_msg=f"to {size}")


@pytest.mark.parametrize("shape", [(6, 6), (5, 9), (9, 2)])
def test_crop_fills_with_the_mean(shape: tuple[int, int]) -> None:
    x = RNG.normal(size=(2, *shape, 3)).astype(np.float32)
    fill = np.asarray([0.5, -1, 2], np.float32)
    cut = jax.jit(lambda offset: shifted_crop(jnp.asarray(x), offset, jnp.asarray(fill), pad=4))
    for row, column in np.ndindex(8, 8):
        out = cut(jnp.asarray([row, column]))
        np.testing.assert_array_equal(out, numpy_crop(x, row, column, fill))


def candidates(images: np.ndarray) -> dict[str, np.ndarray]:
    """Every image that each op can make of each image of the batch: [possibilities, N, H, W, C]."""
    fill = images.mean(axis=(0, 1, 2))
    heights, widths = (sizes_of(extent) for extent in images.shape[1:3])
    return {
        "crop": np.stack(
            [numpy_crop(images, r, c, fill) for r in range(8) for c in range(8)], dtype=np.float32
        ),
        "scale": np.stack([numpy_scale(images, h, w) for h in heights for w in widths]),
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
        named = [name for name, possible in fits.items() if len(possible)]
        assert named, f"image {i} is none of what the ops can make"
        names.append(named[0])
        places[named[0]].append(int(fits[named[0]][0]))
    return names, places


@pytest.mark.parametrize("shape", [(10, 10), (10, 15)])
def test_each_image_gets_one_op_with_parameters_in_range(shape: tuple[int, int]) -> None:
    images = RNG.normal(size=(300, *shape, 1)).astype(np.float32) + 0.7
    table = candidates(images)
    names, places = explain(np.asarray(dc_augment(jax.random.key(0), jnp.asarray(images))), table)
    for name in table:
        assert names.count(name) == pytest.approx(100, abs=42)  # five standard deviations
    offsets = np.asarray(places["crop"])
    assert set(offsets // 8) == set(offsets % 8) == set(range(8))
    heights, widths = (len(sizes_of(extent)) for extent in shape)
    sizes = np.asarray(places["scale"])
    assert set(sizes // widths) == set(range(heights))
    assert set(sizes % widths) == set(range(widths))
    angles = np.asarray(places["rotate"]) - 45
    assert len(set(angles)) > 45
    assert angles.min() < -38
    assert angles.max() > 38


def test_noise() -> None:
    images = jnp.zeros((20, 16, 20, 3))
    out = np.asarray(dc_augment(jax.random.key(0), images, "noise"))
    np.testing.assert_allclose(out.std(axis=(1, 2, 3)), 0.001, rtol=0.15)
    assert len({image.tobytes() for image in out}) == 20
    mixed = np.asarray(dc_augment(jax.random.key(0), images, "crop_noise"))
    noisy = (mixed != 0).any(axis=(1, 2, 3)).sum()
    assert 2 <= noisy <= 18


def test_vmap_is_a_loop() -> None:
    images = jnp.asarray(RNG.normal(size=(3, 5, 8, 6, 1)), jnp.float32)
    keys = jax.random.split(jax.random.key(2), 3)

    def augment(key: Array, x: Array) -> Array:
        return dc_augment(key, x, "crop_scale_noise")

    looped = jnp.stack([augment(k, x) for k, x in zip(keys, images, strict=True)])
    np.testing.assert_allclose(jax.vmap(augment)(keys, images), looped, atol=1e-6)


def test_gradient_passes_through() -> None:
    images = jnp.asarray(RNG.normal(size=(6, 8, 11, 1)), jnp.float32)
    weights = jnp.asarray(RNG.normal(size=images.shape), jnp.float32)

    @jax.jit
    def loss(x: Array) -> Array:
        return jnp.vdot(dc_augment(jax.random.key(3), x, "crop_scale"), weights)

    # Linear but for the fill, which depends on the mean alone: leave the mean where it is.
    direction = jnp.asarray(RNG.normal(size=images.shape), jnp.float32)
    direction -= direction.mean()
    along = jnp.vdot(jax.jit(jax.grad(loss))(images), direction)
    np.testing.assert_allclose(along, loss(images + direction) - loss(images), rtol=1e-3)


def test_none_is_the_identity() -> None:
    images, key = jnp.ones((2, 8, 6, 1)), jax.random.key(0)
    np.testing.assert_array_equal(dc_augment(key, images, "none"), images)


def test_wrong_strategies_and_images_are_refused() -> None:
    images, key = jnp.ones((2, 8, 6, 1)), jax.random.key(0)
    with pytest.raises(ValueError, match=r"unknown op 'rotated' .*did you mean 'rotate'\?"):
        dc_augment(key, images, "rotated")
    with pytest.raises(
        ValueError, match=r"unknown op 'flip' .*allowed: crop, scale, rotate, noise"
    ):
        dc_augment(key, images, "crop_flip")
    with pytest.raises(ValueError, match=r"images must be floats .*, got float32 \(8, 6, 1\)"):
        dc_augment(key, images[0])
    with pytest.raises(ValueError, match=r"H, W, C at least 1, got float32 \(2, 8, 0, 1\)"):
        dc_augment(key, images[:, :, :0])
    with pytest.raises(ValueError, match=r"images must be floats .*, got uint8"):
        dc_augment(key, images.astype(jnp.uint8))


@pytest.mark.parametrize(
    ("option", "value"),
    [("crop", 0), ("crop", 1.5), ("scale", 1.0), ("rotate", 0), ("noise", -1.0)],
)
def test_ratio_out_of_range(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{option} must be .*, got {value}"):
        DCRatios(**{option: value})
