"""Properties of every augmentation, for any key, parameters and images."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array

from jdd.augment import STRATEGY, dc_augment, dsa, dsa_all, ops
from jdd.augment.dc import nearest_scale, shifted_crop, spline_rotate
from jdd.augment.dsa import OPS

shapes = st.sampled_from([(6, 6), (4, 7)])
seeds = st.integers(0, 2**32 - 1)
angles = st.floats(-3.0, 3.0, width=32)
factors = st.floats(0.5, 2.0, width=32)
shifts = st.integers(-7, 7)
properties = settings(max_examples=20, deadline=None)


Shape = tuple[int, int]


def images(seed: int, shape: Shape) -> Array:
    return jax.random.normal(jax.random.key(seed), (3, *shape, 2))


@functools.cache
def augmented(strategy: str, siamese: bool, many: bool = False) -> Callable[[Array, Array], Array]:
    function = dsa_all if many else dsa
    return jax.jit(lambda key, x: function(key, x, strategy, siamese=siamese))


@pytest.mark.parametrize("siamese", [True, False])
@properties
@given(shape=shapes, seed=seeds, other=seeds, share=st.floats(-1.0, 2.0))
def test_dsa_is_affine_in_the_images(
    siamese: bool, shape: Shape, seed: int, other: int, share: float
) -> None:
    x, y, key = images(seed, shape), images(other, shape), jax.random.key(seed)
    apply = functools.partial(augmented(STRATEGY, siamese), key)
    mixed = apply(share * x + (1 - share) * y)
    np.testing.assert_allclose(mixed, share * apply(x) + (1 - share) * apply(y), atol=2e-5)
    assert mixed.shape == x.shape and mixed.dtype == x.dtype and np.isfinite(mixed).all()


@properties
@given(shape=shapes, seed=seeds, count=st.integers(1, 2))
def test_a_siamese_key_is_one_transform_for_every_image(
    shape: Shape, seed: int, count: int
) -> None:
    x, key = images(seed, shape), jax.random.key(seed)
    for many in (False, True):
        apply = functools.partial(augmented(STRATEGY, True, many), key)
        whole = apply(x)
        np.testing.assert_allclose(whole[:count], apply(x[:count]), atol=1e-5)
        np.testing.assert_allclose(whole[::-1], apply(x[::-1]), atol=1e-5)
        np.testing.assert_array_equal(whole, apply(x))


@properties
@given(shape=shapes, seed=seeds)
def test_dcs_crop_and_scale_make_no_new_value(shape: Shape, seed: int) -> None:
    x, key = images(seed, shape), jax.random.key(seed)
    out = dc_augment(key, x, "crop_scale")
    assert out.shape == x.shape and out.dtype == x.dtype
    assert float(out.max()) <= max(float(x.max()), 0) and float(out.min()) >= min(float(x.min()), 0)
    np.testing.assert_array_equal(out, dc_augment(key, x, "crop_scale"))


@properties
@given(
    shape=shapes,
    seed=seeds,
    theta=angles,
    tx=shifts,
    ty=shifts,
    sx=factors,
    sy=factors,
    mirror=st.booleans(),
)
def test_the_gradient_of_a_linear_op_is_its_transpose(
    shape: Shape, seed: int, theta: float, tx: int, ty: int, sx: float, sy: float, mirror: bool
) -> None:
    x, y = images(seed, shape), images(seed // 2 + 1, shape)
    for product, transposed in _products(x, y, theta, tx, ty, sx, sy, mirror):
        np.testing.assert_allclose(product, transposed, rtol=1e-4, atol=1e-4)


@jax.jit
def _products(x: Array, y: Array, theta, tx, ty, sx, sy, mirror) -> list[tuple[Array, Array]]:
    """``<A x, y>`` and ``<x, A' y>`` for each op."""
    linear = (
        lambda x: ops.rotate(x, theta),
        lambda x: ops.crop(x, tx, ty),
        lambda x: ops.scale(x, sx, sy),
        lambda x: ops.flip(x, mirror),
        lambda x: ops.cutout(x, tx, ty, (3, 4)),
        lambda x: ops.contrast(ops.saturation(x, sx), sy),
    )
    products = []
    for op in linear:
        out, pull = jax.vjp(op, x)
        products.append((jnp.vdot(out, y), jnp.vdot(x, pull(y)[0])))
    return products


@properties
@given(shape=shapes, seed=seeds, tx=shifts, ty=shifts)
def test_a_shift_and_its_opposite_restore_what_stayed_inside(
    shape: Shape, seed: int, tx: int, ty: int
) -> None:
    x = images(seed, shape)
    back = np.asarray(ops.crop(ops.crop(x, tx, ty), -tx, -ty))
    stayed = np.asarray(ops.crop(ops.crop(jnp.ones_like(x), tx, ty), -tx, -ty))
    np.testing.assert_array_equal(back, x * stayed)
    height, width = shape
    assert stayed[0, ..., 0].sum() == max(0, height - abs(tx)) * max(0, width - abs(ty))


