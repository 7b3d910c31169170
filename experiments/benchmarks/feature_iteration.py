r"""One image update of CAFE, ours against the original PyTorch functions, as ratios in one run.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, without augmentation; a fresh network each.

    git clone https://github.com/kaiwang960112/CAFE clone
    pip install -e ".[bench]"
    python experiments/benchmarks/feature_iteration.py --original clone \
        --out experiments/results/benchmarks/feature_iteration.json

About 3 minutes on 2 cores. Without --original only our side runs (no torch needed).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import iteration
import script

from jdd.methods import cafe_fixed


def original(clone: Path, ipc: int) -> Callable[[], Any]:
    """A function that runs one update of the original."""
    from original import Original

    runner = Original(clone, ipc=ipc)
    operands = runner.operands(learning_rate=0.1)
    return lambda: runner.feature_iteration(*operands)


def benchmark(options: common.ComparisonOptions, command: str) -> None:
    """Times all rows. The cost of an update does not depend on how networks are trained in between."""
    rows = iteration.rows(options, lambda ipc, n: iteration.update(cafe_fixed(ipc), n), original)
    common.report(rows, options, command)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, common.ComparisonOptions, benchmark))
