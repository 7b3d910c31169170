"""Cells of the papers' main tables: the paper's loops unless a budget is given, official evaluation.

Published (mean +- std over 5 sets x 20 networks; we condense one set, so our std is over 20 networks of one set):

    Fashion-MNIST IPC 1 / 10    DC 70.5 +- 0.6 / 82.3 +- 0.4, DSA 70.6 +- 0.6 / 84.6 +- 0.3
                                CAFE 77.1 +- 0.9 / 83.0 +- 0.4, CAFE+DSA 73.7 +- 0.7 / 83.0 +- 0.3 (from memory)
    CIFAR-10 IPC 1 / 10 / 50    DC 28.3 / 44.9 / 53.9, DSA 28.8 / 52.1 / 60.6, DM 26.0 / 48.9 / 63.0,
                                CAFE 30.3 / 46.3 / 55.5, CAFE+DSA 31.6 / 50.9 / 62.3

    python experiments/main_table.py fashion_mnist dsa 1 --data-dir FOLDER

DSA at IPC 1 in full takes about an hour on 2 cores (AMD EPYC, AVX-512). A run can be stopped (Ctrl-C, or
--stop-after MINUTES) and is continued by the same command, bit for bit. It is in runs/CELL; its small files go to
experiments/results/main_table/CELL, also those of a run that was stopped (without result.json then). --networks
takes a smaller budget, which the name of the cell states. cafe with --strategy is CAFE+DSA. The code of DCC also
flips digits, and it and CAFE's normalise CIFAR-100 by CIFAR-10's statistics: see --strategy and cifar100-dcc.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import cells
from tyro.conf import Positional, arg

from jdd.baselines import from_herding, from_k_centre
from jdd.cli.options import option
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.methods import PRESETS, Recipe
from jdd.synthetic import from_noise, from_real
from jdd.validation import one_of

Data = Literal[
    "digits",
    "mnist",
    "fashion_mnist",
    "svhn",
    "cifar10",
    "cifar100",
    "cifar100-dcc",
    "tiny_imagenet",
]
INITIAL = {
    "real": from_real,
    "noise": from_noise,
    "herding": from_herding,
    "k-centre": from_k_centre,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.TableOptions):
    """Options of a cell."""

    data: Annotated[Positional[Data], arg(help="Data set; digits to try the script.")]
    method: Annotated[Positional[str], arg(metavar="METHOD", help=f"One of {', '.join(PRESETS)}.")]
    ipc: Annotated[Positional[int], arg(metavar="IPC", help="Images per class.")]
    networks: Annotated[int | None, option("K", "Fresh random networks.", "the paper's")] = None
    strategy: Annotated[
        str | None, option("OPS", "Of the augmentation.", "the method's for the data")
    ] = None
    init: Annotated[
        Literal["real", "noise", "herding", "k-centre"] | None,
        option("NAME", "First images: real, noise, herding or k-centre.", "the method's"),
    ] = None
    rule: Annotated[
        Literal["corrected", "original"] | None,
        option("NAME", "Of the queries of cafe: corrected or original.", "corrected"),
    ] = None
    no_random: Annotated[bool, arg(help="Train no networks on random real images.")] = False


def recipe(options: Options) -> Recipe:
    """The recipe of a cell.

    Raises:
      ValueError: for an unknown method, or an option that the method does not have.
    """
    preset = PRESETS[one_of("method", options.method, PRESETS)].recipe
    accepted = inspect.signature(preset).parameters
    arguments: dict[str, Any] = {"strategy": options.strategy, "rule": options.rule}
    for name, value in arguments.items():
        if value is not None and name not in accepted:
            raise ValueError(f"{options.method} has no --{name}, got {value}")
    if "networks" in accepted:  # the warm-up of DCC depends on it
        arguments["networks"] = options.networks
    arguments = {name: value for name, value in arguments.items() if value is not None}
    changes: dict[str, Any] = {}
    if options.networks is not None:
        changes["networks"] = options.networks
    if options.init is not None:
        changes["initial"] = INITIAL[options.init]()
    return dataclasses.replace(preset(options.ipc, data=options.data, **arguments), **changes)


def name(options: Options) -> str:
    """The name of a cell: data, method, changes, IPC, budget and seed."""
    changes = [word for word in (options.strategy, options.init, options.rule) if word]
    budget = [] if options.networks is None else [f"networks{options.networks}"]
    words = [options.data, options.method, *changes, f"ipc{options.ipc}", *budget]
    return "-".join([*words, f"seed{options.seed}"])


def table(options: Options) -> Iterator[cells.Cell]:
    """The cell that the options describe."""
    plan = EvaluationPlan(options.eval_networks, random=not options.no_random)
    configuration = Configuration(
        recipe(options), DataChoice(options.data), evaluation=plan, seed=options.seed
    )
    yield cells.Distilled(name(options), configuration)


if __name__ == "__main__":
    sys.exit(cells.main(__file__, __doc__, Options, table))
