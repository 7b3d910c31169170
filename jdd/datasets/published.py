"""The published sets: names, statistics, the places of their files, and how these are recognised."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from jdd.datasets.cifar import has_cifar10_files, has_cifar100_files, read_cifar_folder
from jdd.datasets.idx import has_idx_files, read_bytes, read_idx_folder
from jdd.datasets.imagenet32 import GROUPS, group_of, has_imagenet32_files, read_imagenet32_folder
from jdd.datasets.source import DataWarning, Source
from jdd.datasets.svhn import has_svhn_files, read_svhn_folder
from jdd.datasets.tiny_imagenet import has_tiny_imagenet_files, read_tiny_imagenet_folder

_CIFAR10_STATISTICS = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_SVHN_STATISTICS = ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))

# (mean, std) per channel with which the papers normalise, by our name and by tfds's
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2861,), (0.3530,)),
    "svhn": _SVHN_STATISTICS,
    "svhn_cropped": _SVHN_STATISTICS,
    "cifar10": _CIFAR10_STATISTICS,
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "cifar100-dcc": _CIFAR10_STATISTICS,
    "tiny_imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class NotPublished(DataWarning):
    """The files that are read under the name of a published set are not those of its publisher."""


Files = Mapping[str, str | None]
"""MD5 of each file's content, unzipped, by the file's name without .gz; None: not published."""


class Published(NamedTuple):
    """A published set.

    Attributes:
      folders: the places of its files, below the data folder, in the order of the search.
      files: the files, in words.
      is_there: whether a folder holds files of the set.
      read: reads that folder.
      class_names: label i is class_names[i]; None where the files hold the names.
      tfds: its name in tensorflow-datasets; None if it is not there.
      of_tfds: makes this set from the one of tensorflow-datasets.
      versions: the files of each version in which it is published; none: too many to list.
      train, test: how many images it has; None where it is not known.
      twin: another set that is published under the same file names.
    """

    folders: tuple[str, ...]
    files: str
    is_there: Callable[[Path], bool]
    read: Callable[[Path], Source]
    class_names: tuple[str, ...] | None = None
    tfds: str | None = None
    of_tfds: Callable[[Source], Source] = lambda source: source
    versions: tuple[Files, ...] = ()
    train: int | None = None
    test: int | None = None
    twin: str | None = None


def deviations(entry: Published, source: Source) -> list[str]:
    """Lists how the files that were read differ from the published ones.

    Where a checksum is published, the content of a file is compared by MD5, unzipped, so that another
    compression makes no difference. Of the others names are compared, and the numbers of images.
    """
    read = {_published_name(file): file for file in source.files}
    texts = []
    if entry.versions:
        version = max(entry.versions, key=lambda files: len(files.keys() & read.keys()))
        for name in [*version, *(name for name in read if name not in version)]:
            if name not in read:
                texts.append(f"no {name}")
            elif name not in version:
                texts.append(f"{read[name]} is not of the set")
            elif (md5 := version[name]) is not None and md5 != _md5(read[name]):
                texts.append(f"{read[name]} has another checksum")
    for part, wanted in (("train", entry.train), ("test", entry.test)):
        number = len(getattr(source, part))
        if wanted not in (None, number):
            texts.append(f"{number} {part} images, not {wanted}")
    return texts


def _published_name(file: Path) -> str:
    return file.name.removesuffix(".gz").replace(".idx", "-idx")


def _md5(file: Path) -> str:
    return hashlib.md5(read_bytes(file), usedforsecurity=False).hexdigest()


def _below(*names: str) -> tuple[str, ...]:
    """Lists each folder but the last, alone and in the last one; then the last, and the data folder."""
    *inner, last = names
    return (*inner, *(f"{last}/{name}" for name in inner), last, ".")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_IDX_FILES = "*-idx3-ubyte[.gz] and *-idx1-ubyte[.gz]"
_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(",")
_CIFAR10 = _words("airplane automobile bird cat deer dog frog horse ship truck")
_CIFAR100 = _words("""
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
    orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum
    rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
    trout tulip turtle wardrobe whale willow_tree wolf woman worm""")

# Checksums of MNIST and Fashion-MNIST are those of the unzipped files. Fashion-MNIST's publisher has
# those of the zipped files, from which these were made. The others are those of the files as
# published. Of CIFAR-100's binary version, ImageNet32 and Tiny-ImageNet only that of the archive is.
_MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_FASHION_FILES = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
_SVHN_FILES = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
_CIFAR10_BINARY = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
_CIFAR10_PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_CIFAR100_PYTHON = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
_IMAGENET32_FILES = dict.fromkeys([f"train_data_batch_{i}" for i in range(1, 11)] + ["val_data"])

_MNIST = Published(
    folders=_below("MNIST/raw", "mnist"),
    files=_IDX_FILES,
    is_there=has_idx_files,
    read=read_idx_folder,
    class_names=_words("0 1 2 3 4 5 6 7 8 9"),
    tfds="mnist",
    versions=(_MNIST_FILES,),
    train=60_000,
    test=10_000,
    twin="fashion_mnist",
)
_CIFAR_100 = Published(
    folders=_below("cifar-100-python", "cifar-100-binary", "cifar100"),
    files="train, test and meta, or train.bin and test.bin",
    is_there=has_cifar100_files,
    read=read_cifar_folder,
    class_names=_CIFAR100,
    tfds="cifar100",
    versions=(_CIFAR100_PYTHON, {"train.bin": None, "test.bin": None}),
    train=50_000,
    test=10_000,
)
_IMAGENET32 = Published(
    folders=("imagenet32", "."),
    files="train_data_batch_* and val_data",
    is_there=has_imagenet32_files,
    read=read_imagenet32_folder,
    tfds="imagenet_resized/32x32",
    versions=(_IMAGENET32_FILES,),
    train=1_281_167,
    test=50_000,
)

PUBLISHED: dict[str, Published] = {
    "mnist": _MNIST,
    "fashion_mnist": _MNIST._replace(
        folders=_below("FashionMNIST/raw", "fashion_mnist"),
        class_names=tuple(_FASHION),
        tfds="fashion_mnist",
        versions=(_FASHION_FILES,),
        twin="mnist",
    ),
    "svhn": Published(
        folders=("svhn", "."),
        files="train_32x32.mat and test_32x32.mat",
        is_there=has_svhn_files,
        read=read_svhn_folder,
        class_names=_MNIST.class_names,
        tfds="svhn_cropped",
        versions=(_SVHN_FILES,),
        train=73_257,
        test=26_032,
    ),
    "cifar10": Published(
        folders=_below("cifar-10-batches-bin", "cifar-10-batches-py", "cifar10"),
        files="data_batch_*.bin and test_batch.bin, or data_batch_* and test_batch",
        is_there=has_cifar10_files,
        read=read_cifar_folder,
        class_names=_CIFAR10,
        tfds="cifar10",
        versions=(_CIFAR10_BINARY, _CIFAR10_PYTHON),
        train=50_000,
        test=10_000,
    ),
    "cifar100": _CIFAR_100,
    # DCC's code normalises CIFAR-100 with the statistics of CIFAR-10
    "cifar100-dcc": _CIFAR_100,
    "tiny_imagenet": Published(
        folders=_below("tiny-imagenet-200", "tiny_imagenet"),
        files="wnids.txt, train/ and val/",
        is_there=has_tiny_imagenet_files,
        read=read_tiny_imagenet_folder,
        train=100_000,
        test=10_000,
    ),
    "imagenet32": _IMAGENET32,
    **{
        f"imagenet32-{group}": _IMAGENET32._replace(
            read=functools.partial(read_imagenet32_folder, group=group),
            class_names=tuple(fine.name for fine in classes),
            of_tfds=functools.partial(group_of, group=group),
            train=None,
            test=50 * len(classes),
        )
        for group, classes in GROUPS.items()
    },
}
