"""Accuracy against updates and against seconds: uniform, representative, central and boundary real images.

    python experiments/dream_curves.py digits --sets 5
    python experiments/dream_curves.py fashion_mnist --data-dir FOLDER

    uniform     IDC: random real images
    dream       DREAM: images that represent clusters, at the start too
    dream-plus  DREAM+: the same, embeddings matched beside gradients, networks that begin with an epoch of real images
    central     the images nearest to the mean of their class
    boundary    the images farthest from it

All have the loops, the learning rate and the real batch of `dream` with a factor of 2, on networks of the same width.
uniform, central and boundary start at random real images. The set is evaluated after each number of updates in
--updates, by the protocol of IDC with fewer epochs (--eval-epochs; the protocol has 1000). Seconds are those of the
updates, clustering and training of networks included, without compilation and evaluation; the clock of a machine that
does other work at the same time runs unevenly, so CPU seconds are recorded too.

Each cell is a file in experiments/results/dream_curves/, and is skipped where it is there. At the end the cells of the
data set are summed up: DATA-....json holds the means, and the factors of updates and of time after which a
sampler reaches the last accuracy of uniform; DATA-....png the curves.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cells
import jax
import jax.numpy as jnp
import matplotlib.style
import numpy as np
from benchmarks import script
from matplotlib.figure import Figure
from real_images import loaded
from tyro.conf import Positional, arg

from jdd import evaluate, methods, nn
from jdd.atomic_write import write_atomically
from jdd.cli.options import option
from jdd.configuration import DataChoice
from jdd.data import Data, boundary, central, uniform
from jdd.methods import Recipe
from jdd.synthetic import flat, from_real
from jdd.validation import at_least

Variant = Literal["uniform", "dream", "dream-plus", "central", "boundary"]


def _replaced(sampler: Callable[[int], Any]) -> Callable[..., Recipe]:
    """`dream` with another sampler, and random real images at the start."""

    def make(ipc: int, *, data: str) -> Recipe:
        recipe = methods.dream(ipc, data=data)
        call = recipe.sampler.expression
        assert call is not None
        images = dict(call.arguments)["n"]
        return dataclasses.replace(recipe, sampler=sampler(images), initial=from_real())

    return make


RECIPES: dict[Variant, Callable[..., Recipe]] = {
    "uniform": _replaced(uniform),
    "dream": methods.dream,
    "dream-plus": methods.dream_plus,
    "central": _replaced(central),
    "boundary": _replaced(boundary),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.TableOptions):
    """Options of the curves."""

    data: Annotated[Positional[str], arg(metavar="DATA", help="Data set.")]
    ipc: Annotated[int, option("N", "Stored images per class.")] = 10
    variants: Annotated[tuple[Variant, ...], arg(help="Curves.")] = tuple(RECIPES)
    sets: Annotated[int, option("N", "Of each curve, with consecutive seeds.")] = 3
    updates: Annotated[
        tuple[int, ...], arg(metavar="N", help="The set is evaluated after so many.")
    ] = (25, 50, 100, 200, 400)
    updates_per_network: Annotated[int, option("N", "Of the set, on each network.")] = 100
    width: Annotated[int, option("CHANNELS", "Of the ConvNet-3.")] = 32
    eval_networks: Annotated[int, option("N", "Networks that a set is tested on.")] = 2
    eval_epochs: Annotated[int, option("EPOCHS", "Of these networks.")] = 200


@dataclasses.dataclass(frozen=True)
class Curve:
    """A cell: one sampler, one seed.

    Attributes:
      name: of the file.
      variant: the sampler.
      seed: of all randomness.
      options: of the script.
    """

    name: str
    variant: Variant
    seed: int
    options: Options

    def run(self, place: cells.Place) -> None:
        """Runs it and writes NAME.json."""
        file, began = place.results / f"{self.name}.json", time.perf_counter()
        if cells.is_finished(file):
            return
        script.write_json(file, self._measured(place.data_dir), place.command, began)

    def _measured(self, data_dir: Path | None) -> dict[str, Any]:
        options = self.options
        dataset, train, test = loaded(DataChoice(options.data), data_dir)
        model = nn.convnet(dataset.num_classes, dataset.image_shape, width=options.width)
        ends = (0, *sorted(options.updates))
        recipe = dataclasses.replace(
            RECIPES[self.variant](options.ipc, data=options.data),
            updates=options.updates_per_network,
            networks=-(-ends[-1] // options.updates_per_network),
        )
        protocol = recipe.protocol.with_epochs(options.eval_epochs)
        method = methods.build(recipe, model)
        run_key, test_key = jax.random.split(jax.random.key(self.seed))
        data = Data(train)
        state = method.init(run_key, data)
        program = methods.advance(method, ends[-1]).lower(state, data, jnp.int32(1)).compile()
        points, seconds, cpu_seconds = [], 0.0, 0.0
        for before, end in itertools.pairwise((0, *ends)):
            if end > before:
                began, cpu_began = time.perf_counter(), time.process_time()
                state, _ = jax.block_until_ready(program(state, data, jnp.int32(end - before)))
                seconds += time.perf_counter() - began
                cpu_seconds += time.process_time() - cpu_began
            batch = flat(method.decode(state))
            evaluation = evaluate.evaluate(
                jax.random.fold_in(test_key, end),
                model,
                batch.images,
                batch.labels,
                test,
                protocol,
                num_networks=options.eval_networks,
                networks_per_dispatch=1,
                checkpoints=1,
            )
            points.append(
                {
                    "updates": end,
                    "seconds": round(seconds, 2),
                    "cpu_seconds": round(cpu_seconds, 2),
                    "accuracies": evaluation.accuracies.tolist(),
                }
            )
            print(f"{self.name}: {end} updates, {seconds:.0f} s: {evaluation}", flush=True)
        return {
            "data": options.data,
            "variant": self.variant,
            "seed": self.seed,
            "recipe": recipe.record(),
            "width": options.width,
            "protocol": protocol.describe(),
            "points": points,
        }


def table(options: Options) -> Iterator[cells.Cell]:
    """A cell for each seed and variant; after the last, the summary is written."""
    for name in ("ipc", "sets", "updates_per_network", "width", "eval_epochs"):
        at_least(f"--{name.replace('_', '-')}", getattr(options, name), 1)
    if not options.updates or min(options.updates) < 1:
        raise ValueError(f"--updates must be numbers of at least 1, got {options.updates}")
    seeds = range(options.seed, options.seed + options.sets)
    curves = [
        Curve(f"{prefix(options)}-{variant}-seed{seed}", variant, seed, options)
        for seed in seeds
        for variant in options.variants
    ]
    began = time.perf_counter()
    yield from curves
    folder = options.results / Path(__file__).stem
    read = [json.loads((folder / f"{each.name}.json").read_text("utf-8")) for each in curves]
    command = script.command_line(__file__, sys.argv[1:])
    means = {
        variant: mean_curve([cell for cell in read if cell["variant"] == variant])
        for variant in options.variants
    }
    summary = {"seeds": list(seeds), "curves": means, "savings": savings(means)}
    script.write_json(folder / f"{prefix(options)}.json", summary, command, began)
    draw(means, f"{options.data}, IPC {options.ipc}", folder / f"{prefix(options)}.png")


def prefix(options: Options) -> str:
    """What the files of a table have in common."""
    return f"{options.data}-ipc{options.ipc}-width{options.width}-updates{max(options.updates)}"


def mean_curve(seeds: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Means over seeds; the deviation is that of the seeds' means.

    >>> point = {"updates": 5, "seconds": 2.0, "cpu_seconds": 3.0, "accuracies": [0.5, 0.7]}
    >>> mean_curve([{"points": [point]}])["accuracy"]
    [0.6]
    """
    points = [cell["points"] for cell in seeds]
    accuracies = np.array([[np.mean(p["accuracies"]) for p in curve] for curve in points])
    clocks = {
        name: np.mean([[p[name] for p in curve] for curve in points], 0).round(2).tolist()
        for name in ("seconds", "cpu_seconds")
    }
    return {
        "updates": [p["updates"] for p in points[0]],
        **clocks,
        "accuracy": accuracies.mean(0).round(4).tolist(),
        "accuracy_std": accuracies.std(0).round(4).tolist(),
    }


