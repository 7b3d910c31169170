"""Tiny-ImageNet: folders of JPEG images, by WordNet identifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jdd.datasets.images import read_images
from jdd.datasets.source import Source
from jdd.validation import did_you_mean


def read_tiny_imagenet_folder(folder: Path) -> Source:
    """Reads the folder `tiny-imagenet-200`: the train split, and the validation split as test.

    Labels follow the lines of `wnids.txt`; names are the first ones of `words.txt`, where it is
    there. Train images are `train/WNID/images/*.JPEG`, test images `val/images/*` with their class in
    `val/val_annotations.txt` (the labels of the published test images are not public). Grey images
    become RGB.

    Raises:
      ValueError: naming the file or folder that is missing or damaged.

    Reference: Stanford CS231n; the papers too use the validation split as test.
    """
    wnids = [line[0] for line in _table(folder / "wnids.txt") if line[0]]
    if not wnids or len(set(wnids)) < len(wnids):
        raise ValueError(f"{folder / 'wnids.txt'}: must list WordNet identifiers, each once")
    train = [
        (file, label) for label, wnid in enumerate(wnids) for file in _train_images(folder, wnid)
    ]
    test = _test_images(folder / "val", {wnid: label for label, wnid in enumerate(wnids)})
    return Source(
        read_images(train, "RGB", train[0][0]),
        read_images(test, "RGB", train[0][0]),
        distinct_names(wnids, _words(folder / "words.txt")),
        remark=" (validation as test)",
    )


def has_tiny_imagenet_files(folder: Path) -> bool:
    """Returns whether a folder is that of Tiny-ImageNet."""
    return (folder / "wnids.txt").is_file()


def distinct_names(wnids: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """Names each class by its word, with the identifier behind it where two classes share the word.

    >>> distinct_names(["n1", "n2", "n3"], {"n1": "crane", "n2": "crane", "n3": "dog"})
    ('crane n1', 'crane n2', 'dog')
    """
    names = [words.get(wnid, wnid) for wnid in wnids]
    count = Counter(names)
    return tuple(
        name if count[name] == 1 else f"{name} {wnid}"
        for name, wnid in zip(names, wnids, strict=True)
    )


def _train_images(folder: Path, wnid: str) -> list[Path]:
    place = folder / "train" / wnid / "images"
    if not place.is_dir():
        raise ValueError(f"{folder}: no folder train/{wnid}/images")
    # by number: the files are WNID_0.JPEG to WNID_499.JPEG
    files = sorted(place.glob("*.JPEG"), key=lambda file: (len(file.name), file.name))
    if not files:
        raise ValueError(f"{place}: no .JPEG image")
    return files


def _test_images(folder: Path, label_of: Mapping[str, int]) -> list[tuple[Path, int]]:
    listed = folder / "val_annotations.txt"
    images = []
    for line in _table(listed):
        if len(line) < 2 or line[1] not in label_of:
            wnid = line[1] if len(line) > 1 else ""
            hint = did_you_mean(wnid, label_of)
            raise ValueError(f"{listed}: {line[0]!r} is of no class of wnids.txt: {wnid!r}{hint}")
        if "/" in line[0] or "\\" in line[0]:
            raise ValueError(f"{listed}: {line[0]!r} is not the name of a file")
        images.append((folder / "images" / line[0], label_of[line[1]]))
    if not images:
        raise ValueError(f"{listed}: lists no image")
    return images


def _words(path: Path) -> dict[str, str]:
    """Reads the first name of every identifier: "goldfish" of "goldfish, Carassius auratus"."""
    if not path.is_file():
        return {}
    return {line[0]: line[1].split(",")[0].strip() for line in _table(path) if len(line) > 1}


def _table(path: Path) -> list[list[str]]:
    """Reads the lines of a file, split at tabs."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    return [line.strip().split("\t") for line in text.splitlines() if line.strip()]
