"""Look-alike classes: random, herding, DC, DSA, DCC and DSAC at IPC 1 and 10.

DCC's claim: matching class by class encodes what all classes share, which hurts where classes differ in
details; collective gradients keep the differences. The paper's six groups of downsampled ImageNet
(imagenet32-automobile, -truck, -lizard, -fish, -terrier, -insect) need that set; Fashion-MNIST's tops and CIFAR-10's
animals do not:

    python experiments/fine_grained.py fashion_mnist_tops --ipc 1 --networks 100 --data-dir FOLDER
    python experiments/fine_grained.py cifar10_animals --ipc 1 10 --methods dcc dsac --data-dir FOLDER

Each set is evaluated by its own protocol: those of `dsa` and `dsac` with augmentation, those of `dc` and `dcc`
without, and real images by both. All methods start at real images and have DCC's loops (10 updates of 5 epochs at
IPC 1), as in DCC's code: its DC is not the DC paper's. --networks K is the budget (the paper: 1000). Runs are in runs/
and are continued by the same command; their small files go to experiments/results/fine_grained/.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from typing import Annotated, Literal

import cells
from real_images import RealImages, Row
from tyro.conf import Positional, arg

from jdd.baselines import from_herding
from jdd.cli.options import option
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.evaluate import PROTOCOLS
from jdd.methods import Recipe, dc, dcc, dsa, dsac, on_synthetic
from jdd.methods.presets.constants import dcc_loops
from jdd.synthetic import from_real
from jdd.validation import one_of

GROUPS: dict[str, DataChoice] = {
    "digits_curved": DataChoice("digits", ("3", "5", "8")),  # to try the script
    "fashion_mnist_tops": DataChoice(
        "fashion_mnist", ("T-shirt/top", "Pullover", "Coat", "Shirt", "Dress")
    ),
    "cifar10_animals": DataChoice("cifar10", ("bird", "cat", "deer", "dog", "frog", "horse")),
    **{
        f"imagenet32-{group}": DataChoice(f"imagenet32-{group}")
        for group in ("automobile", "truck", "lizard", "fish", "terrier", "insect")
    },
}
Name = Literal["random", "herding", "dc", "dsa", "dcc", "dsac"]
ROWS: tuple[Name, ...] = ("random", "herding", "dc", "dsa", "dcc", "dsac")
PROTOCOLS_OF_REAL_IMAGES = ("dc", "dsa")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.TableOptions):
    """Options of the table."""

    group: Annotated[Positional[str], arg(metavar="GROUP", help=f"One of {', '.join(GROUPS)}.")]
    ipc: Annotated[tuple[int, ...], arg(metavar="N", help="Images per class.")] = (1, 10)
    methods: Annotated[tuple[Name, ...], arg(help="Rows of the table.")] = ROWS
    networks: Annotated[int, option("K", "Fresh random networks of the methods.")] = 1000
    coreset_epochs: Annotated[int, option("EPOCHS", "Of the network that chooses by herding.")] = 15


def table(options: Options) -> Iterator[cells.Cell]:
    """The cells, by IPC and row."""
    one_of("group", options.group, GROUPS)
    for ipc in options.ipc:
        for row in options.methods:
            if row in ("random", "herding"):
                yield from coresets(options, row, ipc)
            else:
                yield distilled(options, row, ipc)


def coresets(options: Options, row: Name, ipc: int) -> Iterator[cells.Cell]:
    """Real images under both protocols."""
    images = Row(networks=options.eval_networks)
    if row == "herding":
        herding = from_herding(options.coreset_epochs)
        images = images._replace(images="real images by herding", initial=herding)
    for protocol in PROTOCOLS_OF_REAL_IMAGES:
        name = f"{options.group}-{row}-{protocol}-ipc{ipc}-seed{options.seed}"
        data = GROUPS[options.group]
        yield RealImages(name, data, ipc, PROTOCOLS[protocol], (images,), seed=options.seed)


def distilled(options: Options, row: Name, ipc: int) -> cells.Cell:
    """A method at the budget."""
    name = f"{options.group}-{row}-ipc{ipc}-networks{options.networks}-seed{options.seed}"
    data = GROUPS[options.group]
    plan = EvaluationPlan(options.eval_networks, random=False)
    made = recipe(row, ipc, data.name, options.networks)
    return cells.Distilled(name, Configuration(made, data, evaluation=plan, seed=options.seed))


def recipe(row: Name, ipc: int, data: str, networks: int) -> Recipe:
    """A method that starts at real images and has DCC's loops."""
    if row in ("dcc", "dsac"):
        preset = {"dcc": dcc, "dsac": dsac}[row]
        return preset(ipc, data=data, networks=networks)
    loops = dcc_loops(ipc)
    return dataclasses.replace(
        {"dc": dc, "dsa": dsa}[row](ipc, data=data),
        initial=from_real(),
        networks=networks,
        updates=loops.updates,
        motion=on_synthetic(loops.epochs),
    )


if __name__ == "__main__":
    sys.exit(cells.main(__file__, __doc__, Options, table))
