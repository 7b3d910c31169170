r"""What representative images cost, and how well they stand for their class, by pool and Lloyd steps.

    python experiments/benchmarks/clustering.py --data digits fashion_mnist --data-dir FOLDER \
        --out experiments/results/benchmarks/clustering.json

- selection: images of each class chosen by the features of a network, random or trained on the real set for an
  epoch: how many of them differ, and the distance of all images of a class to the nearest chosen one, relative
  to full k-means (k-means++, 100 Lloyd steps, all images). Few steps go on from the images chosen before: the
  figures are those after some clusterings, each of a new pool.
- cost: as many updates on one network as lie between two clusterings, with and without the clustering.
- embedding: milliseconds per image by chunk.

About 10 minutes on 2 cores for both data sets.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import common
import jax
import jax.numpy as jnp
import numpy as np
import script
from jax import Array
from tyro.conf import arg

from jdd import methods, nn
from jdd.cli.options import option
from jdd.data import (
    ClassTable,
    Clustering,
    Data,
    Sampler,
    View,
    draw_indices,
    k_means,
    k_means_plus_plus,
    network_features,
    original_k_means,
    representative,
    uniform,
)
from jdd.data.clustering import nearest_centroid, nearest_points
from jdd.data.feature_space import Embed, default_chunk, embedded
from jdd.data.representative import choose_images
from jdd.datasets import load_dataset
from jdd.nn import Model
from jdd.synthetic import from_real

Table = Literal["selection", "embedding", "cost"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.Options):
    """Options of the benchmark."""

    tables: Annotated[tuple[Table, ...], arg(help="Tables.")] = ("selection", "embedding", "cost")
    data: Annotated[tuple[str, ...], option("NAME", "Data sets.")] = ("digits",)
    data_dir: Annotated[
        Path | None, option("FOLDER", "Where the published sets are.", "JDD_DATA_DIR")
    ] = None
    width: Annotated[int, option("N", "Of the ConvNet.")] = 32
    n: Annotated[int, option("N", "Images of each class that are chosen.")] = 128
    every: Annotated[int, option("N", "Updates between two clusterings.")] = 10
    pools: Annotated[tuple[int, ...], option("N", "Images of a class that are clustered.")] = (
        *(250, 500, 1000, 2000),
    )
    steps: Annotated[tuple[int, ...], option("N", "Lloyd steps.")] = (1, 3, 10)
    clusterings: Annotated[tuple[int, ...], option("N", "Clusterings, one after the other.")] = (
        *(1, 5, 10, 20),
    )
    chunks: Annotated[tuple[int, ...], option("N", "Images at a time in the embedding.")] = (
        *(8, 16, 64, 250),
    )


def benchmark(options: Options, command: str) -> None:
    """Makes all rows."""
    common.report(rows(options), options, command)


def rows(options: Options) -> Iterator[dict[str, Any]]:
    """Selection, embedding and cost, for each data set."""
    for name in options.data:
        dataset = load_dataset(name, data_dir=options.data_dir)
        table, _ = dataset.tables()
        n = min(options.n, table.smallest // 2)
        model = nn.convnet(dataset.num_classes, dataset.image_shape, width=options.width)
        if "selection" in options.tables:
            for row in selections(options, table, model, n):
                yield {"data": name, "n": n, **row}
        if "embedding" in options.tables:
            for row in embeddings(options, table, model):
                yield {"data": name, **row}
        if "cost" in options.tables:
            for method in ("dream", "dm"):
                yield {"data": name, "n": n, **cost(options, method, name, table, model, n)}


def selections(
    options: Options, table: ClassTable, model: Model, n: int
) -> Iterator[dict[str, Any]]:
    """How many chosen images differ, and how near they are to all images of their class."""
    pools = [*(pool for pool in options.pools if n <= pool < table.largest), None]
    few = {
        f"{steps} steps, {'all images' if pool is None else f'pool {pool}'}": (k_means(steps), pool)
        for pool in pools
        for steps in options.steps
    }
    once = {
        "full k-means": (k_means_plus_plus(), None),
        "the original's k-means": (original_k_means(), None),
    }
    for epochs in (0, 1):
        motion = methods.on_real(1, first_epochs=epochs, batch_size=128)
        begin = jax.jit(lambda key, motion=motion: motion.begin(key, model, table))
        variables, _ = begin(jax.random.key(0))
        view = View(*model.network(variables), jnp.int32(0), jnp.int32(0))
        features = embedded_table(network_features().bind(jax.random.key(0), table, view), table)
        random = np.asarray(draw_indices(jax.random.key(1), table, n)[0])
        results = [("random images", 0, random)]
        for name, (clustering, pool) in once.items():
            results += [(name, 1, chosen(features, table, clustering, pool, n, (1,))[0])]
        for name, (clustering, pool) in few.items():
            each = chosen(features, table, clustering, pool, n, options.clusterings)
            results += [(name, i, x) for i, x in zip(options.clusterings, each, strict=True)]
        distances = [distance(features, table, indices) for _, _, indices in results]
        for (name, clusterings, indices), value in zip(results, distances, strict=True):
            yield {
                "table": "selection",
                "epochs": epochs,
                "images": name,
                "clusterings": clusterings,
                "distinct": float(np.mean([len(set(row)) for row in indices.tolist()])),
                "distance": value / distances[1],
            }


def embedded_table(embed: Embed, table: ClassTable) -> Array:
    """The features of all images of a table."""
    indices = jnp.arange(table.images.shape[0])
    function = jax.jit(
        lambda indices: embedded(embed, table, indices, normalise=False, chunk=default_chunk())
    )
    return function(indices)


def chosen(
    features: Array,
    table: ClassTable,
    clustering: Clustering,
    pool: int | None,
    n: int,
    clusterings: tuple[int, ...],
) -> list[np.ndarray]:
    """The images chosen after so many clusterings, each from the one before, with new pools."""
    # The features as images: they are computed once.
    of_features = dataclasses.replace(table, images=features[:, None, None, :])

    def choose(key: Array, points: Array, valid: Array) -> Array:
        return nearest_points(points, valid, clustering.fit(key, points, valid, points[:n]))[:, 0]

    @jax.jit
    def again(key: Array, previous: Array) -> Array:
        return choose_images(
            *(key, of_features, lambda x: x.reshape(len(x), -1), choose, previous),
            pool=pool,
            normalise=False,
            chunk=1000,
        )

    indices, kept = draw_indices(jax.random.key(2), table, n)[0], []
    for i in range(max(clusterings)):
        indices = again(jax.random.key(10 + i), indices)
        kept += [np.asarray(indices)] if i + 1 in clusterings else []
    return kept


def distance(features: Array, table: ClassTable, indices: np.ndarray) -> float:
    """The mean distance of all images of a class to the nearest chosen one, averaged over classes."""
    means = []
    starts, counts = np.asarray(table.start), np.asarray(table.count)
    for start, count, row in zip(starts, counts, indices, strict=True):
        _, squared = nearest_centroid(features[start : start + count], features[row])
        means.append(float(jnp.sqrt(squared).mean()))
    return float(np.mean(means))


def embeddings(options: Options, table: ClassTable, model: Model) -> Iterator[dict[str, Any]]:
    """Milliseconds per image of the embedding, by chunk."""
    view = View(*model.network(model.init(jax.random.key(0))), jnp.int32(0), jnp.int32(0))
    embed = network_features().bind(jax.random.key(0), table, view)
    images = min(1000, table.images.shape[0])

    def case(chunk: int) -> common.Case:
        def run(indices: Array) -> Array:
            return embedded(embed, table, indices, normalise=False, chunk=chunk)

        return run, (jnp.arange(images),)

    cases = {str(chunk): case(chunk) for chunk in options.chunks}
    for name, (program, seconds) in common.measured(options.rounds, cases).items():
        yield {
            "table": "embedding",
            "chunk": int(name),
            "milliseconds_per_image": 1e3 * seconds / images,
            "temporaries_mb": program.temporaries_mb,
        }


def cost(
    options: Options, method: str, data: str, table: ClassTable, model: Model, n: int
) -> dict[str, Any]:
    """Seconds of the updates between two clusterings, by sampler, and the share of the clustering."""
    samplers: dict[str, Sampler] = {
        "uniform": uniform(n),
        "representative": representative(n, every=options.every),
        "full": representative(n, every=options.every, pool=None, clustering=k_means_plus_plus()),
    }
    functions, memory = {}, {}
    for name, sampler in samplers.items():
        recipe = methods.PRESETS[method].recipe(10, data=data)
        updates = 1 if method == "dm" else options.every
        recipe = dataclasses.replace(
            recipe, sampler=sampler, initial=from_real(repeat=True), networks=1000, updates=updates
        )
        functions[name], memory[name] = several_updates(recipe, model, table, options.every)
    seconds = common.interleaved(options.rounds, **functions)
    return {
        "table": "cost",
        "method": method,
        "updates": options.every,
        **{f"{name}_seconds": value for name, value in seconds.items()},
        **{f"{name}_temporaries_mb": value for name, value in memory.items()},
        "share": 1 - seconds["uniform"] / seconds["representative"],
        "share_of_full": 1 - seconds["uniform"] / seconds["full"],
    }


def several_updates(
    recipe: methods.Recipe, model: Model, table: ClassTable, updates: int
) -> tuple[Any, float]:
    """A function that runs so many updates from where the last call ended, and its temporaries in MB."""
    method, data, n = methods.build(recipe, model), Data(table), jnp.int32(updates)
    box = [method.init(jax.random.key(0), data)]
    program = common.compiled(methods.advance(method, updates).lower(box[0], data, n))

    def run() -> Array:
        box[0], losses = program.call(box[0], data, n)
        return losses

    return run, program.temporaries_mb


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