@properties
@given(
    shape=shapes,
    seed=seeds,
    ox=shifts,
    oy=shifts,
    height=st.integers(0, 8),
    width=st.integers(0, 8),
)
def test_a_hole_has_its_size_and_place(
    shape: Shape, seed: int, ox: int, oy: int, height: int, width: int
) -> None:
    x = images(seed, shape)
    expected = np.asarray(x).copy()
    top, left = ox - height // 2, oy - width // 2
    expected[:, max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = 0
    np.testing.assert_array_equal(ops.cutout(x, ox, oy, (height, width)), expected)
    if height == width:
        np.testing.assert_array_equal(ops.cutout(x, ox, oy, height), expected)


@properties
@given(shape=shapes, seed=seeds, theta=angles, sx=factors, sy=factors, tx=shifts, ty=shifts)
def test_the_ops_treat_both_axes_alike(
    shape: Shape, seed: int, theta: float, sx: float, sy: float, tx: int, ty: int
) -> None:
    x = images(seed, shape)
    upright, lying = _of_both_axes(x, theta, sx, sy, tx, ty)
    for out, transposed in zip(upright, lying, strict=True):
        np.testing.assert_allclose(transposed.swapaxes(1, 2), out, atol=2e-5)


@jax.jit
def _of_both_axes(x: Array, theta, sx, sy, tx, ty) -> tuple[list[Array], list[Array]]:
    """Ops on images, and on their transposes with the parameters of the axes exchanged."""
    t = x.swapaxes(1, 2)
    degrees, size = (theta * 57).astype(int), jnp.stack([5 + tx // 4, 6 + ty // 4])
    offset, fill = jnp.stack([tx, ty]) % 8, jnp.arange(2.0)
    upright = [
        ops.rotate(x, theta),
        ops.scale(x, sx, sy),
        ops.crop(x, tx, ty),
        ops.cutout(x, tx, ty, (2, 3)),
        ops.color(x, sx, sy, sx),
        spline_rotate(x, degrees, jnp.array(0.3)),
        nearest_scale(x, size, ratio=0.4),
        shifted_crop(x, offset, fill, pad=4),
    ]
    lying = [
        ops.rotate(t, -theta),
        ops.scale(t, sy, sx),
        ops.crop(t, ty, tx),
        ops.cutout(t, ty, tx, (3, 2)),
        ops.color(t, sx, sy, sx),
        spline_rotate(t, -degrees, jnp.array(0.3)),
        nearest_scale(t, size[::-1], ratio=0.4),
        shifted_crop(t, offset[::-1], fill, pad=4),
    ]
    return upright, lying


@properties
@given(
    shape=st.sampled_from([(4, 8), (5, 3)]),
    seed=seeds,
    theta=angles,
    sx=factors,
    sy=factors,
    tx=shifts,
    ty=shifts,
)
def test_an_image_is_its_part_of_a_square_with_a_frame_of_zeros(
    shape: Shape, seed: int, theta: float, sx: float, sy: float, tx: int, ty: int
) -> None:
    # So nothing is sheared or stretched: what holds of squares holds of the image inside.
    for out, inside in _alone_and_framed(images(seed, shape), theta, sx, sy, tx, ty):
        np.testing.assert_allclose(out, inside, atol=2e-5)


@jax.jit
def _alone_and_framed(x: Array, theta, sx, sy, tx, ty) -> list[tuple[Array, Array]]:
    """Ops on images, and on squares of 10 or 11 pixels with the images in their middle."""
    height, width = x.shape[1:3]
    top, left = (10 + height % 2 - height) // 2, (10 + width % 2 - width) // 2
    framed = jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    assert framed.shape[1] == framed.shape[2]

    def both(op: Callable[..., Array], *arguments: Array) -> tuple[Array, Array]:
        inside = op(framed, *arguments)[:, top : top + height, left : left + width]
        return op(x, *arguments), inside

    return [both(ops.rotate, theta), both(ops.scale, sx, sy), both(ops.crop, tx, ty)]


@properties
@given(shape=shapes, seed=seeds, b=st.floats(-2, 2, width=32), s=factors, k=factors)
def test_colors_can_be_undone(shape: Shape, seed: int, b: float, s: float, k: float) -> None:
    x = images(seed, shape)
    for op, by, back in (
        (ops.brightness, b, -b),
        (ops.saturation, s, 1 / s),
        (ops.contrast, k, 1 / k),
    ):
        np.testing.assert_allclose(op(op(x, by), back), x, atol=2e-5)
    # Turning the color down to nothing leaves grey; the contrast, one grey.
    grey = ops.saturation(x, 0.0)
    np.testing.assert_allclose(grey[..., :1], x.mean(-1, keepdims=True), atol=1e-5)
    flat = ops.contrast(x, 0.0)
    np.testing.assert_allclose(flat, x.mean((1, 2, 3), keepdims=True) + 0 * x, atol=1e-5)


@pytest.mark.parametrize("name", OPS)
@properties
@given(shape=shapes, seed=seeds)
def test_each_op_leaves_black_black_or_is_a_brightness(name: str, shape: Shape, seed: int) -> None:
    black = jnp.zeros((3, *shape, 2))
    out = np.asarray(augmented(name, False)(jax.random.key(seed), black))
    per_image = out.reshape(3, -1)
    assert np.allclose(per_image, per_image[:, :1], atol=1e-6)
    assert name == "color" or not out.any()
