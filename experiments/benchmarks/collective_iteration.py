r"""An update with collective gradients (DCC) beside one with class-wise gradients (DC), at equal images.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, no augmentation; a fresh network each.

    python experiments/benchmarks/collective_iteration.py \
        --out experiments/results/benchmarks/collective_iteration.json

About 3 minutes on 2 cores.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import common
import script
from iteration import Iteration, update

from jdd.cli.options import option
from jdd.methods import dc, dcc


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.Options):
    """Options of the benchmark."""

    ipc: Annotated[tuple[int, ...], option("N", "Images per class.")] = (1, 10, 50)


def collective(ipc: int, num_classes: int) -> Iteration:
    """DCC's update after its warm-up."""
    return update(dcc(ipc, warm_up_networks=0), num_classes)


def rows(options: Options) -> Iterator[dict[str, Any]]:
    """The rows of the table."""
    for ipc in options.ipc:
        class_wise, joint = update(dc(ipc)), collective(ipc, 10)
        best = common.interleaved(options.rounds, dc=class_wise.run, dcc=joint.run)
        yield {
            "ipc": ipc,
            "dc_seconds": best["dc"],
            "dcc_seconds": best["dcc"],
            "ratio": best["dcc"] / best["dc"],
            "dc_temporaries_mb": class_wise.program.temporaries_mb,
            "dcc_temporaries_mb": joint.program.temporaries_mb,
            "dcc_temporaries_mb_20_classes": collective(ipc, 20).program.temporaries_mb,
            "dcc_compile_seconds": joint.program.compile_seconds,
        }


def benchmark(options: Options, command: str) -> None:
    """Times all rows."""
    common.report(rows(options), options, command)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
