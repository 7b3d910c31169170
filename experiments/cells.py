"""Cells of a table: each is one run whose small files are kept.

A script yields its cells, in order, from its options; `main` runs those that are not finished. A cell
that was stopped is continued by the same command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar

from benchmarks import script

from jdd.atomic_write import write_atomically
from jdd.cli.options import option
from jdd.configuration import Configuration
from jdd.runs import Interrupted, prepare, run
from jdd.runs.compilation_cache import keep_compiled_programs
from jdd.validation import at_least, positive

# The last one marks a finished cell, so the others must be there before it.
KEPT = ("config.json", "set.safetensors", "grid.png", "curve.png", "result.json")
MOST_LOSSES = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options that all experiments have."""

    data_dir: Annotated[
        Path | None, option("FOLDER", "Where the published sets are.", "$JDD_DATA_DIR")
    ] = None
    seed: Annotated[int, option("INT", "Of all randomness.")] = 0
    results: Annotated[
        Path, option("FOLDER", "Results go to a folder in it.", "experiments/results")
    ] = script.RESULTS


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions(Options):
    """Options that all tables have."""

    runs: Annotated[Path, option("FOLDER", "Run directories, which are continued.")] = Path("runs")
    eval_networks: Annotated[int, option("N", "Networks that a set is tested on.")] = 20
    stop_after: Annotated[
        float | None, option("MINUTES", "Stop as Ctrl-C does; the same command continues.", "never")
    ] = None


class Place(NamedTuple):
    """Where a cell reads and writes.

    Attributes:
      results: the folder of the table.
      runs: where run directories are.
      data_dir: where the published sets are.
      command: what started the script.
    """

    results: Path
    runs: Path = Path("runs")
    data_dir: Path | None = None
    command: str = ""


class Cell(Protocol):
    """One entry of a table: ``name`` is that of its files, ``run`` does nothing once they are there."""

    @property
    def name(self) -> str: ...

    def run(self, place: Place) -> None: ...


T = TypeVar("T", bound=TableOptions)


def main(
    file: str,
    doc: str | None,
    options: type[T],
    table: Callable[[T], Iterable[Cell]],
    arguments: list[str] | None = None,
) -> int:
    """Runs the cells of a table, and returns the exit code of `script.main`.

    Args:
      file, doc, options, arguments: as in `script.main`.
      table: ``table(options)``; a cell is asked for after the one before has run.
    """

    def body(chosen: T, command: str) -> None:
        at_least("--eval-networks", chosen.eval_networks, 1)
        keep_compiled_programs()
        results = chosen.results / Path(file).stem
        place = Place(results, chosen.runs, chosen.data_dir, command)
        cell = None
        with time_limit(chosen.stop_after) as check:
            for cell in table(chosen):
                check()
                cell.run(place)
        if cell is None:
            raise ValueError("these options leave no cell to run")

    return script.main(file, doc, options, body, arguments)


@contextlib.contextmanager
def time_limit(minutes: float | None) -> Iterator[Callable[[], None]]:
    """Within it, the main thread receives SIGINT after so many minutes; None for no limit.

    Yields:
      A function that raises KeyboardInterrupt once the time is over, for between two cells: a run that
      is writing its last files when the signal arrives ends normally.

    Raises:
      ValueError: if minutes is not above 0.
    """
    if minutes is None:
        yield lambda: None
        return
    end = time.monotonic() + 60 * positive("--stop-after", minutes)

    def check() -> None:
        if time.monotonic() >= end:
            raise KeyboardInterrupt

    # To the main thread, as the keyboard's: a signal to the thread of the timer would wake no other.
    target = [threading.main_thread().ident, signal.SIGINT]
    timer = threading.Timer(60 * minutes, signal.pthread_kill, target)
    timer.daemon = True
    timer.start()
    try:
        yield check
    finally:
        timer.cancel()


@dataclasses.dataclass(frozen=True)
class Distilled:
    """A cell that distils, evaluates, and keeps the folder NAME.

    Attributes:
      name: of the run directory and of the folder that is kept.
      configuration: of the run.
    """

    name: str
    configuration: Configuration

    def run(self, place: Place) -> None:
        """Runs or continues it."""
        run_cell(
            self.configuration,
            self.name,
            place.results,
            data_dir=place.data_dir,
            runs=place.runs,
            command=place.command,
        )


def run_cell(
    configuration: Configuration,
    name: str,
    results: Path,
    *,
    data_dir: Path | None = None,
    runs: Path = Path("runs"),
    command: str = "",
) -> None:
    """Runs a configuration, or continues it where it has begun, and keeps the small files.

    Args:
      configuration: of the run.
      name: of the run directory ``runs/name`` and of the folder ``results/name``; with a result.json
        there, nothing is run.
      results: the folder of the table.
      data_dir: where the published sets are.
      runs: where run directories are.
      command: what started the run, for its files.

    Raises:
      ValueError, Interrupted, RunError: as ``jdd.runs.run``. Of an interrupted run, what exists is kept.
    """
    folder, kept = runs / name, results / name
    if is_finished(kept / "result.json"):
        return
    experiment = prepare(configuration, data_dir=data_dir)
    has_begun = (folder / "config.json").is_file()
    try:
        run(
            experiment,
            folder,
            resume=has_begun,
            announce=_print_facts,
            command=command,
            again="the same command",
        )
    except Interrupted:
        keep(folder, kept)
        raise
    keep(folder, kept)


def is_finished(file: Path) -> bool:
    """Whether a cell has its last file. Prints that it is skipped, if so."""
    if file.is_file():
        path = file.parent if file.name == "result.json" else file
        print(f"{path.name} is finished: skipped (its --eval-networks may differ)")
    return file.is_file()


def keep(folder: Path, kept: Path) -> None:
    """Copies the small files of a run directory, and its metrics thinned out."""
    kept.mkdir(parents=True, exist_ok=True)
    metrics = folder / "metrics.jsonl"
    if metrics.is_file():
        lines = thinned(metrics.read_text(encoding="utf-8").splitlines())
        write_atomically(kept / "metrics.jsonl", ("\n".join(lines) + "\n").encode())
    for name in KEPT:
        if (folder / name).is_file():
            write_atomically(kept / name, (folder / name).read_bytes())


def thinned(lines: list[str]) -> list[str]:
    """All evaluations; of the losses (one per dispatch) every k-th, at most 200, and the last."""
    losses = [i for i, line in enumerate(lines) if "loss" in json.loads(line)]
    every = -(-len(losses) // MOST_LOSSES) or 1
    dropped = set(losses) - set(losses[::every]) - set(losses[-1:])
    return [line for i, line in enumerate(lines) if i not in dropped]


def _print_facts(facts: Any) -> None:
    for name, text in facts.items():
        print(f"{name:<12}{text}", flush=True)
