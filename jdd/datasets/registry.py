"""Data sets by name: the digits, the published sets of the papers, and a user's in five formats."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from jdd.datasets.cifar import read_cifar_folder
from jdd.datasets.dataset import Dataset, pixel_statistics
from jdd.datasets.digits import read_digits
from jdd.datasets.folder import read_image_folder
from jdd.datasets.hold_out import check_test_share
from jdd.datasets.idx import read_idx_folder
from jdd.datasets.npz import read_npz
from jdd.datasets.plausibility import as_dataset
from jdd.datasets.published import PUBLISHED, STATISTICS, NotPublished, deviations
from jdd.datasets.source import RawSplit, Source
from jdd.datasets.tfds import read_tfds
from jdd.validation import did_you_mean

DATA_DIR_VARIABLE = "JDD_DATA_DIR"

_FORMATS: dict[str, Callable[[Path], Source]] = {
    "npz": read_npz,
    "folder": read_image_folder,
    "idx": read_idx_folder,
    "cifar": read_cifar_folder,
}

_KNOWN = ["digits", *PUBLISHED, *(f"{kind}:PATH" for kind in _FORMATS), "tfds:NAME"]


def load_dataset(
    name: str,
    *,
    data_dir: str | Path | None = None,
    classes: Sequence[str | int] | None = None,
    test_share: float | None = None,
) -> Dataset:
    """Reads the data set of a name into host memory.

    Names:
      digits: scikit-learn's 8 x 8 digits; needs no files.
      mnist, fashion_mnist, svhn, cifar10, cifar100, tiny_imagenet: the published sets with the
        papers' statistics, read from the publisher's files in `data_dir/NAME`, in the folder that
        their archive makes (`data_dir/cifar-10-batches-bin`, ...) or in `data_dir` itself, else
        through tensorflow-datasets.
      cifar100-dcc: CIFAR-100 with CIFAR-10's statistics, as the code of DCC normalises it.
      imagenet32, and imagenet32-automobile, -truck, -lizard, -fish, -terrier, -insect: downsampled
        ImageNet and DCC's fine-grained groups of its classes, with statistics of their train pixels.
      npz:PATH, folder:PATH, idx:PATH, cifar:PATH: a user's set in that format; statistics are those
        of the train pixels, where an archive (npz) has none.
      tfds:NAME: any image classification set of tensorflow-datasets; statistics are the papers' for
        mnist, fashion_mnist, svhn_cropped, cifar10 and cifar100, else those of the train pixels.

    The arrays of every set are checked (`jdd.datasets.plausibility`). Those that can be read in one
    way only are converted with a `DataWarning`; others are refused with the conversion to store.

    Files under a published name are compared with the published ones (by checksum where the
    publisher gives it, and by number of images), and a `NotPublished` warning names what differs:
    results on them do not compare with results on the published set.

    Args:
      name: one of the above.
      data_dir: the folder of the published sets; None: the environment variable JDD_DATA_DIR, if set.
      classes: restrict to these (names or indices), relabelled in this order.
      test_share: for a set without a test split, the part of each class to hold out as one, above 0
        and below 1: 0.2 holds out every fifth image of a class, in the order of the files (see
        `jdd.datasets.hold_out`). None: a set without a test split is refused.

    Returns:
      The data set. Its name is `name`, with a remark where a validation split or a share of train
      serves as test.

    Raises:
      ValueError: one line, for an unknown name or class, files that are missing or damaged, and
        arrays that are not images and labels of a classification set.

    Warns:
      DataWarning: one line for each finding, where files are read otherwise than one may expect, and
        where some are left out.
      NotPublished: a DataWarning, where files are not those that were published under the name.

    Example:
      >>> data = load_dataset("digits", classes=["3", "8"])
      >>> data.image_shape, data.class_names, data.class_counts().tolist()
      ((8, 8, 1), ('3', '8'), [147, 140])
    """
    if not isinstance(name, str):
        raise ValueError(f"the name of a data set must be a text, got {name!r}")
    share = None if test_share is None else check_test_share(test_share)
    folder = data_dir if data_dir is not None else os.environ.get(DATA_DIR_VARIABLE) or None
    try:
        source = _read(name, None if folder is None else Path(folder).expanduser(), share)
        dataset, findings = as_dataset(name, source, share)
    except (OSError, RuntimeError) as error:  # no permission, a faulty disk, ~ of an unknown user
        raise ValueError(f"{name}: cannot be read: {error}") from None
    for finding in (*source.warnings, *findings):
        warnings.warn(finding, stacklevel=2)  # the caller of load_dataset
    return dataset if classes is None else dataset.restrict(classes)


def _read(name: str, data_dir: Path | None, test_share: float | None) -> Source:
    kind, colon, argument = name.partition(":")
    if not colon and name == "digits":
        return read_digits()
    if not colon and name in PUBLISHED:
        return _read_named(name, data_dir)
    if colon and argument and kind == "tfds":
        source = read_tfds(argument, data_dir)
        return _with_statistics(argument.split("/")[0].split(":")[0], source)
    if colon and argument and kind in _FORMATS:
        path = Path(argument).expanduser()
        if not path.exists():
            raise ValueError(f"{name}: no such file or folder")
        if kind == "folder":
            return read_image_folder(path, undivided=test_share is not None)
        return _FORMATS[kind](path)
    known = ", ".join(_KNOWN)
    if not argument and (kind in _FORMATS or kind == "tfds"):
        raise ValueError(f"data set {name!r} needs a place to read, as in {known}")
    spelled = ["digits", *PUBLISHED, *_FORMATS, "tfds"]
    raise ValueError(f"unknown data set {name!r}{did_you_mean(kind, spelled)}; known: {known}")


def _read_named(name: str, data_dir: Path | None) -> Source:
    entry = PUBLISHED[name]
    places = [] if data_dir is None else [data_dir / folder for folder in entry.folders]
    place = next((place for place in places if entry.is_there(place)), None)
    if place is not None:
        source = entry.read(place)
        if entry.twin is not None:
            _refuse_twin(name, entry.twin, source.train, place)
        names = source.class_names or entry.class_names
        if differences := deviations(entry, source):
            warning = NotPublished(f"{name}: not as published: {'; '.join(differences)}")
            source = source._replace(warnings=(*source.warnings, warning))
        return _with_statistics(name, source._replace(class_names=names))
    looked = f"looked in {', '.join(map(str, places))}" if places else "no data_dir given"
    absent = (
        f"{name}: files {entry.files} not found ({looked}; --data-dir or {DATA_DIR_VARIABLE} names "
        "the folder)"
    )
    if entry.tfds is None:
        raise ValueError(absent)
    try:
        return _with_statistics(name, entry.of_tfds(read_tfds(entry.tfds, data_dir)))
    except ValueError as error:
        raise ValueError(f"{absent}; and in tensorflow-datasets: {error}") from None


def _with_statistics(name: str, source: Source) -> Source:
    if name not in STATISTICS or len(STATISTICS[name][0]) != source.train.images.shape[3]:
        return source
    mean, std = STATISTICS[name]
    return source._replace(mean=mean, std=std)


def _refuse_twin(name: str, twin: str, train: RawSplit, place: Path) -> None:
    """Refuses the pixels of MNIST as Fashion-MNIST and the reverse: their file names are the same."""
    pixels, published = pixel_statistics(train.images), STATISTICS[twin]
    same_shape = np.shape(pixels) == np.shape(published)
    if same_shape and np.allclose(pixels, published, atol=1e-4, rtol=0):
        raise ValueError(f"{place} holds {twin} (by its pixel statistics), not {name}")
