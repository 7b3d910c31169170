"""IDC's multi-formation: decoding and the first images against the original, any size, bad input."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jdd
from jdd import synthetic
from jdd.data import Data, Split, class_table
from jdd.nn import convnet
from jdd.synthetic import multi_formation
from jdd.synthetic.multi_formation import mosaic, tiles_of

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

# Cases 6 and 7 of the file are other ways to decode (several factors at once), which jdd does not have.
CASES = range(6)


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def decode(factor, images):
    """``[n, H, W, ch]`` of one class to its decoded images and their labels."""
    batch = multi_formation(factor).decode({"images": images[None]}, 0)
    return batch.images[0], batch.labels[0]


@pytest.mark.parametrize("case", CASES)
def test_decoded_images_are_those_of_the_original(reference, case):
    arrays = reference("idc_decode")
    factor, images = int(arrays[f"c{case}.factor"]), nhwc(arrays[f"c{case}.images"])
    got, _ = jax.jit(decode, static_argnums=0)(factor, images)
    np.testing.assert_allclose(got, nhwc(arrays[f"c{case}.decoded"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_the_original(reference, case):
    arrays = reference("idc_decode")
    factor, images = int(arrays[f"c{case}.factor"]), nhwc(arrays[f"c{case}.images"])
    weights = nhwc(arrays[f"c{case}.R"])

    @jax.jit
    def dot(images):
        return jnp.sum(decode(factor, images)[0] * weights)

    got, want = jax.grad(dot)(images), nhwc(arrays[f"c{case}.grad"])
    assert np.linalg.norm(got - want) < 1e-6 * np.linalg.norm(want)
    np.testing.assert_allclose(dot(images), arrays[f"c{case}.dot_f64"], rtol=2e-6, atol=2e-4)


@pytest.mark.parametrize("case", CASES)
def test_crops_come_before_images_as_in_the_original(reference, case):
    arrays = reference("idc_decode")
    factor, labels = int(arrays[f"c{case}.factor"]), arrays[f"c{case}.labels"]
    # The original gives each stored image a label of its own, to show the order.
    images = jnp.broadcast_to(
        jnp.asarray(labels, jnp.float32)[:, None, None, None], (len(labels), 12, 12, 1)
    )
    got, _ = decode(factor, images)
    np.testing.assert_array_equal(got[:, 1, 1, 0], arrays[f"c{case}.decoded_labels"])


def test_a_whole_set_is_decoded_class_by_class(reference):
    arrays = reference("idc_decode")
    images = nhwc(arrays["full.images"]).reshape(3, 2, 16, 16, 3)
    batch = multi_formation(2).decode({"images": images}, 0)
    flat = synthetic.flat(batch)
    np.testing.assert_allclose(flat.images, nhwc(arrays["full.decoded"]), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(flat.labels, arrays["full.decoded_labels"])


@pytest.mark.parametrize("case", range(4))
def test_a_mosaic_is_that_of_the_original(reference, case):
    arrays = reference("idc_decode")
    factor, source = int(arrays[f"mix{case}.factor"]), nhwc(arrays[f"mix{case}.source"])
    want = nhwc(arrays[f"mix{case}.stored"])
    np.testing.assert_array_equal(mosaic(source, factor), want)
    params = multi_formation(factor).init(jax.random.key(0), source[None])
    np.testing.assert_array_equal(params["images"], want[None])


def upsampled(crop, height, width):
    """Bilinear interpolation with half-pixel centres, written out pixel by pixel."""

    def along(n, m):
        place = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, None)
        low = np.minimum(np.floor(place).astype(int), n - 1)
        return low, np.minimum(low + 1, n - 1), place - low

    top, bottom, y = along(crop.shape[0], height)
    left, right, x = along(crop.shape[1], width)
    y, x = y[:, None, None], x[None, :, None]
    upper = (1 - x) * crop[top][:, left] + x * crop[top][:, right]
    lower = (1 - x) * crop[bottom][:, left] + x * crop[bottom][:, right]
    return (1 - y) * upper + y * lower


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(4, 17), st.integers(4, 17), st.integers(0, 2**16))
def test_any_factor_and_size(factor, height, width, seed):
    rng = np.random.default_rng(seed)
    images = rng.random((2, 3, height, width, 2), np.float32)
    parametrisation = multi_formation(factor)
    sides = -(-height // factor), -(-width // factor)
    if min(sides) < 2 or any(
        (factor - 1) * s >= side for s, side in zip(sides, (height, width), strict=True)
    ):
        with pytest.raises(ValueError, match=rf"multi_formation\({factor}\)"):
            parametrisation.decode({"images": jnp.asarray(images)}, 0)
        return
    batch = parametrisation.decode({"images": jnp.asarray(images)}, 0)
    pad = [(0, 0), (0, 0), (0, factor * sides[0] - height), (0, factor * sides[1] - width), (0, 0)]
    padded = np.pad(images, pad, constant_values=0.5)
    for c in range(2):
        want = [
            upsampled(
                padded[c, k, i * sides[0] : (i + 1) * sides[0], j * sides[1] : (j + 1) * sides[1]],
                height,
                width,
            )
            for i in range(factor)
            for j in range(factor)
            for k in range(3)
        ]
        np.testing.assert_allclose(batch.images[c], want, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(batch.labels, np.repeat([[0], [1]], 3 * factor**2, 1))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(12, 20), st.integers(12, 20))
def test_every_tile_of_a_mosaic_comes_from_an_image_of_its_own(factor, height, width):
    n = 2
    source = jnp.broadcast_to(
        jnp.arange(n * factor**2, dtype=jnp.float32)[:, None, None, None],
        (n * factor**2, height, width, 1),
    )
    stored = np.asarray(mosaic(source, factor))
    assert stored.shape == (n, height, width, 1)
    heights, widths = tiles_of(height, factor), tiles_of(width, factor)
    assert (sum(heights), sum(widths)) == (height, width)
    for k in range(n):
        rows = np.repeat(np.arange(factor), heights)
        columns = np.repeat(np.arange(factor), widths)
        want = (rows[:, None] * factor + columns) * n + k
        np.testing.assert_array_equal(stored[k, ..., 0], want)


def test_factor_1_leaves_images_as_they_are():
    images = jax.random.uniform(jax.random.key(0), (2, 3, 9, 7, 1))
    one = multi_formation(1)
    params = one.init(jax.random.key(1), images)
    np.testing.assert_array_equal(one.decode(params, 0).images, images)


@pytest.mark.parametrize("factor", [0, -1, 1.5, True])
def test_a_factor_that_is_no_number_of_tiles_is_refused(factor):
    with pytest.raises(ValueError, match="factor must be"):
        multi_formation(factor)


@pytest.mark.parametrize(
    ("factor", "size", "message"),
    [
        (9, 8, "factor must be at most the shorter side of the image, 8, got 9"),
        (8, 8, "crops of 1x1 pixels"),
        (5, 8, "crops outside the image of 8x8 pixels"),
    ],
)
@pytest.mark.parametrize("which", ["init", "decode"])
def test_a_factor_that_the_image_cannot_hold_is_refused(factor, size, message, which):
    parametrisation = multi_formation(factor)
    with pytest.raises(ValueError, match=message) as caught:
        if which == "init":
            parametrisation.init(jax.random.key(0), jnp.zeros((1, factor**2, size, size, 1)))
        else:
            parametrisation.decode({"images": jnp.zeros((1, 1, size, size, 1))}, 0)
    assert "\n" not in str(caught.value)


def test_start_images_that_make_no_whole_mosaic_are_refused():
    with pytest.raises(ValueError, match="a multiple of 4 images of each class, got 6"):
        multi_formation(2).init(jax.random.key(0), jnp.zeros((1, 6, 8, 8, 1)))


def test_a_recipe_draws_the_images_of_a_mosaic_and_normalises_what_networks_see():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8, 1), np.uint8)
    table = class_table(Split(images, np.arange(60, dtype=np.int32) % 3), 3, (0.4,), (0.25,))
    recipe = dataclasses.replace(jdd.dm(2), synthetic=multi_formation(2), networks=2)
    method = jdd.build(recipe, convnet(3, (8, 8, 1), width=4, depth=1))
    state = method.init(jax.random.key(0), Data(table))
    stored = np.asarray(state.synthetic["images"])
    assert stored.shape == (3, 2, 8, 8, 1)
    assert stored.min() >= -1e-6 and stored.max() <= 1 + 1e-6
    # Each 4x4 tile is every other pixel of one real image of the class.
    of_class = images[np.arange(60) % 3 == 1][:, ::2, ::2] / np.float32(255)
    distance = np.abs(of_class - stored[1, 0, :4, 4:]).max((1, 2, 3))
    assert (distance < 1e-5).sum() == 1
    decoded = method.decode(state)
    assert decoded.images.shape == (3, 8, 1, 8, 8, 1)
    want = (multi_formation(2).decode(state.synthetic, 0).images - 0.4) / 0.25
    np.testing.assert_allclose(decoded.images[:, :, 0], want, rtol=1e-5, atol=1e-5)
    assert recipe.synthetic.num_floats(state.synthetic) == 3 * 2 * 64


def test_the_first_images_of_a_class_are_taken_in_file_order():
    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    labels = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1], np.int32)
    table = class_table(Split(images, labels), 2, (0.0,), (1.0,))
    got = synthetic.first_of_class().images(jax.random.key(0), table, convnet(2, (8, 8, 1)), 4)
    first = np.rint(np.asarray(got)[..., 0, 0, 0] * 255)
    np.testing.assert_array_equal(first, [[1, 4, 5, 7], [0, 2, 3, 6]])
    with pytest.raises(ValueError, match=r"the smallest class \(6\), got 7"):
        synthetic.first_of_class().images(jax.random.key(0), table, convnet(2, (8, 8, 1)), 7)
