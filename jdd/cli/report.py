"""What a command prints on stdout: facts at the start, a table at the end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from jdd.cli.scoring import Score
from jdd.validation import count


def console() -> Console:
    """Stdout; wide enough for a table where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False)


def facts(out: Console, entries: Mapping[str, str]) -> None:
    """Prints ``name  value`` lines."""
    width = max(8, *(len(name) for name in entries))
    for name, value in entries.items():
        out.print(f"[bold]{name:<{width}}[/bold]  ", end="")
        out.print(value, soft_wrap=True, markup=False)


def scores(out: Console, entries: Sequence[Score]) -> None:
    """Prints the accuracies as a table, and their protocols below it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("trained on")
    table.add_column("test accuracy", justify="right")
    table.add_column("networks", justify="right")
    table.add_column("protocol")
    for score in entries:
        table.add_row(score.images, str(score), str(len(score.accuracies)), score.protocol)
    out.print(table)
    _recipes(out, entries)
    networks = ", ".join(dict.fromkeys(score.network for score in entries))
    out.print(f"Mean and population standard deviation over networks: {networks}.", soft_wrap=True)


def cross_architecture(out: Console, entries: Sequence[Score]) -> None:
    """Prints the accuracies with a line for each network, and the protocols below them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", no_wrap=True)
    trained_on = list(dict.fromkeys(score.images for score in entries))
    for images in trained_on:
        networks = {len(score.accuracies) for score in entries if score.images == images}
        title = f"{images}, {'/'.join(count(n, 'network') for n in networks)}"
        table.add_column(title, justify="right", min_width=len("99.99 +- 99.99 %"))
    for network in dict.fromkeys(score.network for score in entries):
        row = {score.images: str(score) for score in entries if score.network == network}
        table.add_row(network, *(row[images] for images in trained_on))
    out.print(table)
    _recipes(out, entries)
    out.print("Mean and population standard deviation over networks.", soft_wrap=True)


def _recipes(out: Console, entries: Sequence[Score]) -> None:
    """Prints how networks were trained, and which, where not all were trained alike."""
    recipes = dict.fromkeys(score.recipe for score in entries)
    for recipe in recipes:
        of = dict.fromkeys(score.network for score in entries if score.recipe == recipe)
        text = f"{', '.join(of)}: {recipe}" if len(recipes) > 1 else recipe
        out.print(text, soft_wrap=True, markup=False)


def device() -> dict[str, Any]:
    """What the arrays are on."""
    first = jax.devices()[0]
    kind = first.device_kind
    return {"platform": first.platform, "kind": kind, "count": jax.device_count()} | (
        {"cores": os.cpu_count()} if first.platform == "cpu" else {}
    )


def peak_memory_mb() -> dict[str, float]:
    """The largest memory that the process, and its accelerator, have held so far."""
    peak = {}
    with contextlib.suppress(ImportError):
        import resource  # POSIX only

        unit = 1 if sys.platform == "darwin" else 1024
        peak["host"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        peak["device"] = stats["peak_bytes_in_use"] / 1e6
    return {name: round(value, 1) for name, value in peak.items()}