def savings(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """By how much fewer updates and CPU seconds each curve reaches the last accuracy of uniform.

    Between two points a curve is taken for a line. The factor is None where that accuracy is not reached.

    >>> uniform = {"updates": [0, 100], "cpu_seconds": [0, 50], "accuracy": [0.2, 0.6]}
    >>> dream = {"updates": [0, 100], "cpu_seconds": [0, 100], "accuracy": [0.2, 1.0]}
    >>> savings({"uniform": uniform, "dream": dream})["dream"]
    {'updates': 2.0, 'cpu_seconds': 1.0}
    """
    if "uniform" not in curves:
        return {}
    base = curves["uniform"]
    target = base["accuracy"][-1]
    factors = {}
    for name, curve in curves.items():
        if name != "uniform":
            factors[name] = {
                axis: None if (x := reached(curve, axis, target)) is None else base[axis][-1] / x
                for axis in ("updates", "cpu_seconds")
            }
    return factors


def reached(curve: Mapping[str, Sequence[float]], axis: str, target: float) -> float | None:
    """Where a curve first has an accuracy; None where it never has."""
    points = list(zip(curve[axis], curve["accuracy"], strict=True))
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if y0 < target <= y1:
            return x0 + (x1 - x0) * (target - y0) / (y1 - y0)
    return None


def draw(curves: Mapping[str, Mapping[str, Sequence[float]]], title: str, path: Path) -> None:
    """Draws accuracy against updates and against seconds into a PNG."""
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(10.4, 4.0), dpi=150, layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for panel, axis, label in zip(
            panels,
            ("updates", "cpu_seconds"),
            ("updates", "CPU seconds of the updates"),
            strict=True,
        ):
            for name, curve in curves.items():
                means, deviations = (
                    100 * np.array(curve[key]) for key in ("accuracy", "accuracy_std")
                )
                panel.errorbar(curve[axis], means, deviations, marker="o", capsize=2, label=name)
            panel.set_xlabel(label)
            panel.grid(alpha=0.4)
        panels[0].set_ylabel("test accuracy, %")
        panels[0].set_title(title)
        panels[1].legend(frameon=False)
        with io.BytesIO() as content:
            figure.savefig(content, format="png")
            write_atomically(path, content.getvalue())


if __name__ == "__main__":
    sys.exit(cells.main(__file__, __doc__, Options, table))
