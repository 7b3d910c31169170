r"""The whole DSA iteration, ours against the original PyTorch functions, as ratios in one run.

ConvNet-3, width 128, 32x32x3, 10 classes, 256 real images per class, with augmentation; a fresh network each.

    git clone https://github.com/VICO-UoE/DatasetCondensation clone
    pip install -e ".[bench]"
    python experiments/benchmarks/dsa_iteration.py --original clone \
        --out experiments/results/benchmarks/dsa_iteration.json

About 10 minutes on 2 cores. Without --original only our side runs (no torch needed).
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import common
import iteration
import script

from jdd import nn
from jdd.cli.options import option
from jdd.methods import dsa

CONVOLUTIONS = {
    "lax": nn.lax_conv,
    "loop_safe": nn.loop_safe_conv,
    "winograd": nn.winograd_conv,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.ComparisonOptions):
    """Options of the benchmark. Each op of the augmentation is drawn at random: a few rounds see most."""

    over_classes: Annotated[
        int | Literal["map", "vmap"] | None, option("HOW", "map, vmap, or k at a time.", "map")
    ] = None
    conv: Annotated[
        Literal["lax", "loop_safe", "winograd"] | None,
        option("NAME", "lax, loop_safe or winograd.", "the platform's"),
    ] = None


def rows(options: Options) -> Iterator[dict[str, Any]]:
    """The rows of the table, each with the share of the matrix-product rate."""

    def ours(ipc: int, num_classes: int) -> iteration.Iteration:
        recipe = dataclasses.replace(dsa(ipc), over_classes=options.over_classes)
        conv = None if options.conv is None else CONVOLUTIONS[options.conv]
        return iteration.update(recipe, num_classes, conv=conv)

    for row in iteration.rows(options, ours, original):
        rate = gradient_gflop(2560) / row["seconds"]
        yield {**row, "share_of_matrix_product_rate": rate / row["matrix_product_gflops"]}


def original(clone: Path, ipc: int) -> Callable[[], Any]:
    """A function that runs one iteration of the original."""
    from original import Original

    runner = Original(clone, ipc=ipc)
    operands, seeds = runner.operands(learning_rate=0.1), itertools.count(0, 1000)
    return lambda: runner.iteration(*operands, seed=next(seeds))


def gradient_gflop(
    images: int, width: int = 128, channels: int = 3, side: int = 32, classes: int = 10
) -> float:
    """GFLOP of forward and backward pass of ConvNet-3 as direct convolutions, images without gradient."""
    multiplications = 2 * side**2 * 9 * channels * width
    for s in (side // 2, side // 4):
        multiplications += 3 * s**2 * 9 * width**2
    multiplications += 3 * (side // 8) ** 2 * width * classes
    return 2 * images * multiplications / 1e9


def benchmark(options: Options, command: str) -> None:
    """Times all rows."""
    common.report(rows(options), options, command)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
