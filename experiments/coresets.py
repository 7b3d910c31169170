"""Herding and k-centre beside random real images, under DC's evaluation protocol (ConvNet-3).

The coreset columns of the DC paper at 1 / 10 images per class, from memory: MNIST random 64.9 / 95.1, herding
89.2 / 93.7, k-centre 89.3 / 84.4; Fashion-MNIST random 51.4 / 73.8, herding 67.0 / 71.1, k-centre 66.9 / 54.7. The
paper chooses by the features of "models trained on the whole dataset"; how long they were trained is not known, here 15
epochs. Features are taken as they are (iCaRL would bring them to length 1). MNIST is evaluated with DC's augmentation
and 1001 epochs, Fashion-MNIST without and 301, as DC's code does.

    python experiments/coresets.py --data-dir FOLDER              # with mnist/ and fashion_mnist/ in it

One network per set and data set chooses for all cells; every network that is tested on random images has a subset of
its own. On 2 cores (AMD EPYC, AVX-512) an epoch of the network that chooses takes a minute, an MNIST cell at IPC 10
ten minutes for three networks.
Writes experiments/results/coresets/*.json; a cell that is there is not run again.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import cells
import jax
from real_images import RealImages, Row, loaded
from tyro.conf import arg

from jdd import evaluate, nn
from jdd.baselines import CORESET_EPOCHS, SELECTIONS, select_images, train_on_all
from jdd.cli.options import option
from jdd.configuration import DataChoice
from jdd.data import ClassTable
from jdd.nn.model import Variables
from jdd.synthetic import Initial
from jdd.validation import at_least, one_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.TableOptions):
    """Options of the table."""

    data: Annotated[tuple[str, ...], arg(metavar="NAME", help="Data sets.")] = (
        *("mnist", "fashion_mnist"),
    )
    ipc: Annotated[tuple[int, ...], arg(metavar="N", help="Images per class.")] = (1, 10)
    sets: Annotated[int, option("N", "Chosen sets, each by a network of its own.")] = 1
    eval_networks: Annotated[int, option("N", "Networks that each set is tested on.")] = 5
    epochs: Annotated[int, option("EPOCHS", "Of the networks that choose.")] = CORESET_EPOCHS
    protocol: Annotated[str | None, option("NAME", "Evaluation.", "DC's for the data")] = None
    width: Annotated[int, option("CHANNELS", "Of the ConvNet.")] = 128
    depth: Annotated[int, option("BLOCKS", "Of the ConvNet.")] = 3


class Chooser(NamedTuple):
    """A network that chooses images: its variables, and facts for the result."""

    variables: Variables
    facts: dict[str, Any]


def table(options: Options) -> Iterator[cells.Cell]:
    """The cells, by data set and IPC."""
    at_least("--sets", options.sets, 1)
    for data in options.data:
        protocol = evaluate.dc_protocol(data)
        if options.protocol is not None:
            known = evaluate.PROTOCOLS
            protocol = known[one_of("protocol", options.protocol, known)]
        for ipc in options.ipc:
            # Each network that is tested on random images has a subset of its own.
            rows = [Row("random", sets=options.sets * options.eval_networks)]
            for word in SELECTIONS:
                initial = chosen(word, options, data)
                rows.append(Row(word, initial, options.sets, options.eval_networks))
            yield RealImages(
                f"{data}-ipc{ipc}-{protocol.name}",
                DataChoice(data),
                ipc,
                protocol,
                tuple(rows),
                network(options),
                options.seed,
                functools.partial(facts_of_choosers, options, data),
            )


def network(options: Options) -> nn.Network:
    """The ConvNet that chooses, and that is tested."""
    return nn.network("convnet", width=options.width, depth=options.depth)


def chosen(word: str, options: Options, data: str) -> Initial:
    """The images that a selection picks; each set by another network."""
    sets = itertools.count()

    def images(key: jax.Array, table: ClassTable, model: nn.Model, n: int) -> jax.Array:
        chooser = trained(options, data)[next(sets)]
        return select_images(SELECTIONS[word], model, chooser.variables, table, n)

    return Initial(images)


@functools.lru_cache(maxsize=1)
def trained(options: Options, data: str) -> list[Chooser]:
    """Networks trained on a whole data set, one for each chosen set."""
    dataset, train, test = loaded(DataChoice(data), options.data_dir)
    model = network(options).model(dataset.num_classes, dataset.image_shape)
    choosers = []
    for i in range(options.sets):
        began = time.perf_counter()
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(options.seed), 0), i)
        variables = train_on_all(key, model, train, epochs=options.epochs)
        accuracy = float(jax.jit(functools.partial(evaluate.accuracy, model))(variables, test))
        seconds = round(time.perf_counter() - began, 1)
        facts = {"accuracy": accuracy, "epochs": options.epochs, "seconds": seconds}
        choosers.append(Chooser(variables, facts))
        print(f"{data}: network {i + 1} that chooses: {facts}", flush=True)
    return choosers


def facts_of_choosers(options: Options, data: str) -> dict[str, Any]:
    """For the file of a cell."""
    return {"choosers": [chooser.facts for chooser in trained(options, data)]}


if __name__ == "__main__":
    sys.exit(cells.main(__file__, __doc__, Options, table))
