"""CAFE's parts on one data set: each layer alone, without discrimination, with fixed loops.

    python experiments/cafe_ablation.py fashion_mnist --networks 20 --data-dir FOLDER

    full             layers and discrimination under the query-driven schedule
    layer1 .. layer3 only that block's output is aligned (the others' weights are 0)
    layer4           only the pooled output of the last block, which is also the embedding: aligned twice, as in full
    alignment        all layers, no discrimination
    discrimination   no layers
    fixed            the full objective under fixed loops: as many updates of each network, and epochs between them, as
                     full had on average (so full has to be there first)

Discrimination stays on where a layer is alone. A layer that is alone has weight 1. --networks is the budget of all
(the paper: 2000), --query images of each class answer a query (the paper: 128; queries are most of a run's time).
Runs lie in runs/, are resumed by the same command, and what is kept goes to experiments/results/cafe_ablation/.
ConvNet-3; evaluation by CAFE's protocol.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cells import RESULTS, run_cell


def _alone(layer: int) -> tuple[str, ...]:
    """Options that align one of the four layers; the last is aligned twice, as in the full method."""
    weights = [float(i + 1 == layer) for i in range(4)]
    return ("--layer-weights", *map(str, (*weights, weights[-1])))


VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "full": ("cafe", ()),
    **{f"layer{layer}": ("cafe", _alone(layer)) for layer in (1, 2, 3, 4)},
    "alignment": ("cafe", ("--discrimination", "0")),
    "discrimination": ("cafe", ("--layer-weights", "0", "0", "0", "0", "0")),
    "fixed": ("cafe-fixed", ()),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--networks", type=int, default=2000, help="the budget of each")
    parser.add_argument("--query", type=int, default=128, help="images per class")
    parser.add_argument("--eval-networks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()
    for variant in options.variants:
        kept = RESULTS / "cafe_ablation" / cell(options, variant)
        if (kept / "result.json").exists():
            print(f"{kept.name} is there already: skipped (whatever its --eval-networks)")
            continue
        method, more = VARIANTS[variant]
        words = ["distill", method, "--data", options.data, "--data-dir", options.data_dir]
        words += ["--ipc", str(options.ipc), "--seed", str(options.seed), "--eval-every", "0"]
        words += ["--networks", str(options.networks), *more, "--random", "no"]
        words += ["--eval-networks", str(options.eval_networks)]
        if method == "cafe":
            words += ["--query", str(options.query)]
        else:
            full = RESULTS / "cafe_ablation" / cell(options, "full") / "result.json"
            if not full.exists():
                parser.error("fixed takes its loops from full: run that first")
            words += same_loops(json.loads(full.read_text())["schedule"])
        if code := run_cell(words, options.runs / cell(options, variant), kept):
            return code
    return 0


def cell(options: argparse.Namespace, variant: str) -> str:
    """What the files of a variant are called."""
    name = f"{options.data}-{variant}-ipc{options.ipc}-networks{options.networks}"
    return f"{name}-query{options.query}-seed{options.seed}"


def same_loops(schedule: dict[str, float]) -> list[str]:
    """Fixed loops as long as those of a schedule were on average."""
    updates = max(2, round(schedule["updates_mean"]))
    epochs = round(schedule["epochs_mean"] / (schedule["updates_mean"] - 1))
    return ["--updates", str(updates), "--net-epochs", str(epochs)]


if __name__ == "__main__":
    sys.exit(main())
