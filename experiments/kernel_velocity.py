"""How fast the tangent kernel turns while a network trains on a distilled set: class-wise against collective.

    python experiments/kernel_velocity.py dc=SET dcc=SET --data fashion_mnist --data-dir FOLDER

Each SET is a .safetensors file or a run directory (experiments/main_table.py or fine_grained.py make them). A fresh
ConvNet trains on it by plain SGD as in the matching loop (rate 0.01, no momentum), on the whole set at each step;
every --every steps the empirical tangent kernel of a fixed probe of test images is taken. The velocity between two
records is one minus the cosine of the kernels, per step. Writes experiments/results/kernel_velocity/NAME.json and .png.

What the paper plots exactly (probe, interval, axes) is not known to us; these are choices, all options.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from cells import RESULTS
from jax import Array

from jdd import DistilledSet, data, datasets, nn
from jdd.evaluate import empirical_ntk, kernel_velocity
from jdd.training import SGDRecipe, train_epochs

matplotlib.use("Agg")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", metavar="NAME=SET")
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-dir")
    parser.add_argument("--probe", type=int, default=20, help="test images")
    parser.add_argument("--steps", type=int, default=200, help="SGD steps")
    parser.add_argument("--every", type=int, default=10, help="steps between two kernels")
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", help="of the result; default: the data set")
    options = parser.parse_args()
    for name, least in {"every": 1, "steps": 1, "probe": 2, "networks": 1, "width": 1}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}, got {getattr(options, name)}")
    if options.steps % options.every:
        parser.error(
            f"--steps must be a multiple of --every, got {options.steps} and {options.every}"
        )
    dataset = datasets.load_dataset(options.data, data_dir=options.data_dir)
    found = {}
    for word in options.sets:
        name, _, path = word.partition("=")
        if not path:
            parser.error(f"sets are given as NAME=SET, got {word!r}")
        found[name] = velocities(DistilledSet.load(as_file(Path(path))), dataset, options)
        print(f"{name}: mean velocity {np.mean(found[name]):.2e} per step", flush=True)
    times = list(range(0, options.steps, options.every))
    report = {
        "command": " ".join(["python experiments/kernel_velocity.py", *words_of(options)]),
        "device": f"{jax.default_backend()}, jax {jax.__version__}",
        "steps": times,
        "velocity": {name: np.asarray(v).tolist() for name, v in found.items()},
    }
    out = RESULTS / "kernel_velocity" / (options.name or options.data)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    draw(out.with_suffix(".png"), times, found)
    return 0


def words_of(options: argparse.Namespace) -> list[str]:
    """The arguments for a reader's machine: the folder of the data is theirs."""
    words = list(options.sets)
    for name, value in vars(options).items():
        if name != "sets" and value is not None:
            words += [f"--{name.replace('_', '-')}", "FOLDER" if name == "data_dir" else str(value)]
    return words


def as_file(path: Path) -> Path:
    """The set of a run directory, or the file itself."""
    return path / "set.safetensors" if path.is_dir() else path


def velocities(chosen: DistilledSet, dataset: datasets.Dataset, options: argparse.Namespace) -> Any:
    """``[networks, records - 1]``, per SGD step."""
    names = chosen.metadata.class_names
    if tuple(names) != tuple(dataset.class_names):
        dataset = dataset.restrict(names)
    images, labels = jnp.asarray(chosen.normalised()), jnp.asarray(chosen.labels)
    if options.probe > len(dataset.test.images):
        sys.exit(f"--probe must be at most the {len(dataset.test.images)} test images")
    probe = dataset.test.images[:: len(dataset.test.images) // options.probe][: options.probe]
    probe = data.normalise(jnp.asarray(probe), jnp.array(dataset.mean), jnp.array(dataset.std))
    model = nn.convnet(dataset.num_classes, dataset.image_shape, width=options.width)
    recipe = SGDRecipe(0.01, batch_size=len(images))

    @jax.jit
    def advance(key: Array, variables: Any) -> Any:
        # Without momentum, stopping and going on changes nothing; one epoch is one step here.
        return train_epochs(key, model, variables, images, labels, recipe, epochs=options.every)[0]

    @jax.jit
    def kernel(variables: Any) -> Array:
        apply, params = model.frozen(variables)
        return empirical_ntk(apply, params, probe)

    def one(key: Array) -> Array:
        variables = model.init(jax.random.fold_in(key, 0))
        kernels = [kernel(variables)]
        for i in range(options.steps // options.every):
            variables = advance(jax.random.fold_in(key, i + 1), variables)
            kernels.append(kernel(variables))
        return kernel_velocity(jnp.stack(kernels), options.every * jnp.arange(len(kernels)))

    return np.stack(
        [one(k) for k in jax.random.split(jax.random.key(options.seed), options.networks)]
    )


def draw(path: Path, times: list[int], found: dict[str, Any]) -> None:
    """Mean over networks, with the range between them."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, values in found.items():
        (line,) = axes.plot(times, values.mean(0), label=name)
        low, high = values.min(0), values.max(0)
        axes.fill_between(times, low, high, alpha=0.2, color=line.get_color())
    axes.set(xlabel="SGD step", ylabel="kernel velocity per step", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
