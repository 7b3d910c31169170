"""ZCA whitening: the original's matrices and images, the way back, and the tables that networks see."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.choice import from_json
from jdd.data import Split, fit_zca, per_channel, take, unwhiten, whiten, zca
from jdd.data.whitening import Whitening, whitened_table
from jdd.datasets import Dataset


def hwc(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 2, 3, 1)


def in_our_order(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A matrix over (channel, row, column) as one over (row, column, channel)."""
    order = np.arange(matrix.shape[-1]).reshape(shape).transpose(1, 2, 0).reshape(-1)
    return matrix[..., order] if len(matrix) == 1 else matrix[np.ix_(order, order)]


@pytest.mark.parametrize("case", ["rgb", "gray"])
def test_the_originals_whitening(reference, case):
    arrays = reference("zca")
    train, test = arrays[f"{case}.train"], arrays[f"{case}.test"]
    shape = train.shape[1:]
    ours = fit_zca(hwc(train))
    for got, name in zip(ours, ("mean", "T", "T_inv"), strict=True):
        want = in_our_order(arrays[f"{case}.{name}_f64"], shape)
        np.testing.assert_allclose(got, want.reshape(got.shape), atol=2e-6)
    for images, name in ((train, "train_white"), (test, "test_white")):
        white = whiten(hwc(images), ours)
        np.testing.assert_allclose(white, hwc(arrays[f"{case}.{name}"]), atol=3e-6)
        np.testing.assert_allclose(unwhiten(white, ours), hwc(images), atol=2e-6)


def test_bytes_are_the_same_images_on_another_scale():
    images = np.random.default_rng(0).integers(0, 256, (3000, 4, 4, 3), np.uint8)
    ours = fit_zca(images)
    for got, want in zip(ours, fit_zca(images / 255), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, atol=1e-6)
    np.testing.assert_allclose(
        whiten(images[:5], ours), whiten(images[:5] / np.float32(255), ours), atol=1e-6
    )


def test_in_double_precision(reference):
    arrays = reference("zca")
    train = hwc(arrays["rgb.train"]).astype(np.float64)
    with jax.enable_x64(True):
        ours = fit_zca(train)
        white = np.asarray(whiten(hwc(arrays["rgb.test"]).astype(np.float64), ours))
    assert white.dtype == np.float64
    np.testing.assert_allclose(white, hwc(arrays["rgb.test_white_f64"]), atol=1e-11)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4, 4, 2), np.uint8)
    labels = np.arange(40, dtype=np.int32) % 2
    split, test = Split(images[:30], labels[:30]), Split(images[30:], labels[30:])
    return Dataset("toy", split, test, ("cat", "dog"), (0.5, 0.5), (0.25, 0.25))


def test_tables_hold_whitened_floats_sorted_by_class(dataset):
    whitening = fit_zca(dataset.train.images)
    train, test = dataset.tables(whitening)
    for table, split in ((train, dataset.train), (test, dataset.test)):
        order = np.argsort(split.labels, kind="stable")
        want = whiten(split.images[order] / np.float32(255), whitening)
        np.testing.assert_allclose(table.images, want, atol=1e-5)
        # Networks see them as they are.
        np.testing.assert_array_equal(take(table, jnp.array([3])), table.images[3:4])
        assert table.images.dtype == jnp.float32
        assert (table.mean.tolist(), table.std.tolist()) == ([0.0, 0.0], [1.0, 1.0])


def test_choices_are_saved_and_others_are_refused(dataset):
    for choice in (per_channel(), zca(), zca(0.5)):
        assert from_json(choice.to_json()) == choice
    assert per_channel().fit is None
    other = Whitening(np.zeros(4), np.eye(4), np.eye(4))
    for call, message in (
        (lambda: zca(0), "epsilon must be above 0"),
        (lambda: fit_zca(dataset.train.images[:1]), "at least two images"),
        (lambda: whitened_table(dataset.train, 2, other), "of images of 4 numbers"),
        (lambda: dataset.tables(other), "of images of 4 numbers"),
        (lambda: unwhiten(np.zeros((1, 3, 3, 1)), other), "of images of 4 numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
