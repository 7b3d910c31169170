"""One image update as the benchmarks time it: ConvNet-3's 32x32x3 images, a fresh network each time."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from common import interleaved, machine, peak_memory_mb, write

from jdd.data import ClassTable, Split, class_table
from jdd.methods import Method, advance

SHAPE = (32, 32, 3)
PER_CLASS = 300


class Iteration(NamedTuple):
    """A compiled update.

    Attributes:
      run: runs one, and goes on from where it stopped.
      temporaries_mb: memory that the program needs beside its arguments and results.
      compile_seconds: wall clock.
    """

    run: Any
    temporaries_mb: float
    compile_seconds: float


def table(num_classes: int) -> ClassTable:
    """Random bytes as images, 300 per class: what an update costs does not depend on them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_classes * PER_CLASS, *SHAPE), np.uint8)
    labels = np.repeat(np.arange(num_classes, dtype=np.int32), PER_CLASS)
    return class_table(Split(images, labels), num_classes, (0.5,) * 3, (0.25,) * 3)


def compiled(method: Method, num_classes: int) -> Iteration:
    """An update of a method on random images of so many classes."""
    real = table(num_classes)
    state = method.init(jax.random.key(0), real)
    run = advance(method, 1)
    start = time.perf_counter()
    program = run.lower(state, real, 1).compile()
    compile_seconds = time.perf_counter() - start
    memory = program.memory_analysis()
    temporaries = memory.temp_size_in_bytes / 1e6 if memory else float("nan")
    box = [state]

    def iterate() -> Any:
        box[0], losses = run(box[0], real, 1)
        return losses

    return Iteration(iterate, temporaries, compile_seconds)


def main(
    name: str,
    description: str | None,
    ours: Callable[[int, int], Iteration],
    original: Callable[[str, int, int], Callable[[], Any]],
    rounds: int,
) -> None:
    """A benchmark of a method's update, ours against the original's, taking turns in one process.

    Args:
      name: of the benchmark's file.
      description: for ``--help``.
      ours: ``ours(ipc, num_classes)``.
      original: ``original(clone, ipc, num_classes)``, a function that runs one update.
      rounds: by default.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--original", help="clone of the original code; without, only ours runs")
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out")
    options = parser.parse_args()
    rows = []
    for ipc in options.ipc:
        update, more_classes = ours(ipc, 10), ours(ipc, 20).temporaries_mb
        functions = {"ours": update.run}
        if options.original:
            functions["original"] = original(options.original, ipc, 10)
        best = interleaved(options.rounds, **functions)
        row = {
            "ipc": ipc,
            "seconds": best["ours"],
            "original_seconds": best.get("original"),
            "ratio": best["original"] / best["ours"] if options.original else None,
            "temporaries_mb": update.temporaries_mb,
            "temporaries_mb_20_classes": more_classes,
            "compile_seconds": update.compile_seconds,
        }
        rows.append(row)
        theirs = (
            f", original {best['original']:.2f} s, ratio {row['ratio']:.2f}" if row["ratio"] else ""
        )
        print(
            f"IPC {ipc:2d}: ours {best['ours']:.2f} s{theirs}; temporaries {update.temporaries_mb:.0f} MB "
            f"with 10 classes, {more_classes:.0f} with 20; compiled in {update.compile_seconds:.0f} s",
            flush=True,
        )
    print(f"peak resident memory of this process {peak_memory_mb():.0f} MB; {machine()}")
    command = f"python experiments/benchmarks/{name}.py " + " ".join(sys.argv[1:])
    write(options.out, command, {"rows": rows, "peak_memory_mb": peak_memory_mb()})
