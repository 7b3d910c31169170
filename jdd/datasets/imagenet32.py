"""ImageNet32: ImageNet's 1000 classes at 32 x 32, and DCC's six fine-grained groups of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jdd.datasets.cifar import numbered, read_pickled_batch
from jdd.datasets.source import RawSplit, Source
from jdd.datasets.tiny_imagenet import distinct_names

CLASSES = 1000
_TRAIN, _TEST = "train_data_batch_*", "val_data"
_REMARK = " (validation as test)"


class FineClass(NamedTuple):
    """A class of a group: its label in the files (1 to 1000), WordNet identifier, and name."""

    label: int
    wnid: str
    name: str


def _group(text: str) -> tuple[FineClass, ...]:
    rows = (line.split() for line in text.replace(",", "\n").splitlines() if line.strip())
    return tuple(FineClass(int(label), wnid, name) for label, wnid, name in rows)


GROUPS: Mapping[str, tuple[FineClass, ...]] = {
    "automobile": _group("""
        265 n02701002 ambulance, 266 n02814533 beach_wagon, 267 n02930766 cab,
        268 n03100240 convertible, 269 n03594945 jeep, 270 n03670208 limousine,
        272 n03777568 Model_T, 273 n04037443 racer, 274 n04285008 sports_car"""),
    "truck": _group("""
        271 n03770679 minivan, 279 n03345487 fire_engine, 280 n03417042 garbage_truck,
        281 n03930630 pickup, 282 n04461696 tow_truck, 283 n04467665 trailer_truck,
        284 n03796401 moving_van, 285 n03977966 police_van, 289 n04465501 tractor"""),
    "lizard": _group("""
        463 n01675722 banded_gecko, 464 n01677366 common_iguana, 465 n01682714 American_chameleon,
        466 n01685808 whiptail, 467 n01687978 agama, 468 n01688243 frilled_lizard,
        469 n01689811 alligator_lizard, 470 n01692333 Gila_monster, 471 n01693334 green_lizard,
        472 n01694178 African_chameleon, 473 n01695060 Komodo_dragon"""),
    "fish": _group("""
        442 n01484850 great_white_shark, 443 n01491361 tiger_shark, 444 n01494475 hammerhead,
        445 n01496331 electric_ray, 446 n01498041 stingray, 447 n02514041 barracouta,
        448 n02536864 coho, 449 n01440764 tench, 450 n01443537 goldfish, 451 n02526121 eel,
        452 n02606052 rock_beauty, 453 n02607072 anemone_fish, 454 n02643566 lionfish,
        455 n02655020 puffer, 456 n02640242 sturgeon, 457 n02641379 gar"""),
    "terrier": _group("""
        4 n02096294 Australian_terrier, 26 n02098105 soft-coated_wheaten_terrier,
        27 n02096437 Dandie_Dinmont, 33 n02096051 Airedale, 36 n02097130 giant_schnauzer,
        45 n02093256 Staffordshire_bullterrier, 56 n02098413 Lhasa, 59 n02094433 Yorkshire_terrier,
        71 n02098286 West_Highland_white_terrier, 72 n02095889 Sealyham_terrier,
        88 n02094114 Norfolk_terrier, 91 n02096177 cairn, 107 n02093859 Kerry_blue_terrier,
        109 n02097298 Scotch_terrier, 113 n02096585 Boston_bull, 119 n02093647 Bedlington_terrier,
        123 n02097047 miniature_schnauzer, 126 n02093991 Irish_terrier, 131 n02097658 silky_terrier,
        145 n02094258 Norwich_terrier, 152 n02095570 Lakeland_terrier,
        156 n02097209 standard_schnauzer, 158 n02097474 Tibetan_terrier,
        160 n02095314 wire-haired_fox_terrier, 170 n02093428 American_Staffordshire_terrier,
        210 n02093754 Border_terrier"""),
    "insect": _group("""
        224 n02219486 ant, 621 n02165105 tiger_beetle, 622 n02165456 ladybug,
        623 n02167151 ground_beetle, 624 n02168699 long-horned_beetle, 625 n02169497 leaf_beetle,
        626 n02172182 dung_beetle, 627 n02174001 rhinoceros_beetle, 628 n02177972 weevil,
        629 n02190166 fly, 630 n02206856 bee, 631 n02226429 grasshopper, 632 n02229544 cricket,
        633 n02231487 walking_stick, 634 n02233338 cockroach, 635 n02236044 mantis,
        636 n02256656 cicada, 637 n02259212 leafhopper, 638 n02264363 lacewing,
        639 n02268443 dragonfly, 640 n02268853 damselfly, 641 n02276258 admiral,
        642 n02277742 ringlet, 643 n02279972 monarch, 644 n02280649 cabbage_butterfly,
        645 n02281406 sulphur_butterfly, 646 n02281787 lycaenid"""),
}
"""DCC's fine-grained sets (Lee et al., ICML 2022); the j-th class of a group is label j."""


