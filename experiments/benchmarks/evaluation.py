"""Evaluating a set with 5 networks, ours against the original's evaluation loop, as ratios in one run.

ConvNet-3, width 128, 32x32x3, DSA augmentation, the test set included. The number of epochs is the same on both
sides. The protocol trains 1001 epochs and the default here is shorter, so that the test set weighs more than it
should; with --test-images 256 the figure is that of training nearly alone, which the full protocol comes close to.

    python experiments/benchmarks/evaluation.py --original clone --out experiments/results/benchmarks/evaluation.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import interleaved, peak_memory_mb, write

from jdd.data import Split, class_table
from jdd.evaluate import EvaluationProtocol, evaluate
from jdd.nn import convnet


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--original", help="clone of VICO-UoE/DatasetCondensation")
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--epochs", type=int, default=100, help="E; E + 1 epochs are trained")
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (options.test_images, 32, 32, 3), np.uint8)
    answers = np.arange(options.test_images, dtype=np.int32) % 10
    table = class_table(Split(raw, answers), 10, (0.5,) * 3, (0.25,) * 3)
    protocol = EvaluationProtocol(
        "benchmark", options.epochs, "color_crop_cutout_flip_scale_rotate"
    )
    model = convnet(10, (32, 32, 3))
    rows = []
    for ipc in options.ipc:
        images = jax.random.normal(jax.random.key(0), (10 * ipc, 32, 32, 3))
        labels = jnp.repeat(jnp.arange(10), ipc)

        def ours(images=images, labels=labels):
            key = jax.random.key(1)
            return evaluate(
                key, model, images, labels, table, protocol, num_networks=options.networks
            ).accuracies

        ours()  # compiles
        functions: dict[str, Callable[[], Any]] = {"ours": ours}
        if options.original:
            functions["original"] = original(options, images, labels, raw, answers, ipc)
        best = interleaved(options.rounds, **functions)
        row = {
            "ipc": ipc,
            "epochs": options.epochs + 1,
            "networks": options.networks,
            "test_images": options.test_images,
            "seconds": best["ours"],
            "original_seconds": best.get("original"),
            "ratio": best["original"] / best["ours"] if options.original else None,
        }
        rows.append(row)
        print(
            ", ".join(
                f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
            ),
            flush=True,
        )
    command = "python experiments/benchmarks/evaluation.py " + " ".join(sys.argv[1:])
    write(options.out, command, {"rows": rows, "peak_memory_mb": peak_memory_mb()})


def original(options, images, labels, raw, answers, ipc):
    """The original's loop on the same data."""
    import torch  # pyright: ignore[reportMissingImports]
    from original import Original

    runner = Original(options.original, ipc=ipc)
    runner.args.epoch_eval_train = options.epochs
    test = torch.from_numpy(((raw / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2))
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(test, torch.from_numpy(answers)), batch_size=256
    )
    train = (
        torch.from_numpy(np.array(images).transpose(0, 3, 1, 2)),
        torch.from_numpy(np.array(labels)),
    )
    return lambda: runner.evaluate(*train, loader, options.networks)


if __name__ == "__main__":
    main()
