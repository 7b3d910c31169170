r"""An update with collective gradients (DCC) beside one with class-wise gradients (DC), at equal images.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, no augmentation; a fresh network each.

    python experiments/benchmarks/collective_iteration.py \
        --out experiments/results/benchmarks/collective_iteration.json

About 3 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import sys

from common import interleaved, machine, write
from iteration import SHAPE, Iteration, compiled

from jdd import nn
from jdd.methods import Loops, WarmUp, dc, dcc


def collective(ipc: int, num_classes: int) -> Iteration:
    """DCC's update after its warm-up."""
    loops, model = Loops(1000, 1, 0), nn.convnet(num_classes, SHAPE)
    return compiled(dcc(model, ipc, loops=loops, warm_up=WarmUp(0, 0)), num_classes)


def class_wise(ipc: int, num_classes: int) -> Iteration:
    """DC's update."""
    model = nn.convnet(num_classes, SHAPE)
    return compiled(dc(model, ipc, loops=Loops(1000, 1, 0)), num_classes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out")
    options = parser.parse_args()
    rows = []
    for ipc in options.ipc:
        dc_update, dcc_update = class_wise(ipc, 10), collective(ipc, 10)
        more_classes = collective(ipc, 20).temporaries_mb
        best = interleaved(options.rounds, dc=dc_update.run, dcc=dcc_update.run)
        row = {
            "ipc": ipc,
            "dc_seconds": best["dc"],
            "dcc_seconds": best["dcc"],
            "ratio": best["dcc"] / best["dc"],
            "dc_temporaries_mb": dc_update.temporaries_mb,
            "dcc_temporaries_mb": dcc_update.temporaries_mb,
            "dcc_temporaries_mb_20_classes": more_classes,
            "dcc_compile_seconds": dcc_update.compile_seconds,
        }
        rows.append(row)
        print(
            f"IPC {ipc:2d}: DC {best['dc']:.2f} s, DCC {best['dcc']:.2f} s, ratio {row['ratio']:.2f}; temporaries "
            f"{dcc_update.temporaries_mb:.0f} MB with 10 classes, {more_classes:.0f} with 20 "
            f"(DC {dc_update.temporaries_mb:.0f})",
            flush=True,
        )
    print(machine())
    command = "python experiments/benchmarks/collective_iteration.py " + " ".join(sys.argv[1:])
    write(options.out, command, {"rows": rows})


if __name__ == "__main__":
    main()
