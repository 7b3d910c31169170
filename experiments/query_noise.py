"""How noisy the queries of CAFE are: what its corrected rule takes 1280 images for.

    python experiments/query_noise.py SET --data fashion_mnist --data-dir FOLDER

SET is a .safetensors file or a run directory. Fresh ConvNets train on it by plain SGD as between two image updates
(rate 0.01, no momentum); every --every epochs they classify --query training images of each class. Of their
accuracies a_c: the mean, the mean of a_c (1 - a_c), which is the variance of a mean accuracy times its images, and
a (1 - a), which it would be if all classes were alike. Writes experiments/results/query_noise/DATA.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cells import RESULTS

from jdd import DistilledSet, data, datasets, nn
from jdd.evaluate import class_accuracies
from jdd.training import SGDRecipe, train_epochs


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=150, help="of training")
    parser.add_argument("--every", type=int, default=15, help="epochs between two queries")
    parser.add_argument("--query", type=int, default=128, help="images of each class")
    parser.add_argument("--networks", type=int, default=5)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in ("epochs", "every", "query", "networks", "width"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    dataset = datasets.load_dataset(options.data, data_dir=options.data_dir)
    path = options.set / "set.safetensors" if options.set.is_dir() else options.set
    distilled = DistilledSet.load(path)
    if distilled.metadata.class_names != tuple(dataset.class_names):
        parser.error(f"{path} is not of the classes of {options.data}")
    found = accuracies(distilled, dataset, options)
    mean = found.mean(-1)
    report = {
        "command": f"python experiments/query_noise.py {path} --data {options.data} --data-dir DATA "
        f"--epochs {options.epochs} --every {options.every} --query {options.query} "
        f"--networks {options.networks} --seed {options.seed}",
        "device": f"{jax.default_backend()}, jax {jax.__version__}",
        "accuracy": round(float(mean.mean()), 4),
        "variance": round(float((found * (1 - found)).mean()), 4),
        "variance_if_classes_were_alike": round(float((mean * (1 - mean)).mean()), 4),
        "accuracy_at_each_query": [round(float(x), 4) for x in mean.mean(0)],
        "variance_at_each_query": [round(float(x), 4) for x in (found * (1 - found)).mean((0, 2))],
    }
    out = RESULTS / "query_noise" / f"{options.data}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return 0


def accuracies(distilled: DistilledSet, dataset: datasets.Dataset, options: Any) -> np.ndarray:
    """``[networks, queries, C]``."""
    table = data.class_table(dataset.train, dataset.num_classes, dataset.mean, dataset.std)
    model = nn.convnet(dataset.num_classes, dataset.image_shape, width=options.width)
    images, labels = jnp.asarray(distilled.images), jnp.asarray(distilled.labels)
    recipe = SGDRecipe(learning_rate=0.01, momentum=0.0, weight_decay=0.0)

    @jax.jit
    def trained(key: jax.Array, variables: Any) -> Any:
        epochs = options.every
        return train_epochs(key, model, variables, images, labels, recipe, epochs=epochs)[0]

    @jax.jit
    def asked(key: jax.Array, variables: Any) -> jax.Array:
        drawn = data.draw_indices(key, table, options.query)
        return class_accuracies(model, variables, table, *drawn)

    def of_network(key: jax.Array) -> list[np.ndarray]:
        variables = model.init(jax.random.fold_in(key, 0))
        rows = []
        for i in range(1, options.epochs // options.every + 1):
            now = jax.random.fold_in(key, i)
            variables = trained(now, variables)
            rows.append(np.asarray(asked(now, variables)))
        return rows

    return np.array(
        [of_network(k) for k in jax.random.split(jax.random.key(options.seed), options.networks)]
    )


if __name__ == "__main__":
    sys.exit(main())
