"""The noise of CAFE's queries: why its corrected rule takes 1280 images.

    python experiments/query_noise.py SET --data fashion_mnist --data-dir FOLDER

SET is a .safetensors file or a run directory. Fresh ConvNets train on it by plain SGD as between two image updates
(rate 0.01, no momentum); every --every epochs they classify --query training images of each class. Of their
accuracies a_c: the mean, the mean of a_c (1 - a_c), which is the variance of a mean accuracy times its images, and
a (1 - a), which it would be if all classes were alike. Writes experiments/results/query_noise/DATA.json.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Annotated

import fresh_networks
import jax
import numpy as np
from benchmarks import script
from jax import Array
from tyro.conf import Positional, arg

from jdd import DistilledSet, data, nn
from jdd.cli.options import option
from jdd.datasets import Dataset, load_dataset
from jdd.evaluate import class_accuracies
from jdd.nn.model import Variables
from jdd.training import SGD


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(fresh_networks.Options):
    """Options of the experiment."""

    set: Annotated[
        Positional[Path], arg(metavar="SET", help="A .safetensors file, or a run directory.")
    ]
    epochs: Annotated[int, option("N", "Of training.")] = 150
    every: Annotated[int, option("N", "Epochs between two queries.")] = 15
    query: Annotated[int, option("N", "Images of each class in a query.")] = 128
    networks: Annotated[int, option("N", "Fresh networks.")] = 5


def experiment(options: Options, command: str) -> None:
    """Writes the variance of a query."""
    began = time.perf_counter()
    options.check(epochs=1, every=1, query=1)
    if options.epochs < options.every:
        raise ValueError(
            f"--epochs must be at least the {options.every} of --every, got {options.epochs}"
        )
    dataset = load_dataset(options.data, data_dir=options.data_dir)
    distilled = fresh_networks.load_set(options.set)
    if distilled.metadata.class_names != tuple(dataset.class_names):
        raise ValueError(f"{options.set} is not of the classes of {options.data}")
    accuracy = accuracies(distilled, dataset, options)
    mean, variance = accuracy.mean(-1), accuracy * (1 - accuracy)
    content = {
        "accuracy": round(float(mean.mean()), 4),
        "variance": round(float(variance.mean()), 4),
        "variance_if_classes_were_alike": round(float((mean * (1 - mean)).mean()), 4),
        "accuracy_at_each_query": [round(float(x), 4) for x in mean.mean(0)],
        "variance_at_each_query": [round(float(x), 4) for x in variance.mean((0, 2))],
    }
    print(json.dumps(content, indent=1))
    file = options.results / "query_noise" / f"{options.data}.json"
    script.write_json(file, content, command, began)


def accuracies(distilled: DistilledSet, dataset: Dataset, options: Options) -> np.ndarray:
    """``[networks, queries, C]``."""
    table, _ = dataset.tables()
    model = nn.convnet(dataset.num_classes, dataset.image_shape, width=options.width)
    train = fresh_networks.training(model, distilled, SGD(0.01), options.every)

    @jax.jit
    def query(key: Array, variables: Variables) -> Array:
        drawn = data.draw_indices(key, table, options.query)
        return class_accuracies(model, variables, table, *drawn)

    def measure(key: Array) -> np.ndarray:
        variables = model.init(jax.random.fold_in(key, 0))
        rows = []
        for i in range(1, options.epochs // options.every + 1):
            query_key = jax.random.fold_in(key, i)
            variables = train(query_key, variables)
            rows.append(np.asarray(query(query_key, variables)))
        return np.stack(rows)

    return fresh_networks.of_each_network(options, measure)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, experiment))
