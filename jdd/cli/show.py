"""``jdd show`` and ``jdd methods``."""

from __future__ import annotations

from pathlib import Path

from jdd.artefact import DistilledSet
from jdd.cli import report
from jdd.cli.configure import factories_of, flag
from jdd.cli.errors import naming, require
from jdd.cli.options import Show
from jdd.cli.places import UNREGISTERED, new_file, set_file
from jdd.runs.directory import SET


def show(command: Show) -> None:
    """Describes a set, and draws it.

    Raises:
      UsageError: if there is no such set, or the picture exists or is no PNG.
    """
    file = set_file(command.set)
    with naming("SET"):
        distilled = DistilledSet.load(file)
    unknown = distilled.metadata.unknown_choices()
    if not unknown:
        picture = str(_drawn(distilled, file, command))
    else:
        picture = f"not drawn: {UNREGISTERED.format(unknown[0])}"
        require(command.out is None, "SET", picture)
    report.facts(report.console(), {**distilled.describe(), "picture": picture})


def _drawn(distilled: DistilledSet, file: Path, command: Show) -> Path:
    """The picture of a set, which is drawn unless a run has drawn it.

    Raises:
      UsageError: if it exists already, or is no PNG.
    """
    of_run = file.parent / "grid.png"
    picture = command.out or (of_run if file.name == SET else file.with_suffix(".png"))
    is_there = command.out is None and picture == of_run and of_run.is_file()
    if not is_there or command.overwrite:
        require(picture.suffix == ".png", "--out", f"the picture must end in .png, got {picture}")
        picture = new_file(picture, "--out", overwrite=command.overwrite)
        # matplotlib takes a second to import.
        from jdd.runs import draw

        draw.grid_of_set(distilled, picture)
    return picture


def methods() -> None:
    """Lists methods with their choices, all choices, protocols, and networks with their pools."""
    from jdd.choice import FACTORIES
    from jdd.evaluate import PROTOCOLS
    from jdd.methods import CHOICES, PRESETS, TRAJECTORY_CHOICES
    from jdd.nn import NETWORKS, POOLS

    out = report.console()

    def line(text: str) -> None:
        out.print(text, soft_wrap=True, markup=False)

    for name, preset in PRESETS.items():
        out.print(f"[bold]{name}[/bold]  {preset.title} ({preset.paper})", soft_wrap=True)
        recipe = preset.recipe(1, data="cifar10")
        for field in recipe.choices:
            if (value := getattr(recipe, field)) is not None:
                line(f"  {field:<12}{value}")
        line(f"  {'length':<12}{recipe.length_in_words} at IPC 1")
    line("\nChoices (jdd distill METHOD --OPTION CALL)")
    others = list(FACTORIES)
    for field, kind in (CHOICES | TRAJECTORY_CHOICES).items():
        names = factories_of(kind)
        others = [name for name in others if name not in names]
        line(f"  {flag(field):<16}{', '.join(names)}")
    line(f"  {'in other calls':<16}{', '.join(others)}")
    line("\nEvaluation protocols (jdd evaluate --protocol)")
    for protocol in PROTOCOLS.values():
        line(f"  {protocol.describe()}")
    line("\nNetworks (jdd distill --model, jdd evaluate --models)")
    for name, (architecture, fixed) in NETWORKS.items():
        options = ", ".join(f"{option} {value}" for option, value in fixed.items())
        line(f"  {name:<17}" + (f"{architecture}, {options}" if fixed else "as in the papers"))
    line("Pools of networks (jdd evaluate --models)")
    for name, members in POOLS.items():
        line(f"  {name:<17}{', '.join(members)}")
    line("  S                the set's network, without batch norm")
    line("  SS               the set's network, as it was matched on")
