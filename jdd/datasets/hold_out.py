"""A test split for sets that have none: a fixed part of each class of train."""

from __future__ import annotations

from fractions import Fraction
from numbers import Real

import numpy as np

from jdd.datasets.source import RawSplit

# Denominator of a share as a fraction. No class has so many images.
_LARGEST = 10**6


def check_test_share(test_share: object) -> float:
    """Returns a share above 0 and below 1, else raises a `ValueError`.

    >>> check_test_share(20)
    Traceback (most recent call last):
        ...
    ValueError: test_share must be above 0 and below 1, got 20
    """
    if not isinstance(test_share, Real) or not 0 < float(test_share) < 1:
        raise ValueError(f"test_share must be above 0 and below 1, got {test_share!r}")
    return float(test_share)


def hold_out(train: RawSplit, test_share: float) -> tuple[RawSplit, RawSplit]:
    """Divides train into a train and a test split, by position and not at random.

    Of each class, in the order of train, image i (from 0) is held out where
    floor((i + 1) share) > floor(i share). A share of 1/k holds out every k-th image. The pixels have
    no part in it: images that belong together, such as frames of one film, can be in both splits.

    Args:
      train: integer labels [N].
      test_share: above 0 and below 1.

    Returns:
      The train split without these images, and the test split. A class with few images can be
      without a test image; every class keeps a train image.

    Raises:
      ValueError: where every class is too small to give a test image.

    Example:
      >>> labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
      >>> train, test = hold_out(RawSplit(np.arange(9), labels), 0.25)
      >>> train.images.tolist(), test.images.tolist()
      ([0, 1, 2, 4, 5, 6, 8], [3, 7])
    """
    # exact: in floats, 10 * 0.1 summed up stays below 1
    share = Fraction(str(test_share)).limit_denominator(_LARGEST)
    share = min(max(share, Fraction(1, _LARGEST)), Fraction(_LARGEST - 1, _LARGEST))
    held_out = np.zeros(len(train), bool)
    for label in np.unique(train.labels):
        positions = np.flatnonzero(train.labels == label)
        i = np.arange(len(positions)) * share.numerator
        ends = (i + share.numerator) // share.denominator > i // share.denominator
        held_out[positions[ends]] = True
    if not held_out.any():
        largest = max(np.unique(train.labels, return_counts=True)[1], default=0)
        raise ValueError(
            f"test_share {test_share} holds out no image: the largest class has {largest}"
        )

    def part(kept: np.ndarray) -> RawSplit:
        return RawSplit(
            train.images[kept], train.labels[kept], train.images_name, train.labels_name
        )

    return part(~held_out), part(held_out)
