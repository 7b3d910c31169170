"""Cells of the main table of the DSA paper, in full: 1000 networks, 20 evaluation networks.

Published (mean +- std over 5 sets x 20 networks; we condense one set, so our std is over 20 networks of one set):
Fashion-MNIST IPC 1: DSA 70.6 +- 0.6, DC 70.5 +- 0.6. CIFAR-10 IPC 1 / 10: DSA 28.8 +- 0.7 / 52.1 +- 0.5.

    python experiments/dsa_main_table.py fashion_mnist-dsa-ipc1 --data-dir FOLDER

An IPC 1 cell takes about two hours on 2 cores (AMD EPYC, AVX2). It can be stopped (Ctrl-C, or --stop-after MINUTES)
and is resumed by the same command, bit for bit. The run lies in runs/CELL; what is kept goes to
experiments/results/dsa_main_table/, of a run that was stopped as far as it came (no result.json then).
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import threading
from pathlib import Path

from jdd.cli import main as jdd

RESULTS = Path(__file__).parent / "results" / "dsa_main_table"
CELLS = {
    f"{data}-{method}-ipc{ipc}": (method, data, ipc)
    for method, data, ipc in (
        ("dsa", "fashion_mnist", 1),
        ("dsa", "cifar10", 1),
        ("dc", "fashion_mnist", 1),
        ("dsa", "cifar10", 10),
    )
}
KEPT = ("config.json", "result.json", "set.safetensors", "grid.png", "curve.png")
MOST_LOSSES = 200
STOPPED = 130


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cell", choices=CELLS)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="as Ctrl-C would")
    options = parser.parse_args()
    run = options.runs / f"{options.cell}-seed{options.seed}"
    code = run_for(command(options.cell, options.data_dir, options.seed, run), options.stop_after)
    if code not in (0, STOPPED) or not is_begun(run):
        return code
    kept = RESULTS / f"{options.cell}-seed{options.seed}"
    keep(run, kept)
    if code == 0:
        print(json.dumps(json.loads((kept / "result.json").read_text()), indent=1)[:800])
    return code


def command(cell: str, data_dir: str, seed: int, run: Path) -> list[str]:
    """The arguments of jdd for a cell: resumed if it has begun."""
    method, data, ipc = CELLS[cell]
    return [
        *["distill", method, "--data", data, "--data-dir", data_dir],
        *["--ipc", str(ipc), "--seed", str(seed), "--eval-every", "0"],
        *["--out", str(run), *(["--resume"] if is_begun(run) else [])],
    ]


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


if __name__ == "__main__":
    sys.exit(main())
