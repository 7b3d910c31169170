"""``jdd export``: the images of a set as files for other programs."""

from __future__ import annotations

from jdd.artefact import DistilledSet
from jdd.artefact.export import check_export, export_arrays, export_images
from jdd.cli import report
from jdd.cli.errors import naming, require
from jdd.cli.options import Export
from jdd.cli.places import UNREGISTERED, expanded, new_file, set_file
from jdd.validation import count


def export(command: Export) -> None:
    """Runs ``jdd export SET --out PLACE``.

    Raises:
      UsageError: if there is no such set, it cannot be exported so, or the place exists.
      OSError: if it cannot be written; nothing is left behind.
    """
    file = set_file(command.set)
    with naming("SET"):
        distilled = DistilledSet.load(file)
    for name in distilled.metadata.unknown_choices():
        require(False, "SET", UNREGISTERED.format(name))
    with naming("--out"):
        place = check_export(distilled, expanded(command.out))
    is_arrays = place.suffix == ".npz"
    new_file(place if is_arrays else place / "class" if place.is_dir() else place, "--out")
    number = (export_arrays if is_arrays else export_images)(distilled, place)
    variants = "" if distilled.variants == 1 else f", {distilled.variants} variants of each"
    facts = {
        "images": f"{count(number, 'image')} of {len(distilled.metadata.class_names)} classes{variants}",
        "written": str(place),
    }
    report.facts(report.console(), facts)
