"""Class folders of images: train/CLASS and test/CLASS, or CLASS alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jdd.datasets.dataset import listed
from jdd.datasets.images import is_image, read_viewed
from jdd.datasets.source import DataWarning, RawSplit, Source
from jdd.validation import count, did_you_mean

# names of the folder of each split, in lower case
_NAMES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation"),
}
_LAYOUT = "the layout is train/CLASS/IMAGE and test/CLASS/IMAGE (or val/CLASS/IMAGE)"
_SHARE = "give test_share (--test-share), as in 0.2, to hold out a part of each class"


class _Listing(NamedTuple):
    """The images below some class folders.

    Attributes:
      files: the images, class by class.
      labels: the class of each.
      nested: those in sub-folders of their class folder.
      skipped: how many files and folders were left out, by reason.
    """

    files: list[Path]
    labels: list[int]
    nested: list[Path]
    skipped: Counter[str]


def read_image_folder(folder: Path, undivided: bool = False) -> Source:
    """Reads the class folders of a train and a test split, or of one set without splits.

    Layout: `train/CLASS/IMAGE` with `test/CLASS/IMAGE`, else with the validation split (`val`,
    `valid` or `validation`) as test; `training` and `testing`, and capital letters, are known too.
    With `undivided` also `train/CLASS/IMAGE` alone and `CLASS/IMAGE`.

    Classes are the folders of train in sorted order. Images are in sorted order of their paths, in
    any format that Pillow reads, and all of one size. Images in sub-folders of a class folder are of
    that class. One image in colour makes all of them RGB; see `jdd.datasets.images.read_viewed` for
    rotation, transparency and frames. A warning counts the files that are left out.

    Args:
      folder: the place of the set.
      undivided: whether a set without a test split is allowed.

    Raises:
      ValueError: naming the folder or file that does not fit this layout or cannot be read.
    """
    places = _places(folder, undivided)
    train_place, test_place = places["train"], places.get("test", places.get("validation"))
    names = _class_names(train_place)
    if not names:
        raise ValueError(f"{train_place}: no class folders")
    train = _list_classes(train_place, names)
    test = _Listing([], [], [], Counter())
    if test_place is not None:
        for name in _class_names(test_place):
            if name not in names:
                hint = did_you_mean(name, names)
                raise ValueError(f"{test_place / name}: no such class in {train_place.name}{hint}")
        test = _list_classes(test_place, names)
    for place, part in ((train_place, train), (test_place, test)):
        if place is not None and not part.files:
            raise ValueError(f"{place}: no image in any class folder")
    if len(names) == 1 and train.nested:
        raise ValueError(
            f"{train_place}: {names[0]} is the only class folder, and has folders in it: if those are "
            f"the classes, read {train_place / names[0]}"
        )
    viewed = read_viewed([*train.files, *test.files])
    size = len(train.files)
    unused = [f for f in _folders(folder) if train_place != folder and f not in places.values()]
    nested = [*train.nested, *test.nested]
    notes = [
        _left_out(train.skipped + test.skipped, unused),
        _such_as("in sub-folders of a class folder, read as images of that class", nested),
        _such_as("with transparent pixels, shown on white", viewed.transparent),
        _such_as("with several frames, of which the first is read", viewed.animated),
    ]
    return Source(
        RawSplit(viewed.images[:size], np.array(train.labels)),
        None if test_place is None else RawSplit(viewed.images[size:], np.array(test.labels)),
        names,
        remark=" (validation as test)" if "test" not in places and test_place else "",
        warnings=tuple(DataWarning(f"{folder}: {note}") for note in notes if note),
    )


def _places(folder: Path, undivided: bool) -> dict[str, Path]:
    """Finds the folder of each split; for class folders alone, train is the folder itself."""
    places = {}
    for part, known in _NAMES.items():
        matching = [place for place in _folders(folder) if place.name.lower() in known]
        if len(matching) > 1:
            both = f"{matching[0].name} and {matching[1].name}"
            raise ValueError(f"{folder}: {both} can both be the {part} split: keep one of them")
        if matching:
            places[part] = matching[0]
    if "train" not in places:
        inner = next((f for f in _folders(folder) if (f / "train").is_dir()), None)
        hint = f"; {inner} has one" if inner else ""
        if not undivided or places or inner:
            missing = f"{folder}: no train folder in it{hint}; {_LAYOUT}"
            raise ValueError(missing if places or inner else f"{missing}; of CLASS/IMAGE, {_SHARE}")
        return {"train": folder}
    if len(places) == 1 and not undivided:
        raise ValueError(
            f"{folder}: no test or val folder in it; {_LAYOUT}; of train alone, {_SHARE}"
        )
    return places


def _class_names(place: Path) -> tuple[str, ...]:
    return tuple(folder.name for folder in _folders(place))


def _folders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return sorted(entry for entry in place.iterdir() if entry.is_dir() and not _hidden(entry))


def _hidden(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _list_classes(place: Path, names: tuple[str, ...]) -> _Listing:
    skipped: Counter[str] = Counter()
    for entry in place.iterdir():
        if _hidden(entry):
            skipped["hidden"] += 1
        elif not entry.is_dir():
            skipped["not in a class folder"] += 1
    images = [
        (file, label)
        for label, name in enumerate(names)
        if (place / name).is_dir()
        for file in sorted(_walk(place / name, frozenset(), skipped))
    ]
    nested = [file for file, label in images if file.parent != place / names[label]]
    return _Listing([file for file, _ in images], [label for _, label in images], nested, skipped)


def _walk(folder: Path, above: frozenset[Path], skipped: Counter[str]) -> Iterator[Path]:
    """Lists the images in a folder and its sub-folders; a link to a folder above is not followed."""
    above = above | {folder.resolve()}
    for entry in folder.iterdir():
        if _hidden(entry):
            skipped["hidden"] += 1
        elif entry.is_dir():
            if entry.resolve() in above:
                skipped["links to a folder above"] += 1
            else:
                yield from _walk(entry, above, skipped)
        elif entry.exists() and not entry.is_file():
            skipped["not regular files"] += 1  # opening a pipe might never end
        elif is_image(entry):
            yield entry
        else:
            skipped[f"not images ({entry.suffix or 'without extension'})"] += 1


def _left_out(skipped: Counter[str], unused: list[Path]) -> str:
    reasons = [f"{number} {reason}" for reason, number in sorted(skipped.items())]
    reasons += [f"the folder {place.name}" for place in unused]
    return f"left out: {listed(reasons)}" if reasons else ""


def _such_as(what: str, files: Sequence[Path]) -> str:
    return f"{count(len(files), 'image')} {what}, such as {files[0]}" if files else ""
