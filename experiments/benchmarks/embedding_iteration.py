r"""DM's iteration, ours against the original PyTorch functions, as ratios in one run.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, with augmentation; a fresh network each.

    git clone https://github.com/VICO-UoE/DatasetCondensation clone
    pip install -e ".[bench]"
    python experiments/benchmarks/embedding_iteration.py --original clone \
        --out experiments/results/benchmarks/embedding_iteration.json

About 3 minutes on 2 cores. Without --original only our side runs (no torch needed).
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import common
import iteration
import script

from jdd.cli.options import option
from jdd.methods import dm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.ComparisonOptions):
    """Options of the benchmark."""

    rounds: Annotated[
        int, option("N", "Rounds: each op of the augmentation is drawn at random.")
    ] = 8


def original(clone: Path, ipc: int) -> Callable[[], Any]:
    """A function that runs one iteration of the original."""
    from original import Original

    runner = Original(clone, ipc=ipc)
    operands, seeds = runner.operands(learning_rate=1.0), itertools.count(0, 1000)
    return lambda: runner.embedding_iteration(*operands, seed=next(seeds))


def benchmark(options: Options, command: str) -> None:
    """Times all rows."""
    rows = iteration.rows(options, lambda ipc, n: iteration.update(dm(ipc), n), original)
    common.report(rows, options, command)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
