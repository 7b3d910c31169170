"""IDC's pixels, clamped to [0, 1] once for each network (as in its code) or after every update.

    python experiments/clamping.py

Distils `idc` on the digits with both, for several seeds, and trains evaluation networks on each set. For each way
of clamping: the accuracies, the share of stored pixels outside [0, 1] at the end, and the range of all pixels.
"once, clamped at the end" is the set of the first way, clamped after its last update.
Writes experiments/results/clamping/digits.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jdd
from jdd import data, evaluate, methods, nn, synthetic

OUT = Path(__file__).resolve().parent / "results" / "clamping" / "digits.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--networks", type=int, default=10, help="of the run")
    parser.add_argument("--updates", type=int, default=20, help="of each network")
    parser.add_argument("--width", type=int, default=32, help="of the networks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--eval-networks", type=int, default=5)
    parser.add_argument("--eval-epochs", type=int, default=300)
    options = parser.parse_args()
    for name in ("ipc", "networks", "updates", "width", "seeds", "eval_networks", "eval_epochs"):
        if getattr(options, name) < 1:
            flag = name.replace("_", "-")
            parser.error(f"--{flag} must be at least 1, got {getattr(options, name)}")
    report = measured(options)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return 0


def measured(options: Any) -> dict[str, Any]:
    """Accuracies and pixels of every way of clamping."""
    dataset = jdd.load_dataset("digits")
    train, test = dataset.tables()
    model = nn.convnet(dataset.num_classes, dataset.image_shape, width=options.width)
    recipe = dataclasses.replace(
        jdd.idc(options.ipc, data="digits"), networks=options.networks, updates=options.updates
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
        "command": f"python experiments/clamping.py --ipc {options.ipc} --networks {options.networks} "
        f"--updates {options.updates} --width {options.width} --seeds {options.seeds} "
        f"--seed {options.seed} --eval-networks {options.eval_networks} "
        f"--eval-epochs {options.eval_epochs}",
        "device": f"{jax.default_backend()}, jax {jax.__version__}",
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
    sys.exit(main())
