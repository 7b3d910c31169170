r"""One image update of CAFE, ours against the original PyTorch functions, as ratios in one run.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, without augmentation; a fresh network each.

    git clone https://github.com/kaiwang960112/CAFE clone
    pip install -e ".[bench]"
    python experiments/benchmarks/feature_iteration.py --original clone \
        --out experiments/results/benchmarks/feature_iteration.json

About 3 minutes on 2 cores. Without --original only our side runs (no torch needed).
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from common import interleaved, machine, peak_memory_mb, write
from iteration import SHAPE, Iteration, compiled

from jdd import nn
from jdd.methods import Loops, cafe_fixed


def ours(ipc: int, num_classes: int) -> Iteration:
    """Our update. One per network: what one costs does not depend on the schedule."""
    model = nn.convnet(num_classes, SHAPE)
    return compiled(cafe_fixed(model, ipc, loops=Loops(1000, 1, 0)), num_classes)


def original(clone: str, ipc: int, num_classes: int) -> Any:
    """A function that runs one iteration of the original."""
    import torch  # pyright: ignore[reportMissingImports]
    from original import Original

    runner = Original(clone, ipc=ipc, num_classes=num_classes)
    real = [torch.randn(300, 3, 32, 32) for _ in range(num_classes)]
    synthetic = torch.randn(num_classes * ipc, 3, 32, 32, requires_grad=True)
    optimizer = torch.optim.SGD([synthetic], lr=0.1, momentum=0.5)
    return lambda: runner.feature_iteration(real, synthetic, optimizer)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--original", help="clone of kaiwang960112/CAFE")
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out")
    options = parser.parse_args()
    rows = []
    for ipc in options.ipc:
        update = ours(ipc, 10)
        more_classes = ours(ipc, 20).temporaries_mb
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
        theirs = f", original {best['original']:.2f} s, ratio {row['ratio']:.2f}"
        print(
            f"IPC {ipc:2d}: ours {best['ours']:.2f} s{theirs if options.original else ''}; temporaries "
            f"{update.temporaries_mb:.0f} MB with 10 classes, {more_classes:.0f} with 20; "
            f"compiled in {update.compile_seconds:.0f} s",
            flush=True,
        )
    print(f"peak resident memory of this process {peak_memory_mb():.0f} MB; {machine()}")
    command = "python experiments/benchmarks/feature_iteration.py " + " ".join(sys.argv[1:])
    write(options.out, command, {"rows": rows, "peak_memory_mb": peak_memory_mb()})


if __name__ == "__main__":
    main()
