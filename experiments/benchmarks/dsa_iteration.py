r"""The whole DSA iteration, ours against the original PyTorch functions, as ratios in one run.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, with augmentation; a fresh network each.

    git clone https://github.com/VICO-UoE/DatasetCondensation clone
    pip install -e ".[bench]"
    python experiments/benchmarks/dsa_iteration.py --original clone \
        --out experiments/results/benchmarks/dsa_iteration.json

About 10 minutes on 2 cores. Without --original only our side runs (no torch needed).
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from common import gradient_gflop, interleaved, machine, matrix_product, peak_memory_mb, write
from iteration import SHAPE, Iteration, compiled

from jdd import nn
from jdd.methods import Loops, dsa

CONVOLUTIONS = {
    "lax": nn.lax_conv,
    "loop_safe": nn.loop_safe_conv,
    "winograd": nn.winograd_conv,
}


def over(word: str) -> str | int:
    """A strategy over classes from the command line."""
    return int(word) if word.isdigit() else word


def ours(ipc: int, num_classes: int, options: argparse.Namespace) -> Iteration:
    """Our update. One per network: the matching iteration alone, at every IPC, on both sides."""
    model = nn.convnet(num_classes, SHAPE, conv=CONVOLUTIONS.get(options.conv))
    loops = Loops(1000, 1, 0)
    return compiled(dsa(model, ipc, loops=loops, over_classes=options.over_classes), num_classes)


def original(clone: str, ipc: int, num_classes: int) -> Any:
    """A function that runs one iteration of the original."""
    import torch  # pyright: ignore[reportMissingImports]
    from original import Original

    runner = Original(clone, ipc=ipc, num_classes=num_classes)
    real = [torch.randn(300, 3, 32, 32) for _ in range(num_classes)]
    synthetic = torch.randn(num_classes * ipc, 3, 32, 32, requires_grad=True)
    optimizer = torch.optim.SGD([synthetic], lr=0.1, momentum=0.5)
    seeds = iter(range(10**6))
    return lambda: runner.iteration(real, synthetic, optimizer, seed=1000 * next(seeds))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--original", help="clone of VICO-UoE/DatasetCondensation")
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument(
        "--rounds", type=int, default=4, help="each op of the augmentation is drawn at random"
    )
    parser.add_argument("--over-classes", type=over, help="map, vmap or k at a time")
    parser.add_argument("--conv", choices=CONVOLUTIONS, help="default: the platform's")
    parser.add_argument("--out")
    options = parser.parse_args()
    product, product_gflop = matrix_product()
    rows = []
    for ipc in options.ipc:
        iterate, temporaries, compile_seconds = ours(ipc, 10, options)
        more_classes = ours(ipc, 20, options).temporaries_mb
        functions = {"ours": iterate, "product": product}
        if options.original:
            functions["original"] = original(options.original, ipc, 10)
        best = interleaved(options.rounds, **functions)
        rate = product_gflop / best["product"]
        row = {
            "ipc": ipc,
            "seconds": best["ours"],
            "original_seconds": best.get("original"),
            "ratio": best["original"] / best["ours"] if options.original else None,
            "matrix_product_gflops": rate,
            "share_of_matrix_product_rate": gradient_gflop(2560) / best["ours"] / rate,
            "temporaries_mb": temporaries,
            "temporaries_mb_20_classes": more_classes,
            "compile_seconds": compile_seconds,
        }
        rows.append(row)
        print(
            f"IPC {ipc:2d}: ours {row['seconds']:.2f} s"
            + (
                f", original {best['original']:.2f} s, ratio {row['ratio']:.2f}"
                if options.original
                else ""
            )
            + f"; real gradients at {100 * row['share_of_matrix_product_rate']:.0f}% of the matrix-product rate "
            f"({rate:.0f} GFLOP/s); temporaries {temporaries:.0f} MB with 10 classes, {more_classes:.0f} with 20; "
            f"compiled in {compile_seconds:.0f} s",
            flush=True,
        )
    print(f"peak resident memory of this process {peak_memory_mb():.0f} MB; {machine()}")
    command = "python experiments/benchmarks/dsa_iteration.py " + " ".join(sys.argv[1:])
    write(options.out, command, {"rows": rows, "peak_memory_mb": peak_memory_mb()})


if __name__ == "__main__":
    main()
