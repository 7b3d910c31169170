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
    for recipe in dict.fromkeys(score.recipe for score in entries):
        out.print(recipe, soft_wrap=True, markup=False)
    networks = ", ".join(dict.fromkeys(score.network for score in entries))
    out.print(f"Mean and population standard deviation over networks: {networks}.", soft_wrap=True)


def count(n: int, what: str) -> str:
    """A number with its noun.

    >>> count(1, "image"), count(2, "image")
    ('1 image', '2 images')
    """
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


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