def read_imagenet32_folder(folder: Path, group: str | None = None) -> Source:
    """Reads ImageNet32 or one of its groups: the train split, and the validation split as test.

    Files: pickles `train_data_batch_1` to `train_data_batch_10` and `val_data`, with `data` (uint8
    [N, 3072], in planes) and `labels` (1 to 1000), in the folder itself or as extracted in
    `Imagenet32_train` and `Imagenet32_val`. Of a group only its images are kept in memory. Names of
    all classes come from `map_clsloc.txt` where it lies beside the files; else they are the labels
    of the files, "1" to "1000".

    Args:
      folder: where the files are.
      group: a key of GROUPS; None for all classes.

    Raises:
      ValueError: naming the file that is missing or damaged.

    Reference: Chrabaszcz, Loshchilov, Hutter, A Downsampled Variant of ImageNet, 2017.
    """
    train = numbered(_place(folder, "Imagenet32_train"), _TRAIN)
    test = _place(folder, "Imagenet32_val") / _TEST
    for file in (*train, test):
        if not file.is_file():
            raise ValueError(f"{file.parent}: no {file.name}")
    labels = range(1, CLASSES + 1) if group is None else [c.label for c in GROUPS[group]]
    label_of = np.full(CLASSES + 1, -1, np.int32)
    label_of[list(labels)] = np.arange(len(labels), dtype=np.int32)
    names = _all_names(folder) if group is None else tuple(c.name for c in GROUPS[group])
    parts = [_read_batch(path, label_of) for path in train]
    return Source(
        RawSplit(
            np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts])
        ),
        _read_batch(test, label_of),
        names,
        remark=_REMARK,
        files=(*train, test),
    )


def has_imagenet32_files(folder: Path) -> bool:
    """Returns whether a folder holds any file of ImageNet32."""
    train, test = _place(folder, "Imagenet32_train"), _place(folder, "Imagenet32_val")
    return (test / _TEST).is_file() or any(path.is_file() for path in numbered(train, _TRAIN))


def group_of(source: Source, group: str) -> Source:
    """Selects a group from all of ImageNet32 with WordNet identifiers as class names (as in tfds).

    Raises:
      ValueError: where the source has no class of an identifier of the group.
    """
    names = source.class_names or ()
    missing = [c.wnid for c in GROUPS[group] if c.wnid not in names]
    if missing:
        raise ValueError(f"no class {missing[0]}")
    label_of = np.full(len(names), -1, np.int32)
    for label, fine in enumerate(GROUPS[group]):
        label_of[names.index(fine.wnid)] = label
    train, test = source.train, source.test
    return source._replace(
        train=_relabelled(train.images, train.labels, label_of),
        test=None if test is None else _relabelled(test.images, test.labels, label_of),
        class_names=tuple(c.name for c in GROUPS[group]),
    )


def _place(folder: Path, extracted: str) -> Path:
    return folder / extracted if (folder / extracted).is_dir() else folder


def _read_batch(path: Path, label_of: np.ndarray) -> RawSplit:
    images, labels = read_pickled_batch(path, "labels", first=1, last=CLASSES)
    return _relabelled(images, labels, label_of)


def _relabelled(images: np.ndarray, labels: np.ndarray, label_of: np.ndarray) -> RawSplit:
    new = label_of[labels]
    kept = new >= 0
    return RawSplit(images if kept.all() else images[kept], new[kept])


def _all_names(folder: Path) -> tuple[str, ...]:
    path = folder / "map_clsloc.txt"
    if not path.is_file():
        return tuple(str(label) for label in range(1, CLASSES + 1))
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    if any(len(row) != 3 for row in rows) or [row[1] for row in rows] != [
        str(label) for label in range(1, CLASSES + 1)
    ]:
        raise ValueError(f"{path}: must have {CLASSES} lines: identifier, 1 to {CLASSES}, name")
    wnids = [row[0] for row in rows]
    return distinct_names(wnids, {wnid: name for wnid, _, name in rows})
