"""Dataset, Split, and normalisation."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.data import Split, class_table, denormalise, normalise
from jdd.data.normalisation import check_statistics
from jdd.datasets import load_dataset, pixel_statistics
from jdd.validation import did_you_mean


def test_properties(animals):
    assert animals.num_classes == 3
    assert animals.image_shape == (6, 6, 3)
    assert animals.class_counts().tolist() == [4, 2, 3]
    assert len(animals.train) == 9


@pytest.mark.parametrize("classes", [["emu", "cat"], [2, 0], ["2", "0"], ("emu", np.int64(0))])
def test_restrict_relabels_in_the_order_given(animals, classes):
    small = animals.restrict(classes)
    assert small.class_names == ("emu", "cat")
    assert small.class_counts().tolist() == [3, 4]
    assert small.train.labels.tolist() == [0, 1, 1, 0, 1, 0, 1]
    kept = animals.train.images[animals.train.labels != 1]
    np.testing.assert_array_equal(small.train.images, kept)
    assert small.test.labels.tolist() == [1, 0, 1]
    assert (small.mean, small.std, small.name) == (animals.mean, animals.std, animals.name)


def test_a_name_of_digits_is_a_name_first(animals):
    data = dataclasses.replace(animals, class_names=("2", "1", "0"))
    assert data.restrict(["0", 0]).class_names == ("0", "2")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cta"], "unknown class 'cta', did you mean 'cat'.*known: cat, dog, emu"),
        ([3], "index 3 is out of range 0 to 2"),
        (["7"], "index 7 is out of range 0 to 2"),
        ([-1], "index -1 is out of range"),
        ([True], "must be a name or an index, got True"),
        ([1.0], "must be a name or an index, got 1.0"),
        (["cat", 0], "class given twice: cat"),
        ([], "no class given"),
        ("cat", "must be a sequence"),
        (["dog"], "the test split is empty"),
    ],
)
def test_restrict_refuses(animals, classes, message):
    with pytest.raises(ValueError, match=message) as raised:
        animals.restrict(classes)
    assert "\n" not in str(raised.value)


IMAGES, LABELS = np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, np.int32)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, "images must be a uint8 array of rank 4, got float32"),
        (IMAGES[..., 0], LABELS, r"rank 4, got uint8 \(2, 4, 4\)"),
        (IMAGES.tolist(), LABELS, "got list"),
        (IMAGES, LABELS.astype(np.int64), "labels must be a int32 array of rank 1, got int64"),
        (IMAGES, LABELS[:1], "2 images but 1 labels"),
        (IMAGES[:, :0], LABELS, "images of size 0"),
    ],
)
def test_split_refuses(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_splits_made_in_python_are_checked():
    first = np.zeros((2, 3, 8, 8), np.uint8)
    with pytest.raises(
        ValueError, match=r"images must be channels-last.*images.transpose\(0, 2, 3, 1\)"
    ):
        Split(first, np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="1 to 4 channels, got 16 channels"):
        Split(np.zeros((2, 8, 8, 16), np.uint8), np.zeros(2, np.int32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ()}, "non-empty and distinct"),
        ({"class_names": ("cat", "dog", "cat")}, "repeated=.'cat'"),
        ({"class_names": ("cat", 1, "emu")}, "class names must be text on one line, got 1"),
        ({"class_names": ("cat", "a\tb", "emu")}, "must be text on one line, got 'a"),
        ({"class_names": ("cat", "", "emu")}, "must be text on one line, got ''"),
        ({"mean": (125.3, 123.0, 113.9)}, r"mean must be on the \[0, 1\] scale.*\(0.4914, "),
        ({"class_names": ("cat", "dog")}, "labels run from 0 to 2, but 2 class names allow 0 to 1"),
        ({"class_names": ("cat", "dog", "emu", "fox")}, "no train image of fox"),
        ({"mean": (0.5,)}, "mean must be 3 finite numbers"),
        ({"std": (0.1, 0.1, float("nan"))}, "std must be 3 finite numbers"),
        ({"std": (0.1, 0.0, 0.1)}, "std must be positive"),
        ({"test": Split(np.zeros((1, 6, 5, 3), np.uint8), np.zeros(1, np.int32))}, "test images"),
        ({"test": Split(np.zeros((0, 6, 6, 3), np.uint8), np.zeros(0, np.int32))}, "is empty"),
        ({"test": Split(np.zeros((1, 6, 6, 3), np.uint8), -np.ones(1, np.int32))}, "run from -1"),
    ],
)
def test_dataset_refuses(animals, change, message):
    with pytest.raises(ValueError, match=message) as raised:
        dataclasses.replace(animals, **change)
    assert str(raised.value).startswith("animals: ") and "\n" not in str(raised.value)


def test_the_fingerprint_is_that_of_the_train_data(animals):
    images = animals.train.images.copy()
    others = {
        "name": {"name": "other", "class_names": ("a", "b", "c")},
        "copy": {"train": Split(images, animals.train.labels.copy())},
        "test": {"test": animals.train},
        "numbers": {"mean": tuple(np.array(animals.mean))},
    }
    for case, same in others.items():
        assert dataclasses.replace(animals, **same).fingerprint == animals.fingerprint, case
    changed = images.copy()
    changed[-1, 0, 0, 0] ^= 1
    different = [
        {"train": Split(changed, animals.train.labels)},
        {"train": Split(images, animals.train.labels[::-1].copy())},
        {"mean": (0.5, 0.4, 0.2)},
        {"std": (0.2, 0.25, 0.2)},
    ]
    prints = {dataclasses.replace(animals, **change).fingerprint for change in different}
    assert len({animals.fingerprint, *prints}) == 5
    square = images.reshape(9, 4, 9, 3)
    reshaped = {part: Split(square, animals.train.labels) for part in ("train", "test")}
    assert dataclasses.replace(animals, **reshaped).fingerprint != animals.fingerprint


def test_the_fingerprint_stays_what_stored_runs_hold():
    """Runs and sets of earlier versions hold this digest of the digits 0 and 1."""
    assert load_dataset("digits", classes=["0", "1"]).fingerprint == "1ba355b865c4f6df"


def test_tables_are_both_splits_on_the_device(animals):
    for table, split in zip(animals.tables(), (animals.train, animals.test), strict=True):
        expected = class_table(split, 3, animals.mean, animals.std)
        assert (table.largest, table.smallest) == (expected.largest, expected.smallest)
        for one, other in zip(jax.tree.leaves(table), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(one, other)
    assert animals.tables()[1].count.tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (
            (127.5, 0.0),
            (0.5, 0.5),
            r"mean .*\(127.5, 0.0\), of the 0-255 scale: divide by 255, \(0.5, 0.0\)",
        ),
        (
            (0.5, 0.5),
            (51, 0.5),
            r"std .*\(51, 0.5\), of the 0-255 scale: divide by 255, \(0.2, 0.002\)",
        ),
        (
            (-0.1, 0.5),
            (0.5, 0.5),
            r"mean must be on the \[0, 1\] scale of x / 255, got \(-0.1, 0.5\)$",
        ),
        (
            (0.5, 300.0),
            (0.5, 0.5),
            r"mean must be on the \[0, 1\] scale of x / 255, got \(0.5, 300.0\)$",
        ),
        ((0.5,), (0.5, 0.5), r"mean must be 2 finite numbers .one per channel., got \(0.5,\)"),
        ((0.5, 0.5), (0.5, float("inf")), "std must be 2 finite numbers"),
        ((0.5, 0.5), (0.5, -0.5), "std must be positive in every channel"),
    ],
)
def test_statistics_that_are_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        check_statistics(mean, std, 2)
    check_statistics((0.0, 1.0), (1.0, 1e-3), 2)


def test_normalise_and_back(animals):
    images = animals.train.images
    expected = (images / 255.0 - np.array(animals.mean)) / np.array(animals.std)
    on_host = normalise(images, animals.mean, animals.std)
    assert isinstance(on_host, np.ndarray) and on_host.dtype == np.float32
    np.testing.assert_allclose(on_host, expected, atol=1e-6)
    mean, std = jnp.array(animals.mean), jnp.array(animals.std)
    on_device = jax.jit(normalise)(jnp.asarray(images), mean, std)
    assert on_device.dtype == jnp.float32
    np.testing.assert_allclose(on_device, expected, atol=1e-6)
    for back in (
        denormalise(on_host, animals.mean, animals.std),
        denormalise(on_device, mean, std),
    ):
        np.testing.assert_allclose(back, images / 255.0, atol=1e-6)


def test_normalise_refuses_floats(animals):
    with pytest.raises(ValueError, match="uint8 images, got float32"):
        normalise(np.zeros((1, 2, 2, 3), np.float32), animals.mean, animals.std)


def test_pixel_statistics_are_numpys(random_images):
    images = random_images(1203, 3, 4, 2)  # more than one part, the last one ragged
    mean, std = pixel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-12)


def test_did_you_mean():
    assert did_you_mean("Fashion-MNIST", ["mnist", "fashion_mnist"]) == (
        ", did you mean 'fashion_mnist'?"
    )
    assert did_you_mean("zzz", ["mnist"]) == ""
