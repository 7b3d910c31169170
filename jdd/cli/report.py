"""What a command prints on stdout: facts at the start, a table at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jdd.runs.scores import Score


def console() -> Console:
    """Stdout; wide enough for a table where it is no terminal."""
    width = max(40, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 100
    return Console(width=width, highlight=False)


def facts(out: Console, entries: Mapping[str, str]) -> None:
    """Prints ``name  value`` lines."""
    width = max(10, *(len(name) for name in entries))
    for name, value in entries.items():
        out.print(f"[bold]{escape(name):<{width}}[/bold]  ", end="")
        out.print(value, soft_wrap=True, markup=False)


def scores(out: Console, entries: Sequence[Score]) -> None:
    """Prints the accuracies as a table, and their protocols below it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("trained on")
    table.add_column("test accuracy", justify="right")
    has_best = any(score.best for score in entries)
    if has_best:
        table.add_column("best epoch (*)", justify="right")
    table.add_column("networks", justify="right")
    table.add_column("protocol")
    for score in entries:
        best = [score.best_text] if has_best else []
        row = (score.images, str(score), *best, str(len(score.accuracies)), score.protocol)
        table.add_row(*map(escape, row))
    out.print(table)
    if has_best:
        out.print("(*) Selected on test data: above what the set is worth.", soft_wrap=True)
    _protocols(out, entries)
    networks = ", ".join(dict.fromkeys(score.network for score in entries))
    text = f"Mean and population standard deviation over networks: {networks}."
    out.print(text, soft_wrap=True, markup=False)


def cross_architecture(out: Console, entries: Sequence[Score]) -> None:
    """Prints the accuracies with a line for each network, and the protocols below them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", no_wrap=True)
    trained_on = list(dict.fromkeys(score.images for score in entries))
    for images in trained_on:
        numbers = {len(score.accuracies) for score in entries if score.images == images}
        title = f"{images}, {'/'.join(map(str, sorted(numbers)))} networks"
        table.add_column(escape(title), justify="right", min_width=len("99.99 +- 99.99 %"))
    for network in dict.fromkeys(score.network for score in entries):
        row = {score.images: str(score) for score in entries if score.network == network}
        table.add_row(escape(network), *(row[images] for images in trained_on))
    out.print(table)
    _protocols(out, entries)
    out.print("Mean and population standard deviation over networks.", soft_wrap=True)


def _protocols(out: Console, entries: Sequence[Score]) -> None:
    """Prints how networks were trained, and which, where not all were trained alike."""
    protocols = dict.fromkeys(score.recipe for score in entries)
    for text in protocols:
        networks = dict.fromkeys(score.network for score in entries if score.recipe == text)
        line = f"{', '.join(networks)}: {text}" if len(protocols) > 1 else text
        out.print(line, soft_wrap=True, markup=False)
