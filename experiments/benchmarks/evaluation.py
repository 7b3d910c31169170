"""Evaluating a set with 5 networks, ours against the original's evaluation loop, as ratios in one run.

ConvNet-3, width 128, 32x32x3, DSA augmentation, the test set included. The number of epochs is the same on both
sides. The protocol trains 1001 epochs and the default here is shorter, so that the test set weighs more than it
should; with --test-images 256 the figure is that of training nearly alone, which the full protocol comes close to.

    python experiments/benchmarks/evaluation.py --original clone --out experiments/results/benchmarks/evaluation.json
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
from jdd.augment import dsa_augmentation
from jdd.cli.options import option
from jdd.data import Split, class_table
from jdd.evaluate import EvaluationProtocol, evaluate
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.ComparisonOptions):
    """Options of the benchmark."""

    ipc: Annotated[tuple[int, ...], option("N", "Images per class.")] = (1, 10)
    epochs: Annotated[int, option("E", "E + 1 epochs are trained.")] = 100
    networks: Annotated[int, option("N", "Networks that are trained.")] = 5
    test_images: Annotated[int, option("N", "Images of the test set.")] = 10_000
    rounds: Annotated[int, option("N", "Rounds; each alternative counts by its best.")] = 2


def rows(options: Options) -> Iterator[dict[str, Any]]:
    """The rows of the table."""
    at_least("--test-images", options.test_images, 10)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.test_images, *SHAPE), np.uint8)
    test = Split(images, np.arange(options.test_images, dtype=np.int32) % 10)
    table = class_table(test, 10, (0.5,) * 3, (0.25,) * 3)
    protocol = EvaluationProtocol("benchmark", options.epochs, dsa_augmentation())
    for ipc in options.ipc:
        images = jax.random.normal(jax.random.key(0), (10 * ipc, *SHAPE))
        labels = jnp.repeat(jnp.arange(10), ipc)

        def ours(images: jax.Array = images, labels: jax.Array = labels) -> np.ndarray:
            return evaluate(
                jax.random.key(1),
                nn.convnet(10, SHAPE),
                images,
                labels,
                table,
                protocol,
                num_networks=options.networks,
            ).accuracies

        def of_original(
            clone: Path, ipc: int = ipc, train: Any = (images, labels)
        ) -> Callable[[], Any]:
            return original(clone, ipc, options, train, test)

        ours()  # compiles
        yield {
            "ipc": ipc,
            "epochs": options.epochs + 1,
            "networks": options.networks,
            "test_images": options.test_images,
            **common.compare(options, ours, of_original),
        }


def original(
    clone: Path, ipc: int, options: Options, train: tuple[jax.Array, jax.Array], test: Split
) -> Callable[[], Any]:
    """The original's loop on the same data."""
    import torch  # pyright: ignore[reportMissingImports]
    from original import Original

    def tensor(images: Any) -> Any:
        return torch.from_numpy(np.array(images, np.float32).transpose(0, 3, 1, 2))

    runner = Original(clone, ipc=ipc)
    runner.args.epoch_eval_train = options.epochs
    tested = torch.utils.data.TensorDataset(
        tensor((test.images / 255 - 0.5) / 0.25), torch.from_numpy(test.labels)
    )
    loader = torch.utils.data.DataLoader(tested, batch_size=256)
    images, labels = tensor(train[0]), torch.from_numpy(np.array(train[1]))
    return lambda: runner.evaluate(images, labels, loader, options.networks)


def benchmark(options: Options, command: str) -> None:
    """Times all rows."""
    common.report(rows(options), options, command)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
