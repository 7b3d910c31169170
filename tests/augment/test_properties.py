"""What holds of every augmentation, whatever the key, the parameters and the images."""

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
from jdd.augment.dsa import OPS

SIDE = 6
seeds = st.integers(0, 2**32 - 1)
angles = st.floats(-3.0, 3.0, width=32)
factors = st.floats(0.5, 2.0, width=32)
shifts = st.integers(-SIDE, SIDE)
properties = settings(max_examples=20, deadline=None)


def images(seed: int, count: int = 3) -> Array:
    return jax.random.normal(jax.random.key(seed), (count, SIDE, SIDE, 2))


@functools.cache
def augmented(strategy: str, siamese: bool, many: bool = False) -> Callable[[Array, Array], Array]:
    function = dsa_all if many else dsa
    return jax.jit(lambda key, x: function(key, x, strategy, siamese=siamese))


@pytest.mark.parametrize("siamese", [True, False])
@properties
@given(seed=seeds, other=seeds, share=st.floats(-1.0, 2.0))
def test_dsa_is_affine_in_the_images(siamese: bool, seed: int, other: int, share: float) -> None:
    x, y, key = images(seed), images(other), jax.random.key(seed)
    apply = functools.partial(augmented(STRATEGY, siamese), key)
    mixed = apply(share * x + (1 - share) * y)
    np.testing.assert_allclose(mixed, share * apply(x) + (1 - share) * apply(y), atol=2e-5)
    assert mixed.shape == x.shape and mixed.dtype == x.dtype and np.isfinite(mixed).all()


@properties
@given(seed=seeds, count=st.integers(1, 2))
def test_a_siamese_key_is_one_transform_for_every_image(seed: int, count: int) -> None:
    x, key = images(seed, 3), jax.random.key(seed)
    for many in (False, True):
        apply = functools.partial(augmented(STRATEGY, True, many), key)
        whole = apply(x)
        np.testing.assert_allclose(whole[:count], apply(x[:count]), atol=1e-5)
        np.testing.assert_allclose(whole[::-1], apply(x[::-1]), atol=1e-5)
        np.testing.assert_array_equal(whole, apply(x))


@properties
@given(seed=seeds)
def test_dcs_augmentation_makes_no_pixel_brighter_than_there_was(seed: int) -> None:
    x, key = images(seed), jax.random.key(seed)
    out = dc_augment(key, x, "crop_scale")
    assert out.shape == x.shape and out.dtype == x.dtype
    assert float(out.max()) <= max(float(x.max()), 0) and float(out.min()) >= min(float(x.min()), 0)
    np.testing.assert_array_equal(out, dc_augment(key, x, "crop_scale"))


@properties
@given(seed=seeds, theta=angles, tx=shifts, ty=shifts, sx=factors, sy=factors, mirror=st.booleans())
def test_the_gradient_of_a_linear_op_is_its_transpose(
    seed: int, theta: float, tx: int, ty: int, sx: float, sy: float, mirror: bool
) -> None:
    x, y = images(seed), images(seed // 2 + 1)
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
        lambda x: ops.cutout(x, tx, ty, 3),
        lambda x: ops.contrast(ops.saturation(x, sx), sy),
    )
    found = []
    for op in linear:
        out, pull = jax.vjp(op, x)
        found.append((jnp.vdot(out, y), jnp.vdot(x, pull(y)[0])))
    return found


@properties
@given(seed=seeds, tx=shifts, ty=shifts)
def test_what_a_shift_takes_out_it_brings_back(seed: int, tx: int, ty: int) -> None:
    x = images(seed)
    back = np.asarray(ops.crop(ops.crop(x, tx, ty), -tx, -ty))
    seen = np.asarray(ops.crop(ops.crop(jnp.ones_like(x), tx, ty), -tx, -ty))
    np.testing.assert_array_equal(back, x * seen)
    assert seen[0, ..., 0].sum() == max(0, SIDE - abs(tx)) * max(0, SIDE - abs(ty))


@properties
@given(seed=seeds, ox=st.integers(0, SIDE), oy=st.integers(0, SIDE), size=st.integers(0, SIDE + 1))
def test_a_hole_is_cut_once_and_the_rest_stays(seed: int, ox: int, oy: int, size: int) -> None:
    x = images(seed)
    once = ops.cutout(x, ox, oy, size)
    np.testing.assert_array_equal(ops.cutout(once, ox, oy, size), once)
    cut = np.asarray(once == 0)
    assert cut[0, ..., 0].sum() <= size**2
    np.testing.assert_array_equal(np.where(cut, 0, x), once)


@properties
@given(seed=seeds, b=st.floats(-2, 2, width=32), s=factors, k=factors)
def test_colors_can_be_undone(seed: int, b: float, s: float, k: float) -> None:
    x = images(seed)
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
@given(seed=seeds)
def test_each_op_leaves_black_black_or_is_a_brightness(name: str, seed: int) -> None:
    black = jnp.zeros((3, SIDE, SIDE, 2))
    out = np.asarray(augmented(name, False)(jax.random.key(seed), black))
    per_image = out.reshape(3, -1)
    assert np.allclose(per_image, per_image[:, :1], atol=1e-6)
    assert name == "color" or not out.any()
