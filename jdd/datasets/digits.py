"""scikit-learn's handwritten digits: the data set that needs no download."""

from __future__ import annotations

from typing import Any

import numpy as np

from jdd.datasets.source import RawSplit, Source


def read_digits() -> Source:
    """Reads the 1797 digits, uint8 [N, 8, 8, 1], as a train (1442 images) and a test split (355).

    The stored values 0..16 become round(x * 255 / 16). The set has no official split: of each
    class, in file order, every fifth image is test. (The same writers are therefore in both.)

    Reference: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    from sklearn.datasets import load_digits  # slow to import, and only this source needs it

    bunch: Any = load_digits()
    images = np.rint(np.asarray(bunch["images"]) * (255 / 16)).astype(np.uint8)[..., None]
    labels = np.asarray(bunch["target"]).astype(np.int32)
    test = np.zeros(len(labels), bool)
    for digit in range(10):
        test[np.flatnonzero(labels == digit)[4::5]] = True
    return Source(
        RawSplit(images[~test], labels[~test]),
        RawSplit(images[test], labels[test]),
        tuple("0123456789"),
    )
