"""CAFE's parts on one data set: each layer alone, without discrimination, with fixed loops.

    python experiments/cafe_ablation.py fashion_mnist --networks 20 --data-dir FOLDER

    full             layers and discrimination, with query-driven training of the networks
    layer1 .. layer3 only that block's output is aligned (the others' weights are 0)
    layer4           only the pooled output of the last block, which is also the embedding: aligned twice, as in full
    alignment        all layers, no discrimination
    discrimination   no layers
    fixed            the full objective under fixed loops: as many updates of each network, and epochs between them, as
                     full had on average (so full has to be finished first)

Discrimination stays on where a layer is alone. A layer that is alone has weight 1. --networks is the budget of all
(the paper: 2000), --query images of each class answer a query (the paper: 128; queries are most of a run's time).
Runs are in runs/ and are continued by the same command; their small files go to experiments/results/cafe_ablation/.
ConvNet-3; evaluation by CAFE's protocol.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import cells
from tyro.conf import Positional, arg

from jdd.cli.options import option
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.methods import Recipe, cafe, cafe_fixed, on_synthetic


def only(layer: int) -> dict[str, Any]:
    """The arguments that align one of four layers; the last is aligned twice, as in the full method."""
    weights = tuple(float(i == layer) for i in (1, 2, 3, 4))
    return {"layer_weights": (*weights, weights[-1])}


Variant = Literal[
    "full", "layer1", "layer2", "layer3", "layer4", "alignment", "discrimination", "fixed"
]
ARGUMENTS: dict[Variant, dict[str, Any]] = {
    "full": {},
    "layer1": only(1),
    "layer2": only(2),
    "layer3": only(3),
    "layer4": only(4),
    "alignment": {"discrimination": 0.0},
    "discrimination": {"layer_weights": (0.0,) * 5},
    "fixed": {},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.TableOptions):
    """Options of the ablation."""

    data: Annotated[Positional[str], arg(metavar="DATA", help="Data set.")]
    ipc: Annotated[int, option("N", "Images per class.")] = 1
    variants: Annotated[tuple[Variant, ...], arg(help="Columns of the table.")] = tuple(ARGUMENTS)
    networks: Annotated[int, option("K", "Fresh random networks of each run.")] = 2000
    query: Annotated[int, option("N", "Real images per class in a query.")] = 128


def table(options: Options) -> Iterator[cells.Cell]:
    """A cell for each variant; the last takes its loops from the result of the first."""
    plan = EvaluationPlan(options.eval_networks, random=False)
    for variant in options.variants:
        made = recipe(options, variant)
        configuration = Configuration(
            made, DataChoice(options.data), evaluation=plan, seed=options.seed
        )
        yield cells.Distilled(name(options, variant), configuration)


def name(options: Options, variant: Variant) -> str:
    """The name of a variant's cell."""
    budget = f"ipc{options.ipc}-networks{options.networks}-query{options.query}"
    return f"{options.data}-{variant}-{budget}-seed{options.seed}"


def recipe(options: Options, variant: Variant) -> Recipe:
    """The recipe of a variant."""
    if variant == "fixed":
        results = options.results / Path(__file__).stem
        return same_loops(options, results / name(options, "full") / "result.json")
    made = cafe(options.ipc, data=options.data, query=options.query, **ARGUMENTS[variant])
    return dataclasses.replace(made, networks=options.networks)


def same_loops(options: Options, full: Path) -> Recipe:
    """Fixed loops that are as long as those of the full method were on average.

    Raises:
      ValueError: if the full method is not finished.
    """
    if not full.is_file():
        raise ValueError("variant fixed takes its loops from full: run that first")
    schedule = json.loads(full.read_text(encoding="utf-8"))["schedule"]
    updates = max(2, round(schedule["updates_mean"]))
    epochs = round(schedule["epochs_mean"] / (schedule["updates_mean"] - 1))
    return dataclasses.replace(
        cafe_fixed(options.ipc, data=options.data),
        networks=options.networks,
        updates=updates,
        motion=on_synthetic(epochs),
    )


if __name__ == "__main__":
    sys.exit(cells.main(__file__, __doc__, Options, table))
