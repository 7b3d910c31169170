"""How fast the tangent kernel turns while a network trains on a distilled set: class-wise against collective.

    python experiments/kernel_velocity.py dc=SET dcc=SET --data fashion_mnist --data-dir FOLDER

Each SET is a .safetensors file or a run directory (experiments/main_table.py or fine_grained.py make them). A fresh
ConvNet trains on it by plain SGD as in the matching loop (rate 0.01, no momentum), on the whole set at each step;
every --every steps the empirical tangent kernel of a fixed probe of test images is taken. The velocity between two
records is one minus the cosine of the kernels, per step. Writes experiments/results/kernel_velocity/NAME.json and .png.

The exact plot of the paper (probe, interval, axes) is not known to us; these are choices, all options.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Annotated

import fresh_networks
import jax
import jax.numpy as jnp
import numpy as np
from benchmarks import script
from jax import Array
from tyro.conf import Positional, arg

from jdd import DistilledSet, data, nn
from jdd.cli.options import option
from jdd.datasets import Dataset, load_dataset
from jdd.evaluate import empirical_ntk, kernel_velocity
from jdd.nn.model import Variables
from jdd.training import SGD


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(fresh_networks.Options):
    """Options of the experiment."""

    sets: Annotated[
        Positional[tuple[str, ...]], arg(metavar="NAME=SET", help="Sets, each with its name.")
    ]
    probe: Annotated[int, option("N", "Test images that the kernel is taken at.")] = 20
    steps: Annotated[int, option("N", "SGD steps.")] = 200
    every: Annotated[int, option("N", "Steps between two kernels.")] = 10
    name: Annotated[str | None, option("NAME", "Of the result.", "the data set")] = None


def experiment(options: Options, command: str) -> None:
    """Writes the velocities of every set, and draws them."""
    began = time.perf_counter()
    options.check(every=1, steps=1, probe=2)
    if options.steps % options.every:
        raise ValueError(
            f"--steps must be a multiple of --every, got {options.steps} and {options.every}"
        )
    if not options.sets:
        raise ValueError("a set is missing: NAME=SET")
    dataset = load_dataset(options.data, data_dir=options.data_dir)
    if options.probe > len(dataset.test):
        raise ValueError(f"--probe must be at most the {len(dataset.test)} test images")
    velocity = {}
    for word in options.sets:
        name, _, path = word.partition("=")
        if not path:
            raise ValueError(f"a set must be written as NAME=SET, got {word!r}")
        velocity[name] = velocities(fresh_networks.load_set(Path(path)), dataset, options)
        print(f"{name}: mean velocity {np.mean(velocity[name]):.2e} per step", flush=True)
    times = list(range(0, options.steps, options.every))
    content = {"steps": times, "velocity": {name: v.tolist() for name, v in velocity.items()}}
    file = options.results / "kernel_velocity" / f"{options.name or options.data}.json"
    script.write_json(file, content, command, began)
    draw(file.with_suffix(".png"), times, velocity)


def velocities(distilled: DistilledSet, dataset: Dataset, options: Options) -> np.ndarray:
    """``[networks, records - 1]``, per SGD step."""
    names = distilled.metadata.class_names
    if tuple(names) != tuple(dataset.class_names):
        dataset = dataset.restrict(names)
    probe = dataset.test.images[:: len(dataset.test) // options.probe][: options.probe]
    probe = data.normalise(jnp.asarray(probe), jnp.array(dataset.mean), jnp.array(dataset.std))
    model = nn.convnet(dataset.num_classes, dataset.image_shape, width=options.width)
    # One step on the whole set is an epoch. Without momentum, training may stop for a kernel.
    sgd = SGD(0.01, batch_size=len(distilled.labels))
    train = fresh_networks.training(model, distilled, sgd, options.every)

    @jax.jit
    def kernel(variables: Variables) -> Array:
        network, params = model.network(variables)
        return empirical_ntk(lambda params, x: network(params, x).logits, params, probe)

    def measure(key: Array) -> Array:
        variables = model.init(jax.random.fold_in(key, 0))
        kernels = [kernel(variables)]
        for i in range(options.steps // options.every):
            variables = train(jax.random.fold_in(key, i + 1), variables)
            kernels.append(kernel(variables))
        return kernel_velocity(jnp.stack(kernels), options.every * jnp.arange(len(kernels)))

    return fresh_networks.of_each_network(options, measure)


def draw(path: Path, times: list[int], velocity: dict[str, np.ndarray]) -> None:
    """Mean over networks, with the range between them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in velocity.items():
        (line,) = axes.plot(times, values.mean(0), label=name)
        low, high = values.min(0), values.max(0)
        axes.fill_between(times, low, high, alpha=0.2, color=line.get_color())
    axes.set(xlabel="SGD step", ylabel="kernel velocity per step", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, experiment))
