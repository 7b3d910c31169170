"""What a reader returns: arrays as a file has them, before they are checked and made a `Dataset`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np


class DataWarning(UserWarning):
    """One line about a data set: what was left out, converted or not as published."""


@dataclasses.dataclass(frozen=True, eq=False)
class RawSplit:
    """The arrays of one split as a file has them; `jdd.datasets.plausibility` checks them.

    Attributes:
      images: any dtype and shape.
      labels: any dtype and shape; -1 marks an image without a label.
      images_name, labels_name: what messages call the two arrays: a file, or a key of an archive;
        empty: the name of the split.
    """

    images: np.ndarray
    labels: np.ndarray
    images_name: str = ""
    labels_name: str = ""

    def __len__(self) -> int:
        return len(self.images)


class Source(NamedTuple):
    """The arrays and names that a reader took from the files of a data set.

    Attributes:
      train: the training images.
      test: the test images; None where the files have no test split.
      class_names: label i is `class_names[i]`; None where the files do not name classes.
      mean, std: statistics of normalisation; None where the files have none.
      validation: reads the validation split, which serves as test where the test images have no
        labels; None where the files have none.
      remark: follows the name of the data set, as in " (validation as test)".
      files: the files that were read, where the publisher's files are known by name.
      warnings: findings about the files, for the user.
    """

    train: RawSplit
    test: RawSplit | None
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    validation: Callable[[], RawSplit] | None = None
    remark: str = ""
    files: tuple[Path, ...] = ()
    warnings: tuple[DataWarning, ...] = ()
