"""``jdd show`` and ``jdd methods``: what there is, in words and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jdd.artefact import DistilledSet
from jdd.cli import report
from jdd.cli.errors import blame, require
from jdd.cli.options import Show
from jdd.cli.places import SET, new_file, set_file
from jdd.cli.scoring import percent
from jdd.validation import count


def show(command: Show) -> None:
    """Prints what a set is, and draws it.

    Raises:
      UsageError: if there is no such set, or the picture exists or is none.
    """
    file = set_file(command.set)
    with blame("SET"):
        distilled = DistilledSet.load(file)
    drawn = file.parent / "grid.png"
    picture = command.out or (drawn if file.name == SET else file.with_suffix(".png"))
    # A run directory has its picture already.
    is_there = command.out is None and picture == drawn and drawn.is_file()
    if not is_there or command.overwrite:
        require(picture.suffix == ".png", "--out", f"the picture must end in .png, got {picture}")
        picture = new_file(picture, "--out", overwrite=command.overwrite)
        _draw(distilled, picture)
    out = report.console()
    report.facts(out, _facts(distilled) | {"picture": str(picture)})


def methods() -> None:
    """Prints the methods, the evaluation protocols, and the networks with their pools."""
    from jdd.evaluate import PROTOCOLS
    from jdd.methods import METHODS
    from jdd.nn import NETWORKS, POOLS

    out = report.console()
    for name, entry in METHODS.items():
        out.print(f"[bold]{name}[/bold]  {entry.title} ({entry.paper})", soft_wrap=True)
        for choice in ("synthetic", "sampler", "augmentation", "objective", "schedule", "start"):
            out.print(f"  {choice:<13} {getattr(entry, choice)}", soft_wrap=True, markup=False)
    out.print()
    out.print("Evaluation protocols")
    for protocol in PROTOCOLS.values():
        out.print(f"  {protocol.describe()}", soft_wrap=True, markup=False)
    out.print()
    out.print("Networks (jdd distill --model, jdd evaluate --models)")
    for name, (architecture, fixed) in NETWORKS.items():
        said = ", ".join(f"{option} {value}" for option, value in fixed.items())
        text = f"{architecture}, {said}" if fixed else "as in the papers"
        out.print(f"  {name:<17}{text}", soft_wrap=True, markup=False)
    out.print("Pools of networks (jdd evaluate --models)")
    for name, members in POOLS.items():
        out.print(f"  {name:<17}{', '.join(members)}", soft_wrap=True, markup=False)
    out.print("  S                the set's own network, without batch norm", soft_wrap=True)
    out.print("  SS               the set's own network, as it was distilled on", soft_wrap=True)


def _draw(distilled: DistilledSet, path: Path) -> None:
    # matplotlib takes a second to import.
    from jdd.runs import draw

    labels = distilled.labels if distilled.labels.ndim == 1 else np.argmax(distilled.labels, -1)
    draw.grid(distilled.pixels(), labels, distilled.metadata.class_names, path)


def _facts(distilled: DistilledSet) -> dict[str, str]:
    metadata = distilled.metadata
    facts = {
        "method": metadata.method,
        "data set": f"{metadata.dataset}, {distilled.num_classes} classes",
        "images": f"{len(distilled.images)} of {'x'.join(map(str, distilled.image_shape))}, "
        f"{distilled.ipc} per class ({math.prod(distilled.images.shape)} numbers)",
        "space": f"{metadata.space}, mean {list(metadata.mean)}, std {list(metadata.std)}",
        "augmentation": "none"
        if metadata.augmentation is None
        else f"{metadata.augmentation.name} {metadata.augmentation.strategy}",
        "protocol": metadata.protocol or "none",
        **({"recipe": _said(metadata.recipe)} if metadata.recipe else {}),
        "seed": str(metadata.seed),
        "versions": ", ".join(f"{name} {value}" for name, value in metadata.versions.items()),
    }
    for name, result in metadata.results.items():
        if _is_score(result):
            accuracy = percent(result["mean"], result["std"], result["networks"])
            networks = count(result["networks"], "network")
            facts[name] = f"{accuracy} ({networks}, {result['protocol']})"
    return facts


def _said(entries: Mapping[str, Any]) -> str:
    """Entries as words; of those that have entries themselves too.

    >>> _said({"epochs": 300, "decay": {"after": 152, "factor": 0.1}})
    'epochs 300, decay after 152, decay factor 0.1'
    """
    words = []
    for name, value in entries.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        words += [" ".join(f"{name} {entry} {x}".split()) for entry, x in inner.items()]
    return ", ".join(words)


def _is_score(result: Any) -> bool:
    """Whether a result is a score: a set may be made by hand, and say anything."""
    if not isinstance(result, dict) or "protocol" not in result:
        return False
    numbers = [result.get(name) for name in ("mean", "std", "networks")]
    return all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers)
