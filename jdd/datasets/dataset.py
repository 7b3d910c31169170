"""A labelled image data set in host memory: two splits, class names and statistics."""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np

from jdd.data.normalisation import check_statistics
from jdd.data.split import Split
from jdd.data.table import ClassTable, class_table
from jdd.data.whitening import Whitening, whitened_table
from jdd.validation import did_you_mean


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split with class names and the statistics of normalisation.

    `mean` and `std` have one number per channel, on the [0, 1] scale of pixels (x / 255). Label i
    is `class_names[i]`. Every class has an image in train; a class can be absent from test.

    Raises:
      ValueError: for splits, names and statistics that do not fit together.

    Example:
      >>> split = Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1], np.int32))
      >>> data = Dataset("tiny", split, split, ("cat", "dog"), (0.5,), (0.25,))
      >>> data.num_classes, data.image_shape
      (2, (8, 8, 1))
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        repeated = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        if not self.class_names or repeated:
            raise ValueError(
                f"{self.name}: class names must be non-empty and distinct, {repeated=}"
            )
        unreadable = [name for name in self.class_names if not _is_text(name)]
        if unreadable:
            raise ValueError(
                f"{self.name}: class names must be text on one line, got {unreadable[0]!a:.60}"
            )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise ValueError(
                f"{self.name}: train images are {self.train.images.shape[1:]}, "
                f"test images {self.test.images.shape[1:]}"
            )
        for part, split in (("train", self.train), ("test", self.test)):
            if not len(split):
                raise ValueError(f"{self.name}: the {part} split is empty")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.num_classes:
                raise ValueError(
                    f"{self.name}: {part} labels run from {low} to {high}, but {self.num_classes} "
                    f"class names allow 0 to {self.num_classes - 1}"
                )
        empty = [self.class_names[i] for i in np.flatnonzero(self.class_counts() == 0)]
        if empty:
            raise ValueError(f"{self.name}: no train image of {listed(empty)}")
        try:
            check_statistics(self.mean, self.std, self.image_shape[2])
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @property
    def fingerprint(self) -> str:
        """A short hash of the train images, their labels and the statistics: 16 hexadecimal digits.

        Two data sets with the same fingerprint have the same train data, even where their names or
        the places of their files differ.

        Example:
          >>> split = Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1], np.int32))
          >>> data = Dataset("tiny", split, split, ("cat", "dog"), (0.5,), (0.25,))
          >>> data.fingerprint == dataclasses.replace(data, name="other").fingerprint
          True
        """
        digest = hashlib.blake2b(digest_size=8)
        for array in (self.train.images, self.train.labels):
            digest.update(np.ascontiguousarray(array).reshape(-1).data)
        statistics = (tuple(map(float, values)) for values in (self.mean, self.std))
        digest.update(repr((self.train.images.shape, *statistics)).encode())
        return digest.hexdigest()

    def class_counts(self) -> np.ndarray:
        """Counts the train images of each class, int64 [num_classes]."""
        return np.bincount(self.train.labels, minlength=self.num_classes)

    def tables(self, whitening: Whitening | None = None) -> tuple[ClassTable, ClassTable]:
        """Puts the train and the test images on the device, sorted by class.

        Args:
          whitening: fitted to the train images; both splits then become whitened floats. None for
            bytes, which are normalised per channel when they are drawn.

        Raises:
          ValueError: if the whitening is of images of another size.

        Example:
          >>> split = Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([1, 0], np.int32))
          >>> data = Dataset("tiny", split, split, ("cat", "dog"), (0.5,), (0.25,))
          >>> train, test = data.tables()
          >>> train.images.shape, test.count.tolist()
          ((2, 8, 8, 1), [1, 1])
        """
        train, test = (
            class_table(split, self.num_classes, self.mean, self.std)
            if whitening is None
            else whitened_table(split, self.num_classes, whitening)
            for split in (self.train, self.test)
        )
        return train, test

    def restrict(self, classes: Sequence[str | int]) -> Dataset:
        """Keeps some classes only, relabelled 0..k-1 in the order of `classes`; statistics stay.

        A class is a name or an index; a string of digits that is no class name is read as an index.

        Raises:
          ValueError: for no class, an unknown class or a repeated class.

        Example:
          >>> split = Split(np.zeros((3, 8, 8, 1), np.uint8), np.array([0, 1, 2], np.int32))
          >>> data = Dataset("tiny", split, split, ("cat", "dog", "emu"), (0.5,), (0.25,))
          >>> small = data.restrict(["emu", 0])
          >>> small.class_names, small.train.labels.tolist()
          (('emu', 'cat'), [1, 0])
        """
        if isinstance(classes, str):
            raise ValueError(f"classes must be a sequence of names or indices, got {classes!r}")
        chosen = [self._class_index(entry) for entry in classes]
        if not chosen:
            raise ValueError(f"{self.name}: no class given; known: {listed(self.class_names)}")
        if len(set(chosen)) < len(chosen):
            twice = sorted({self.class_names[i] for i in chosen if chosen.count(i) > 1})
            raise ValueError(f"{self.name}: class given twice: {listed(twice)}")
        table = np.full(self.num_classes, -1, np.int32)
        table[chosen] = np.arange(len(chosen), dtype=np.int32)

        def part(split: Split) -> Split:
            labels = table[split.labels]
            return Split(split.images[labels >= 0], labels[labels >= 0])

        return dataclasses.replace(
            self,
            train=part(self.train),
            test=part(self.test),
            class_names=tuple(self.class_names[i] for i in chosen),
        )

    def _class_index(self, entry: str | int) -> int:
        if isinstance(entry, str) and entry in self.class_names:
            return self.class_names.index(entry)
        index = entry
        if isinstance(entry, str):
            if not (entry.isascii() and entry.isdecimal()):
                raise ValueError(
                    f"{self.name}: unknown class {entry!r}{did_you_mean(entry, self.class_names)}; "
                    f"known: {listed(self.class_names)}"
                )
            index = int(entry)
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise ValueError(f"{self.name}: a class must be a name or an index, got {entry!r}")
        if not 0 <= index < self.num_classes:
            raise ValueError(
                f"{self.name}: class index {index} is out of range 0 to {self.num_classes - 1}"
            )
        return int(index)


def pixel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Computes mean and population standard deviation of x / 255 per channel, from a histogram.

    Args:
      images: uint8 [N, H, W, C].

    Returns:
      (mean, std), C numbers each.

    Example:
      >>> pixel_statistics(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
      ((0.5,), (0.5,))
    """
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for part in range(0, len(images), 1000):  # in parts: bincount makes int64 of its input
        for channel in range(channels):
            pixels = images[part : part + 1000, ..., channel].reshape(-1)
            counts[channel] += np.bincount(pixels, minlength=256)
    level = np.arange(256) / 255.0
    total = counts.sum(axis=1)
    mean = counts @ level / total
    # around the mean: the difference of two squares would cancel for nearly constant channels
    variance = (counts * (level - mean[:, None]) ** 2).sum(axis=1) / total
    return tuple(mean.tolist()), tuple(np.sqrt(variance).tolist())


def listed(names: Sequence[str], limit: int = 12) -> str:
    """Joins names by commas; more than `limit` are cut short with their number.

    >>> listed(["cat", "dog", "emu"], limit=2)
    'cat, dog, ... (3 in all)'
    """
    more = f", ... ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _is_text(name: object) -> bool:
    """Returns whether a class name can be printed on one line, in any encoding of Unicode."""
    if not isinstance(name, str) or not name.strip():
        return False
    # control characters, lone surrogates (file names that are not UTF-8), line separators
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name)
