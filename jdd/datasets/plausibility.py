"""Checks of a user's arrays: what every reader returns passes through `as_dataset` once.

One function per finding. Arrays that can be read in one way only are converted, and a `DataWarning`
names the change. All others are refused: the `ValueError` names the array, the finding and the mend.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jdd.data.normalisation import check_statistics
from jdd.data.split import CHANNELS, Split, check_channels_last
from jdd.datasets.dataset import Dataset, listed, pixel_statistics
from jdd.datasets.hold_out import hold_out
from jdd.datasets.source import DataWarning, RawSplit, Source
from jdd.validation import count

_SHAPES = "uint8 [N, H, W] or [N, H, W, C]"
_SAMPLE = 1000  # images on which statistics of a file are tried
_FAR = 10.0  # with a std of at least 0.1, no pixel is that far from the mean


class _Splits(NamedTuple):
    """Both splits, on their way through the checks.

    Attributes:
      train, test: the splits.
      class_names: as in `Source`, until `labels_from_0` has filled them in.
      remark: on the choice of the test split; follows the name of the data set.
      notes: findings that become warnings.
    """

    train: RawSplit
    test: RawSplit
    class_names: tuple[str, ...] | None = None
    remark: str = ""
    notes: tuple[str, ...] = ()


def as_dataset(
    name: str, source: Source, test_share: float | None = None
) -> tuple[Dataset, tuple[DataWarning, ...]]:
    """Checks the arrays of a source, and makes them a data set.

    Args:
      name: of the data set; begins each message.
      source: what a reader returned.
      test_share: the part of each class of train that becomes the test split; for a source without
        labelled test images.

    Returns:
      The data set, and a warning for each finding that did not stop it.

    Raises:
      ValueError: one line, for arrays that are not images and labels of a classification set.

    Example:
      >>> images = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)[:, :, :, None]
      >>> raw = RawSplit(images, np.array([1, 2, 1, 2]))
      >>> data, warnings = as_dataset("own", Source(raw, raw))
      >>> data.class_names, data.train.labels.tolist()
      (('1', '2'), [0, 1, 0, 1])
      >>> str(warnings[0])
      "own: labels start at 1: label 1 is class 0, '1', and so on"
    """
    try:
        splits = _test_split(source, test_share)
        for split in (splits.train, splits.test):
            refuse_negative_labels(split)
        splits = labels_from_0(splits._replace(class_names=source.class_names))
        mean, std = statistics(source, splits.train.images)
        notes = [*splits.notes, no_test_image(splits), two_levels(splits.train)]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    train, test = (
        Split(part.images, part.labels.astype(np.int32)) for part in (splits.train, splits.test)
    )
    names = splits.class_names or ()
    dataset = Dataset(name + source.remark + splits.remark, train, test, names, mean, std)
    return dataset, tuple(DataWarning(f"{name}: {note}") for note in notes if note)


def _test_split(source: Source, test_share: float | None) -> _Splits:
    """Returns both splits with images and integer labels, and chooses the test split.

    Test images that all have a negative label (-1 by convention) are without labels. Then, or where
    there are no test images, `test_share` of train is held out; without a `test_share` the validation
    split serves as test.
    """
    train, note = images_and_labels(source.train, "train")
    if source.test is None:
        finding, notes = "there is no test split", (note,)
    else:
        test, more = images_and_labels(source.test, "test")
        if (test.labels >= 0).any():
            if test_share is not None:
                raise ValueError(
                    f"test_share is {test_share}, but there is a test split, of "
                    f"{count(len(test), 'image')}: leave test_share (--test-share) out"
                )
            return _Splits(train, test, notes=(note, more))
        finding = f"the test images have no labels (all of {test.labels_name} is negative)"
        used = "the validation split" if test_share is None else f"{test_share} of train"
        notes = (note, f"{finding}: {used} serves as test")
    if test_share is not None:
        refuse_negative_labels(train)
        train, test = hold_out(train, test_share)
        return _Splits(train, test, remark=f" (test share {test_share})", notes=notes)
    if source.validation is None:
        raise ValueError(
            f"{finding}, and there is no validation split: add one of the two, or hold out a part of "
            "each class with test_share (--test-share), as in 0.2"
        )
    test, more = images_and_labels(source.validation(), "validation")
    return _Splits(train, test, remark=" (validation as test)", notes=(*notes, more))


def images_and_labels(raw: RawSplit, part: str) -> tuple[RawSplit, str]:
    """Returns a split with images uint8 [N, H, W, C] and integer labels [N], and a warning or "".

    Args:
      raw: as a reader returned it.
      part: the name of the split, for messages where `raw` has none.
    """
    name = raw.images_name or f"{part} images"
    labels_name = raw.labels_name or f"{part} labels"
    if not len(raw):
        raise ValueError(f"the {part} split is empty")
    refuse_other_dtypes(raw.images, name)
    refuse_other_ranks(raw.images, name)
    labels, note = one_label_per_image(raw.labels, labels_name)
    refuse_unequal_lengths(raw.images, labels, name)
    images = raw.images[..., None] if raw.images.ndim == 3 else raw.images
    check_channels_last(name, images.shape)
    return RawSplit(images, labels, name, labels_name), note


def refuse_other_dtypes(images: np.ndarray, name: str) -> None:
    """Refuses images that are not uint8, with the conversion to store.

    Not converted here, since the scale would be a guess: an array of floats from 0 to 1 can also be a
    dark image on the scale from 0 to 255.
    """
    if images.dtype == np.uint8:
        return
    finding = f"{name} must be {_SHAPES}, got {images.dtype} {images.shape}"
    if images.dtype.kind not in "buif" or not images.size:
        raise ValueError(finding)
    if images.dtype.kind == "b":
        raise ValueError(f"{finding}: store {name}.astype(np.uint8) * 255")
    low, high, whole = images.min(), images.max(), images.dtype.kind in "ui"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{finding} with values that are not finite")
    finding = f"{finding} from {low:.5g} to {high:.5g}"
    if whole and low >= 0 and high <= 255:
        raise ValueError(f"{finding}: store {name}.astype(np.uint8)")
    if not whole and low >= 0 and high <= 1:
        raise ValueError(f"{finding}: store ({name} * 255).round().astype(np.uint8)")
    if not whole and low >= -1 and high <= 1:
        raise ValueError(f"{finding}: store (({name} + 1) * 127.5).round().astype(np.uint8)")
    if low >= 0 and high <= 255:
        raise ValueError(f"{finding}: store {name}.round().astype(np.uint8)")
    if low >= 0:
        raise ValueError(
            f"{finding}: scale to 255, as in ({name} / white * 255).round().astype(np.uint8), where "
            f"white is the largest value that a pixel can have"
        )
    raise ValueError(f"{finding}: undo the normalisation, and store pixels from 0 to 255 as uint8")


def refuse_other_ranks(images: np.ndarray, name: str) -> None:
    """Refuses images that do not have 3 or 4 axes, and flattened images with channels."""
    finding = f"{name} must be {_SHAPES}, got {images.dtype} {images.shape}"
    if images.ndim == 2:
        side = math.isqrt(images.shape[1])
        mend = f"store {name}.reshape(-1, {side}, {side})"
        square = side**2 == images.shape[1]
        raise ValueError(f"{finding}, flattened: {mend if square else 'reshape it'}")
    if images.ndim not in (3, 4):
        raise ValueError(finding)
    if images.ndim == 3 and images.shape[2] in CHANNELS and images.shape[1] > max(CHANNELS):
        raise ValueError(
            f"{finding}: the last axis is as short as one of channels; store [N, H, W, "
            f"{images.shape[2]}]"
        )


def one_label_per_image(labels: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    """Returns integer labels [N], made from a column [N, 1] or (with a warning) from one-hot rows."""
    finding = f"{name} must be integers [N], got {labels.dtype} {labels.shape}"
    if labels.dtype.kind in "SU":
        raise ValueError(
            f"{finding}: store class_names, {name} = np.unique({name}, return_inverse=True)"
        )
    if labels.dtype.kind not in "buif" or labels.ndim not in (1, 2):
        raise ValueError(finding)
    if labels.ndim == 2 and labels.shape[1] != 1:
        refuse_several_labels(labels, name)
        return labels.argmax(axis=1), f"{name} has one-hot rows: column i is read as label i"
    labels = labels.reshape(len(labels))
    if labels.dtype.kind in "bf":
        whole = bool((labels == np.round(labels)).all())
        raise ValueError(f"{finding}: store {name}.astype(np.int64)" if whole else finding)
    return labels, ""


def refuse_several_labels(rows: np.ndarray, name: str) -> None:
    """Refuses rows [N, K] that are not one-hot: several labels of an image, or probabilities."""
    finding = f"{name} must be integers [N], got {rows.dtype} {rows.shape}"
    if len(rows) == 1:
        raise ValueError(f"{finding}: store {name}.ravel()")
    labels = (rows != 0).sum(axis=1)
    if ((rows == 0) | (rows == 1)).all():
        wrong = np.flatnonzero(labels != 1)
        if wrong.size:
            raise ValueError(
                f"{finding}, multi-label (row {wrong[0]} has {count(int(labels[wrong[0]]), 'label')}): "
                "keep the images with one label, and store its number"
            )
        return
    if (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        raise ValueError(f"{finding}, probabilities: store {name}.argmax(axis=1)")
    raise ValueError(f"{finding}: store the number of one class for each image")


def refuse_unequal_lengths(images: np.ndarray, labels: np.ndarray, name: str) -> None:
    """Refuses another number of labels than of images, such as images with N as the last axis."""
    if len(images) == len(labels):
        return
    finding = f"{name} {images.shape} has {len(images)} images but {len(labels)} labels"
    if images.shape[-1] == len(labels):
        order = ", ".join(map(str, (images.ndim - 1, *range(images.ndim - 1))))
        finding += f": its last axis is N; store {name}.transpose({order})"
    raise ValueError(finding)


def refuse_negative_labels(split: RawSplit) -> None:
    """Refuses a split in which some images have no label (-1), and the classes -1 and 1."""
    labels, name = split.labels, split.labels_name
    negative = int((labels < 0).sum())
    if not negative:
        return
    finding = (
        f"{name} must not be negative, got {labels.min()} ({negative} of {len(labels)} labels)"
    )
    if np.array_equal(np.unique(labels), (-1, 1)):
        raise ValueError(f"{finding}: store ({name} > 0).astype(np.int64)")
    raise ValueError(f"{finding}: keep the images with a label, those where {name} >= 0")


def labels_from_0(splits: _Splits) -> _Splits:
    """Makes labels indices of the class names, and checks that each class has a train image.

    Labels 1 to K become 0 to K-1 with a warning, and where there are no class names these are "1" to
    "K": there is no other reading. Labels that jump are refused: only the user knows whether the
    images of a class are missing, and relabelling would hide it.
    """
    train, test = (np.unique(part.labels) for part in (splits.train, splits.test))
    names = splits.class_names
    low, high = int(min(train[0], test[0])), int(max(train[-1], test[-1]))
    if low == 1 and train.size == high and (names is None or len(names) == high):
        names = names or tuple(str(label) for label in range(1, high + 1))
        text = f"labels start at 1: label 1 is class 0, {names[0]!r}, and so on"
        return splits._replace(
            train=dataclasses.replace(splits.train, labels=splits.train.labels - 1),
            test=dataclasses.replace(splits.test, labels=splits.test.labels - 1),
            class_names=names,
            notes=(*splits.notes, text),
        )
    for part, labels in (("train", train), ("test", test)):
        if names is not None and labels[-1] >= len(names):
            raise ValueError(
                f"{part} labels run from {labels[0]} to {labels[-1]}, but {len(names)} class names "
                f"allow 0 to {len(names) - 1}"
            )
    refuse_missing_classes(train, test, names, high)
    return splits._replace(class_names=names or tuple(str(label) for label in range(high + 1)))


def refuse_missing_classes(
    train: np.ndarray, test: np.ndarray, names: tuple[str, ...] | None, high: int
) -> None:
    """Refuses labels that leave out a class in train, and names those that test has.

    Args:
      train, test: the different labels of each split, sorted.
      names: the class names; None where the file has none.
      high: the largest label.
    """
    in_train, in_test = set(train.tolist()), set(test.tolist())
    classes = high + 1 if names is None else len(names)
    if len(in_train) == classes:
        return

    def texts(labels: Iterable[int]) -> str:
        first = [str(i) if names is None else names[i] for i in itertools.islice(labels, 13)]
        return ", ".join(first[:12]) + (", ..." if len(first) > 12 else "")

    finding = f"no train image of {texts(i for i in range(classes) if i not in in_train)}"
    if only_test := sorted(in_test - in_train):
        raise ValueError(
            f"{finding}, but the test split has {texts(only_test)}: add train images, or remove the "
            "class from test"
        )
    if names is not None:
        raise ValueError(f"{finding}: add images, or remove the class from the class names")
    raise ValueError(
        f"{finding}: the labels jump ({len(in_train)} of 0 to {high}); add images, or renumber both "
        "splits: values = np.unique(y_train), y = np.searchsorted(values, y), and "
        "class_names = values.astype(str)"
    )


def no_test_image(splits: _Splits) -> str:
    """Returns a warning for classes without a test image, or ""."""
    names = splits.class_names
    if names is None:
        return ""
    without = np.setdiff1d(np.arange(len(names)), splits.test.labels).tolist()
    if not without:
        return ""
    return f"no test image of {listed([names[i] for i in without])}: accuracies do not cover it"


def two_levels(split: RawSplit) -> str:
    """Returns a warning where every byte is 0 or 1, or "": floats up to 1 may have been rounded."""
    blocks = (split.images[i : i + _SAMPLE] for i in range(0, len(split), _SAMPLE))
    if any(block.max() > 1 for block in blocks):
        return ""
    name = split.images_name
    return (
        f"every pixel of {name} is 0 or 1, of 255: if they were made from floats, store "
        "(floats * 255).round().astype(np.uint8)"
    )


def statistics(source: Source, images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and std of a source, or those of the train pixels where the source has none.

    A constant channel, whose std is 0, is refused and not given another std: distillation would put
    values into a channel that is the same in all real images, on a scale that nothing determines.

    Args:
      source: with or without mean and std.
      images: uint8 [N, H, W, C].

    Raises:
      ValueError: for a constant channel, and for statistics that are not those of these images.
    """
    mean, std = source.mean, source.std
    if mean is None or std is None:
        computed = pixel_statistics(images)
        mean = computed[0] if mean is None else mean
        std = computed[1] if std is None else std
    constant = [c for c, value in enumerate(std) if value == 0 and source.std is None]
    if constant:
        raise ValueError(
            f"std must be positive, but channel {listed([str(c) for c in constant])} of "
            f"{images.shape[3]} has one value in all train images: leave the channel out, or store "
            "mean and std with the images (npz)"
        )
    check_statistics(mean, std, images.shape[3])
    if source.mean is not None or source.std is not None:
        refuse_far_statistics(mean, std, images)
    return mean, std


def refuse_far_statistics(
    mean: tuple[float, ...], std: tuple[float, ...], images: np.ndarray
) -> None:
    """Refuses statistics with which pixels are far from 0 after normalisation, such as x / 255 / 255."""
    pixel_mean, pixel_std = map(
        np.array, pixel_statistics(images[:: max(1, len(images) // _SAMPLE)])
    )
    centre, spread = (pixel_mean - mean) / np.array(std), pixel_std / np.array(std)
    if max(np.abs(centre).max(), spread.max()) > _FAR:
        raise ValueError(
            f"mean {mean} and std {std} are not those of the images: on the [0, 1] scale these have "
            f"mean {tuple(pixel_mean.round(4).tolist())} and std {tuple(pixel_std.round(4).tolist())}; "
            "leave mean and std out to have them computed"
        )
