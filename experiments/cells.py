"""What the tables share: a cell is one run of jdd that can be stopped and resumed; what is kept of it."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from jdd.cli import main as jdd

RESULTS = Path(__file__).parent / "results"
KEPT = ("config.json", "result.json", "set.safetensors", "grid.png", "curve.png")
MOST_LOSSES = 200
STOPPED = 130


def run_cell(
    arguments: Sequence[str], run: Path, kept: Path, *, minutes: float | None = None
) -> int:
    """Runs ``jdd distill`` in a run directory, resumed if it has begun, and keeps what is there.

    Args:
      arguments: of jdd, without the run directory.
      run: the run directory.
      kept: the folder for what is kept.
      minutes: after which it is stopped, as by Ctrl-C.

    Returns:
      jdd's exit code; 130 where it was stopped.
    """
    resumed = ["--resume"] if is_begun(run) else []
    code = run_for([*arguments, "--out", str(run), *resumed], minutes)
    if code in (0, STOPPED) and is_begun(run):
        keep(run, kept)
    return code


def is_begun(run: Path) -> bool:
    """Whether there is a run that can be resumed."""
    return (run / "config.json").is_file()


def run_for(arguments: list[str], minutes: float | None) -> int:
    """Runs jdd; after so many minutes it is stopped as by Ctrl-C."""
    if minutes is None:
        return jdd(arguments)
    # To the main thread, as the keyboard's: a signal of the timer's own thread would wake nobody.
    target = [threading.main_thread().ident, signal.SIGINT]
    timer = threading.Timer(minutes * 60, signal.pthread_kill, target)
    timer.daemon = True
    timer.start()
    try:
        return jdd(arguments)
    finally:
        timer.cancel()


def keep(run: Path, kept: Path) -> None:
    """Copies what is there of a run, with its metrics thinned out."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (run / name).is_file():
            shutil.copy(run / name, kept / name)
    metrics = run / "metrics.jsonl"
    if metrics.is_file():
        lines = thinned(metrics.read_text(encoding="utf-8").splitlines())
        (kept / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def thinned(lines: list[str]) -> list[str]:
    """All evaluations, and of the losses (one per dispatch) every k-th, at most 200 and the last."""
    losses = [i for i, line in enumerate(lines) if "loss" in json.loads(line)]
    every = -(-len(losses) // MOST_LOSSES) or 1
    dropped = set(losses) - set(losses[::every]) - set(losses[-1:])
    return [line for i, line in enumerate(lines) if i not in dropped]
