r"""One update of IDC, ours against the original PyTorch functions, as ratios in one run.

ConvNet-3, width 128, 32x32x3, 10 classes, 64 real images per class, factor 2, with augmentation; a fresh network
each, which is not trained. The original steps after every class, ours once (methods.class_by_class).

    git clone https://github.com/snu-mllab/Efficient-Dataset-Condensation clone
    pip install -e ".[bench]"
    python experiments/benchmarks/idc_iteration.py --original clone \
        --out experiments/results/benchmarks/idc_iteration.json

About 5 minutes on 2 cores. Without --original only our side runs (no torch needed).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import iteration
import script

from jdd.methods import idc


def original(clone: Path, ipc: int) -> Callable[[], Any]:
    """A function that runs one update of the original."""
    from original_idc import OriginalIDC

    return OriginalIDC(clone, ipc=ipc).iteration


def benchmark(options: common.ComparisonOptions, command: str) -> None:
    """Times all rows. The cost of an update does not depend on how networks are trained in between."""
    rows = iteration.rows(
        options, lambda ipc, n: iteration.update(idc(ipc, data="cifar10"), n), original
    )
    common.report(rows, options, command)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, common.ComparisonOptions, benchmark))
