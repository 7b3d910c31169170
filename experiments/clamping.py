"""IDC's pixels, clamped to [0, 1] once for each network (as in its code) or after every update.

    python experiments/clamping.py

Distils `idc` on the digits (or --data) with both, for several seeds, and trains evaluation networks on each set. For
each way of clamping: the accuracies, the share of stored pixels outside [0, 1] at the end, and the range of all pixels.
"once, clamped at the end" is the set of the first way, clamped after its last update.
Writes experiments/results/clamping/DATA.json.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Annotated, Any

import cells
import jax
import numpy as np
from benchmarks import script

import jdd
from jdd import data, evaluate, methods, nn, synthetic
from jdd.cli.options import option
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.Options):
    """Options of the experiment."""

    data: Annotated[str, option("NAME", "Data set.")] = "digits"
    seed: Annotated[int, option("INT", "The first one.")] = 0
    seeds: Annotated[int, option("N", "Runs, each with a seed of its own.")] = 3
    ipc: Annotated[int, option("N", "Images per class.")] = 1
    networks: Annotated[int, option("K", "Fresh random networks of a run.")] = 10
    updates: Annotated[int, option("T", "Updates on each network.")] = 20
    width: Annotated[int, option("CHANNELS", "Of the ConvNet.")] = 32
    eval_networks: Annotated[int, option("N", "Networks that a set is tested on.")] = 5
    eval_epochs: Annotated[int, option("EPOCHS", "Of an evaluation network.")] = 300


def experiment(options: Options, command: str) -> None:
    """Writes the accuracies and the pixels of every way of clamping."""
    began = time.perf_counter()
    for name in ("seeds", "ipc", "networks", "updates", "width", "eval_networks", "eval_epochs"):
        at_least(f"--{name.replace('_', '-')}", getattr(options, name), 1)
    content = measured(options)
    print(json.dumps(content, indent=1))
    file = options.results / "clamping" / f"{options.data}.json"
    script.write_json(file, content, command, began)


def measured(options: Options) -> dict[str, Any]:
    """Accuracies and pixels of every way of clamping."""
    dataset = jdd.load_dataset(options.data, data_dir=options.data_dir)
    train, test = dataset.tables()
    model = nn.convnet(dataset.num_classes, dataset.image_shape, width=options.width)
    recipe = dataclasses.replace(
        jdd.idc(options.ipc, data=options.data), networks=options.networks, updates=options.updates
    )
    protocol = recipe.protocol.with_epochs(options.eval_epochs)

    def accuracies(method: methods.Method, state: methods.State, seed: int) -> list[float]:
        batch = synthetic.flat(method.decode(state))
        result = evaluate.evaluate(
            jax.random.key(1000 + seed),
            model,
            batch.images,
            batch.labels,
            test,
            protocol,
            num_networks=options.eval_networks,
            checkpoints=1,
        )
        return result.accuracies.tolist()

    ways: dict[str, dict[str, list[Any]]] = {}
    for name, projected in (("once for each network", "network"), ("every update", "update")):
        learned = dataclasses.replace(recipe.synthetic, projected=projected)
        method = methods.build(dataclasses.replace(recipe, synthetic=learned), model)
        run = methods.advance(method, recipe.total_steps)
        for seed in range(options.seed, options.seed + options.seeds):
            state = method.init(jax.random.key(seed), data.Data(train))
            state, _ = run(state, data.Data(train), recipe.total_steps)
            way = ways.setdefault(name, {"accuracies": [], "outside": [], "pixels": []})
            pixels = np.asarray(state.synthetic["images"])
            way["accuracies"] += accuracies(method, state, seed)
            way["outside"].append(float(np.mean((pixels < 0) | (pixels > 1))))
            way["pixels"].append([float(pixels.min()), float(pixels.max())])
            if projected == "network":
                assert learned.project is not None
                state = dataclasses.replace(state, synthetic=learned.project(state.synthetic))
                clamped = ways.setdefault("once, clamped at the end", {"accuracies": []})
                clamped["accuracies"] += accuracies(method, state, seed)
    return {
        "optimizer": str(recipe.optimizer),
        "protocol": protocol.describe(),
        "clamped": {
            name: {
                "mean": round(float(np.mean(way["accuracies"])), 4),
                "std": round(float(np.std(way["accuracies"])), 4),
                **way,
            }
            for name, way in ways.items()
        },
    }


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, experiment))
