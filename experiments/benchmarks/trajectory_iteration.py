r"""Time and memory of a gradient through a student: the strategies side by side, taking turns.

ConvNet-3, width 128, 32x32x3, 10 classes, all images in each step, no augmentation.

    python experiments/benchmarks/trajectory_iteration.py \
        --out experiments/results/benchmarks/trajectory_iteration.json

About 20 minutes on 2 cores. A strategy that would need more memory than --most-mb is compiled and not run.
"scan" is `remat` without micro-batches.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import common
import jax
import jax.numpy as jnp
import script

from jdd import nn
from jdd.cli.options import option
from jdd.matching import (
    Context,
    Pair,
    Segment,
    SyntheticSet,
    Unrolling,
    chain,
    direct,
    frozen,
    remat,
    trajectory_distance,
    unroll,
    value_of,
)

CLASSES, SHAPE = 10, (32, 32, 3)
STRATEGIES: dict[str, Unrolling] = {
    "direct": direct(),
    "scan": remat(1_000_000),
    "remat": remat(),
    "frozen": frozen(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.Options):
    """Options of the benchmark."""

    ipc: Annotated[tuple[int, ...], option("N", "Images per class.")] = (1, 10)
    steps: Annotated[tuple[int, ...], option("N", "Steps of the student.")] = (10, 30)
    width: Annotated[int, option("CHANNELS", "Of the network.")] = 128
    strategies: Annotated[tuple[str, ...], option("NAME", "direct, scan, remat, frozen.")] = (
        *STRATEGIES,
    )
    most_steps: Annotated[
        int, option("N", "Steps that `direct` is compiled for: more take minutes.")
    ] = 10
    most_mb: Annotated[float, option("MB", "Temporaries above which nothing is run.")] = 4000.0


def program(strategy: Unrolling, ipc: int, steps: int, width: int) -> Any:
    """The compiled gradient of images and step size, with its operands."""
    model = nn.convnet(CLASSES, SHAPE, width=width)
    start, target = (model.init(jax.random.key(i))["params"] for i in range(2))
    function, _ = model.network({"params": start})
    objective = chain(unroll(steps, gradient=strategy), trajectory_distance())
    labels = jnp.tile(jnp.arange(CLASSES)[:, None], (1, ipc))

    def loss(images: jax.Array, step_size: jax.Array, segment: Segment) -> jax.Array:
        pair = Pair(SyntheticSet(images, labels, step_size), segment)
        return value_of(objective, pair, Context(function, segment.start, jax.random.key(2)))

    images = jax.random.normal(jax.random.key(3), (CLASSES, ipc, 1, *SHAPE))
    operands = (images, jnp.float32(0.01), Segment(start, target))
    lowered = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*operands)
    return common.compiled(lowered), operands


def rows(options: Options) -> Iterator[dict[str, Any]]:
    """One row for each number of images and steps."""
    for ipc in options.ipc:
        for steps in options.steps:
            made = {
                name: program(STRATEGIES[name], ipc, steps, options.width)
                for name in options.strategies
                if name != "direct" or steps <= options.most_steps
            }
            functions = {
                name: lambda call=each.call, operands=operands: call(*operands)
                for name, (each, operands) in made.items()
                if not each.temporaries_mb > options.most_mb
            }
            best = common.interleaved(options.rounds, **functions)
            yield {
                "images": CLASSES * ipc,
                "steps": steps,
                **{f"{name}_seconds": seconds for name, seconds in best.items()},
                **{f"{name}_temporaries_mb": made[name][0].temporaries_mb for name in made},
                **{f"{name}_compile_seconds": made[name][0].compile_seconds for name in made},
            }


def benchmark(options: Options, command: str) -> None:
    """Times all rows."""
    common.report(rows(options), options, command)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
