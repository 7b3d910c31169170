"""Arrays as users bring them: read rightly, read with a warning, or refused with the mend."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from jdd.datasets import Dataset, DataWarning, load_dataset
from jdd.datasets.plausibility import as_dataset
from jdd.datasets.source import RawSplit, Source

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), np.uint8)
LABELS = np.arange(12) % 3
ARRAYS = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[::-1], "y_test": LABELS[::-1]}

Load = Callable[..., tuple[Dataset, list[str]]]


@pytest.fixture
def load(tmp_path) -> Load:
    """``load(x_train=..., ...)``: the data set of an archive with these changes, and its warnings."""

    def load(*, test_share: float | None = None, **changes: Any) -> tuple[Dataset, list[str]]:
        arrays = {key: value for key, value in (ARRAYS | changes).items() if value is not None}
        np.savez(tmp_path / "own.npz", **arrays)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            data = load_dataset(f"npz:{tmp_path / 'own.npz'}", test_share=test_share)
        assert all(warning.category is DataWarning for warning in caught)
        assert all(warning.filename == __file__ for warning in caught)
        texts = [str(warning.message) for warning in caught]
        assert all("own.npz: " in text and "\n" not in text for text in texts)
        return data, [text.partition("own.npz: ")[2] for text in texts]

    return load


@pytest.fixture
def refused(load) -> Callable[..., str]:
    """``refused(x_train=..., ...)``: the message, without the name of the file."""

    def refused(**changes: Any) -> str:
        with pytest.raises(ValueError, match=r"own\.npz: ") as raised:
            load(**changes)
        assert "\n" not in str(raised.value)
        return str(raised.value).partition("own.npz: ")[2]

    return refused


def unchanged(data: Dataset) -> bool:
    """Whether the data are those of the right archive."""
    splits = ((data.train, IMAGES, LABELS), (data.test, IMAGES[::-1], LABELS[::-1]))
    return all(
        np.array_equal(split.images, images) and np.array_equal(split.labels, labels)
        for split, images, labels in splits
    )


def test_a_right_archive_is_read_in_silence(load):
    data, texts = load()
    assert unchanged(data) and texts == []


MENDED = {
    "channels first": (
        {"x_train": IMAGES.transpose(0, 3, 1, 2)},
        "x_train must be channels-last, [N, H, W, C], got channels-first (12, 3, 6, 6): store ",
    ),
    "channels first in test": (
        {"x_test": IMAGES[::-1].transpose(0, 3, 1, 2)},
        "x_test must be channels-last, [N, H, W, C], got channels-first (12, 3, 6, 6): store ",
    ),
    "N last": (
        {"x_train": IMAGES.transpose(1, 2, 3, 0)},
        "x_train (6, 6, 3, 12) has 6 images but 12 labels: its last axis is N; store ",
    ),
    "floats to 1": (
        {"x_train": (IMAGES / 255).astype(np.float32)},
        r"x_train must be uint8 [N, H, W] or [N, H, W, C], got float32 (12, 6, 6, 3) from 0 to 1: store ",
    ),
    "floats to 255": (
        {"x_test": IMAGES[::-1].astype(np.float64)},
        "got float64 (12, 6, 6, 3) from 0 to 255: store ",
    ),
    "floats from -1": (
        {"x_train": (IMAGES / 127.5 - 1).astype(np.float32)},
        "got float32 (12, 6, 6, 3) from -1 to 1: store ",
    ),
    "whole numbers": (
        {"x_train": IMAGES.astype(np.int64)},
        "got int64 (12, 6, 6, 3) from 0 to 255: store ",
    ),
    "labels of whole floats": (
        {"y_train": LABELS.astype(np.float32)},
        "y_train must be integers [N], got float32 (12,): store ",
    ),
    "probabilities": (
        {"y_train": np.eye(3)[LABELS] * 0.7 + 0.1},
        "y_train must be integers [N], got float64 (12, 3), probabilities: store ",
    ),
    "a row of labels": (
        {"y_train": LABELS[None]},
        "y_train must be integers [N], got int64 (1, 12): store ",
    ),
}


@pytest.mark.parametrize("case", MENDED)
def test_the_mend_in_the_message_works(load, refused, case):
    changes, finding = MENDED[case]
    message = refused(**changes)
    assert finding in message
    mend = message.rpartition(": store ")[2] if "; store" not in message else ""
    mend = mend or message.rpartition("; store ")[2]
    (key,) = changes
    repaired = eval(mend, {"np": np}, changes)  # the code that a user would copy
    data, texts = load(**{key: repaired})
    assert unchanged(data) and texts == []


def test_grey_channels_first_and_flat_images(load, refused):
    grey = IMAGES[..., 0]
    for stored in (grey[:, None], grey.reshape(12, 36)):
        message = refused(x_train=stored, x_test=grey)
        repaired = eval(message.rpartition("store ")[2], {}, {"x_train": stored})
        data, _ = load(x_train=repaired, x_test=grey)
        np.testing.assert_array_equal(data.train.images[..., 0], grey)


def test_labels_that_are_texts(load, refused):
    words = np.array(["cat", "dog", "emu"])[LABELS]
    message = refused(y_train=words)
    assert message.startswith(
        "y_train must be integers [N], got <U3 (12,): store class_names, y_train"
    )
    names: dict[str, Any] = {"np": np, "y_train": words}
    exec(message.rpartition("store ")[2], names)
    data, _ = load(y_train=names["y_train"], class_names=names["class_names"])
    assert unchanged(data) and data.class_names == ("cat", "dog", "emu")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"x_train": np.zeros((12, 6, 6, 5), np.uint8)}, ["1 to 4 channels", "got 5 channels"]),
        ({"x_train": np.zeros((12, 6, 3, 6), np.uint8)}, ["channels are on the third axis"]),
        ({"x_train": np.zeros((12, 1, 4, 4), np.uint8)}, ["channels-first (12, 1, 4, 4)"]),
        ({"x_train": np.zeros((12, 36, 3), np.uint8)}, ["(12, 36, 3)", "[N, H, W, 3]"]),
        ({"x_train": np.zeros((12, 6, 6, 6, 3), np.uint8)}, ["[N, H, W]", "(12, 6, 6, 6, 3)"]),
        ({"x_train": np.zeros((12, 50), np.uint8)}, ["(12, 50), flattened: reshape it"]),
        ({"x_train": IMAGES > 99}, ["got bool", "store x_train.astype(np.uint8) * 255"]),
        ({"x_train": IMAGES.astype(np.uint16) * 257}, ["uint16", "from 0 to 65535: scale to 255"]),
        ({"x_train": IMAGES / 64.0 - 2}, ["float64", "undo the normalisation"]),
        ({"x_train": np.where(IMAGES > 9, IMAGES, np.inf)}, ["float64", "not finite"]),
        ({"y_train": LABELS + 0.5}, ["y_train must be integers [N], got float64 (12,)"]),
        (
            {"y_test": np.r_[LABELS[1:], -1]},
            ["y_test must not be negative, got -1 (1 of 12 labels)"],
        ),
        (
            {"y_train": LABELS % 2 * 2 - 1},
            ["got -1 (8 of 12", "store (y_train > 0).astype(np.int64)"],
        ),
        ({"y_train": np.full(12, -1)}, ["y_train must not be negative"]),
        (
            {"y_train": np.eye(3, dtype=int)[LABELS] | np.eye(3, dtype=int)[LABELS[::-1]]},
            ["(12, 3), multi-label (row 0 has 2 labels)", "keep the images with one label"],
        ),
        ({"y_train": np.zeros((12, 3), int)}, ["multi-label (row 0 has 0 labels)"]),
        ({"y_train": np.zeros((12, 3, 1), int)}, ["y_train must be integers [N], got int64"]),
        ({"y_train": np.full((12, 2), 7)}, ["store the number of one class for each image"]),
        (
            {"mean": (125.3, 123.0, 113.9)},
            ["mean must be on the [0, 1] scale", "(0.4914, 0.4824, 0.4467)"],
        ),
        (
            {"std": (63.0, 62.1, 66.7)},
            ["std must be on the [0, 1] scale", "(0.2471, 0.2435, 0.2616)"],
        ),
        ({"mean": (-0.02, 0, 0)}, ["mean must be on the [0, 1] scale", "(-0.02, 0.0, 0.0)"]),
        ({"mean": (0.5,)}, ["mean must be 3 finite numbers"]),
        ({"mean": ()}, ["mean must be 3 finite numbers"]),
        ({"std": (0.2, 0.2, 0)}, ["std must be positive in every channel, got (0.2, 0.2, 0.0)"]),
        ({"mean": (0.002,) * 3, "std": (0.001,) * 3}, ["are not those of the images", "mean (0.4"]),
        (
            {"x_train": IMAGES * np.array((1, 0, 1), np.uint8)},
            ["std must be positive", "channel 1 of 3 has one"],
        ),
        ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, ["the train split is empty"]),
        ({"x_test": IMAGES[:0], "y_test": LABELS[:0]}, ["the test split is empty"]),
        (
            {"class_names": ["a", "b\nc", "d"]},
            ["class names must be text on one line, got 'b\\nc'"],
        ),
        ({"class_names": ["a", " ", "d"]}, ["class names must be text on one line, got ' '"]),
    ],
)
def test_refused(refused, changes, parts):
    message = refused(**changes)
    assert all(part in message for part in parts), message


def test_statistics_on_their_scale_are_kept(load):
    for mean, std in (((0.0,) * 3, (1.0,) * 3), ((0.5,) * 3, (0.5,) * 3)):
        data, texts = load(mean=mean, std=std)
        assert (data.mean, data.std, texts) == (mean, std, [])
    constant = IMAGES * np.array((1, 1, 0), np.uint8) + np.array((0, 0, 255), np.uint8)
    mean, std = (0.5, 0.5, 1.0), (0.3, 0.3, 1.0)
    data, texts = load(x_train=constant, mean=mean, std=std)  # the mend of a constant channel
    assert (data.mean, data.std, texts) == (mean, std, [])


def test_labels_from_1_become_labels_from_0(load):
    data, texts = load(y_train=LABELS + 1, y_test=LABELS[::-1] + 1)
    assert unchanged(data) and data.class_names == ("1", "2", "3")
    assert texts == ["labels start at 1: label 1 is class 0, '1', and so on"]
    names = np.array(["cat", "dog", "emu"])
    data, texts = load(y_train=LABELS + 1, y_test=LABELS[::-1] + 1, class_names=names)
    assert unchanged(data) and data.class_names == ("cat", "dog", "emu")
    assert texts == ["labels start at 1: label 1 is class 0, 'cat', and so on"]
    small = (LABELS + 1).astype(np.uint8)
    assert unchanged(load(y_train=small, y_test=small[::-1])[0])


def test_a_name_for_a_label_0_without_images_is_refused(refused):
    names = np.array(["background", "cat", "dog", "emu"])
    message = refused(y_train=LABELS + 1, y_test=LABELS[::-1] + 1, class_names=names)
    assert message.startswith("no train image of background: ")


def test_only_one_split_from_1_is_refused(refused):
    message = refused(y_train=LABELS + 1)
    assert message.startswith("no train image of 0, but the test split has 0: ")
    assert "train image of 3, but the test split has 3" in refused(y_test=LABELS + 1)


def test_labels_that_jump_are_refused_and_can_be_renumbered(load, refused):
    jumping = np.array([0, 4, 9])[LABELS]
    message = refused(y_train=jumping, y_test=jumping[::-1])
    assert message.startswith(
        "no train image of 1, 2, 3, 5, 6, 7, 8: the labels jump (3 of 0 to 9)"
    )
    steps = re.search("values = (.*?), y = (.*?), and class_names = (.*)", message)
    assert steps
    scope: dict[str, Any] = {"np": np, "y_train": jumping}
    values = scope["values"] = eval(steps[1], scope)
    y_train, y_test = (eval(steps[2], scope | {"y": y}) for y in (jumping, jumping[::-1]))
    names = eval(steps[3], scope)
    data, texts = load(y_train=y_train, y_test=y_test, class_names=names)
    assert unchanged(data) and data.class_names == ("0", "4", "9") and texts == []
    assert values.tolist() == [0, 4, 9]


@pytest.mark.parametrize("labels", [[0, 2**40, 7], [0, 2**63 + 5, 7]])
def test_labels_beyond_any_class_are_refused_at_once(refused, labels):
    many = np.array(labels, np.uint64)[LABELS]
    message = refused(y_train=many, y_test=many[::-1])
    assert message.startswith("no train image of 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, ...: the")


def test_a_class_of_test_only_is_named(refused):
    names = np.array(["cat", "dog", "emu", "fox"])
    message = refused(y_test=np.r_[LABELS[:-1], 3], class_names=names)
    assert message.startswith("no train image of fox, but the test split has fox: ")


def test_a_class_of_train_only_is_a_warning(load):
    data, texts = load(y_test=LABELS[::-1] * 0)
    assert texts == ["no test image of 1, 2: accuracies do not cover it"]
    assert data.num_classes == 3


@pytest.mark.parametrize("kind", [np.uint8, np.float32, bool])
def test_one_hot_rows_are_read_with_a_warning(load, kind):
    rows = np.eye(3, dtype=kind)[LABELS]
    data, texts = load(y_train=rows)
    assert unchanged(data)
    assert texts == ["y_train has one-hot rows: column i is read as label i"]


def test_bytes_of_0_and_1_are_a_warning(load):
    binary = (IMAGES > 127).astype(np.uint8)
    data, texts = load(x_train=binary)
    assert len(texts) == 1 and texts[0].startswith("every pixel of x_train is 0 or 1, of 255: ")
    np.testing.assert_array_equal(data.train.images, binary)


def test_keys_that_are_not_used_are_named(load):
    data, texts = load(classes=np.array(["a", "b", "c"]), x_val=IMAGES, y_val=LABELS)
    assert texts == ["not used: classes"] and data.class_names == ("0", "1", "2")


VALIDATION = {"x_val": IMAGES, "y_val": LABELS}


def test_test_images_without_labels_are_replaced_by_the_validation_split(load):
    data, texts = load(y_test=np.full(12, -1), **VALIDATION)
    assert data.name.endswith("own.npz (validation as test)")
    np.testing.assert_array_equal(data.test.images, IMAGES)
    assert texts == [
        "the test images have no labels (all of y_test is negative): the validation split serves as test"
    ]


def test_the_validation_split_is_checked_too(refused):
    message = refused(y_test=np.full(12, -1), x_val=IMAGES / 255, y_val=LABELS)
    assert message.startswith("x_val must be uint8")
    assert refused(y_test=np.full(12, -1), x_val=IMAGES).startswith("cannot be read: no x_val and")


def test_test_images_without_labels_are_refused_where_nothing_replaces_them(load, refused):
    message = refused(y_test=np.full(12, -1))
    assert message.startswith(
        "the test images have no labels (all of y_test is negative), and there"
    )
    assert "--test-share" in message
    data, texts = load(y_test=np.full(12, -1), test_share=0.25)
    assert texts == [
        "the test images have no labels (all of y_test is negative): 0.25 of train serves as test"
    ]
    assert data.name.endswith("own.npz (test share 0.25)")


def test_an_archive_without_test_images(load, refused):
    none = {"x_test": None, "y_test": None}
    message = refused(**none)
    assert message.startswith("there is no test split, and there is no validation split: ")
    data, texts = load(**none, **VALIDATION)
    assert data.name.endswith("own.npz (validation as test)") and texts == []
    data, texts = load(**none, test_share=0.5)
    assert texts == []
    np.testing.assert_array_equal(data.train.images, IMAGES[[0, 1, 2, 6, 7, 8]])
    np.testing.assert_array_equal(data.test.images, IMAGES[[3, 4, 5, 9, 10, 11]])
    assert data.test.labels.tolist() == [0, 1, 2] * 2


def test_a_share_is_every_kth_image_of_each_class(load):
    labels = np.sort(np.random.default_rng(1).integers(0, 3, 1000))
    images = np.random.default_rng(2).integers(0, 256, (1000, 2, 3, 1), np.uint8)
    arrays = {"x_train": images, "y_train": labels, "x_test": None, "y_test": None}
    data, _ = load(**arrays, test_share=0.1)
    expected = np.concatenate([np.flatnonzero(labels == c)[9::10] for c in range(3)])
    np.testing.assert_array_equal(data.test.images, images[expected])
    data, _ = load(**arrays, test_share=0.3)
    for c in range(3):
        assert (data.test.labels == c).sum() == (labels == c).sum() * 3 // 10
    assert len(data.train) + len(data.test) == 1000


def test_small_classes_and_a_share(load, refused):
    labels = np.array([0] * 9 + [1] * 3)
    none = {"x_test": None, "y_test": None, "y_train": labels}
    data, texts = load(**none, test_share=0.2)
    assert texts == ["no test image of 1: accuracies do not cover it"]
    assert data.class_counts().tolist() == [8, 3]
    assert refused(**none, test_share=0.1).startswith("test_share 0.1 holds out no image: ")
    assert load(**none, test_share=0.95)[0].class_counts().tolist() == [1, 1]
    assert load(**none, test_share=1 - 1e-9)[0].class_counts().tolist() == [1, 1]
    assert refused(**none, test_share=1e-9).startswith("test_share 1e-09 holds out no image: ")


@pytest.mark.parametrize("share", [0, 1, -0.1, 20, float("nan"), "0.2", True])
def test_a_share_that_is_none(share):
    with pytest.raises(ValueError, match=r"test_share must be above 0 and below 1, got "):
        load_dataset("digits", test_share=share)


def test_a_share_of_a_set_that_has_a_test_split():
    with pytest.raises(ValueError, match=r"^digits: test_share is 0.2, but there is a test split"):
        load_dataset("digits", test_share=0.2)


def test_every_set_is_checked_once(monkeypatch):
    from jdd.datasets import registry

    names = []

    def counted(name: str, source: Source, share: float | None):
        names.append(name)
        return as_dataset(name, source, share)

    monkeypatch.setattr(registry, "as_dataset", counted)
    load_dataset("digits")
    assert names == ["digits"]


def test_arrays_of_a_source_are_named_by_their_split():
    raw, wrong = RawSplit(IMAGES, LABELS), RawSplit(IMAGES / 255, LABELS)
    with pytest.raises(ValueError, match=r"^own: test images must be uint8"):
        as_dataset("own", Source(raw, wrong))
    with pytest.raises(ValueError, match=r"^own: train labels must not be negative"):
        as_dataset("own", Source(RawSplit(IMAGES, LABELS - 1), raw))
