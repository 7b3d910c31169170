"""An epoch of one expert, ours against the original's training loop, as a ratio in one run.

ConvNet-3, width 128, 32x32x3, batch 256, DSA on every minibatch, no test. The loop of MTT's buffers is that of DSA's
code, whose clone is used here.

    python experiments/benchmarks/expert_epoch.py --original clone --out expert_epoch.json
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import script
from iteration import SHAPE

from jdd import nn
from jdd.cli.options import option
from jdd.data import Split, class_table
from jdd.experts import ExpertPlan, training
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.ComparisonOptions):
    """Options of the benchmark."""

    ipc: Annotated[tuple[int, ...], option("N", "Not used.")] = ()
    images: Annotated[int, option("N", "Of the training set.")] = 2560
    rounds: Annotated[int, option("N", "Rounds; each alternative counts by its best.")] = 3


def rows(options: Options) -> Iterator[dict[str, Any]]:
    """The row of the table."""
    n = at_least("--images", options.images, 256)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, *SHAPE), np.uint8)
    split = Split(images, np.arange(n, dtype=np.int32) % 10)
    table, plan = class_table(split, 10, (0.5,) * 3, (0.25,) * 3), ExpertPlan(1)
    programs = training.programs(plan, nn.convnet(10, SHAPE))
    keys = training.expert_key(plan, 0)[None]
    bounds = (0, 0, training.steps_per_epoch(plan, n))

    def ours() -> jax.Array:
        state = programs.begin(keys, jnp.float32(plan.sgd.learning_rate))
        state = programs.advance(keys, state, table, *(jnp.int32(i) for i in bounds))
        return programs.snapshots(state)

    ours()  # compiles
    yield {
        "images": n,
        **common.compare(options, ours, lambda clone: original(clone, split)),
    }


def original(clone: Path, split: Split) -> Callable[[], Any]:
    """The original's epoch on the same images, normalised before."""
    import torch  # pyright: ignore[reportMissingImports]
    from original import Original

    runner = Original(clone, ipc=1)
    floats = ((split.images / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2)
    images, labels = torch.from_numpy(floats.copy()), torch.from_numpy(split.labels)
    dataset = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=256, shuffle=True, num_workers=0)
    criterion = torch.nn.CrossEntropyLoss()

    def epoch() -> Any:
        network = runner.network()
        sgd = torch.optim.SGD(network.parameters(), lr=0.01)
        runner.utils.epoch("train", loader, network, sgd, criterion, runner.args, aug=True)

    return epoch


def benchmark(options: Options, command: str) -> None:
    """Times the row."""
    common.report(rows(options), options, command)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
