"""Compositions: objectives x parametrisations x samplers at equal storage, under one protocol.

    python experiments/compositions.py fashion_mnist --data-dir FOLDER
    python experiments/compositions.py fashion_mnist --methods dsa dm --factors 1 --ipc 10 --data-dir FOLDER

Each cell takes a preset and replaces what is learned and which real images are matched:

    --factors    1: every pixel is a parameter; 2: multi_formation(2), each stored image holds four tiles
    --samplers   uniform: the preset's number of random images; representative: 128 images that represent clusters

With a factor above 1, or with dream-plus and ncfm, pixels are learned in [0, 1], where a step of SGD moves normalised
images 1 / std**2 times as far: the learning rates of dsa, dcc, dm and cafe-fixed are multiplied by the mean of std**2.

--networks K is the budget of a cell in networks, by default what BUDGETS states for the method, a small part of the
paper's. Each set is evaluated by the preset's own protocol and by IDC's, with the last epoch and the best of four
epochs (which is selected on test data). ConvNet-3 of width 128 is matched on and tested.

Runs are in runs/ and are continued by the same command; their small files go to
experiments/results/compositions/CELL, IDC's protocol is in idc.json there. At the end the cells of the
command are printed as a table.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import cells
import jax
import jax.numpy as jnp
import numpy as np
from benchmarks import script
from real_images import loaded
from tyro.conf import Positional, arg

from jdd import evaluate
from jdd.artefact import DistilledSet
from jdd.cli.options import option
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.data import representative
from jdd.methods import PRESETS, Recipe
from jdd.runs import Score
from jdd.synthetic import multi_formation
from jdd.validation import at_least

Method = Literal["dsa", "dcc", "dsac", "dm", "cafe-fixed", "ncfm", "dream-plus"]
Sampling = Literal["uniform", "representative"]

# Networks of a cell, at one image per class: five to ten minutes of two cores.
BUDGETS: dict[Method, dict[str, int]] = {
    "dsa": {"networks": 100},
    "dcc": {"networks": 10},
    "dsac": {"networks": 10},
    "dm": {"networks": 250},
    "cafe-fixed": {"networks": 60},
    "ncfm": {"networks": 100},
    "dream-plus": {"networks": 1, "updates": 60},
}
# Their pixels are in [0, 1] with any factor.
OF_RAW_PIXELS = ("ncfm", "dream-plus")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.TableOptions):
    """Options of the compositions."""

    data: Annotated[Positional[str], arg(metavar="DATA", help="Data set.")]
    ipc: Annotated[int, option("N", "Stored images per class.")] = 1
    methods: Annotated[tuple[Method, ...], arg(help="Presets.")] = (
        *("dsa", "dcc", "dm", "cafe-fixed", "ncfm", "dream-plus"),
    )
    factors: Annotated[tuple[int, ...], arg(metavar="N", help="Tiles along each side.")] = (1, 2)
    samplers: Annotated[tuple[Sampling, ...], arg(help="Real images.")] = (
        *("uniform", "representative"),
    )
    networks: Annotated[int | None, option("K", "Of each run.", "that of BUDGETS")] = None
    eval_networks: Annotated[int, option("N", "Networks that a set is tested on.")] = 2
    eval_epochs: Annotated[int | None, option("EPOCHS", "Of these.", "the protocol's")] = None


@dataclasses.dataclass(frozen=True)
class Composition:
    """A cell: a run, which its own protocol evaluates, and the same set under IDC's protocol.

    Attributes:
      run_of: the run.
      options: of the script.
    """

    run_of: cells.Distilled
    options: Options

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.run_of.name

    def run(self, place: cells.Place) -> None:
        """Runs or continues it, then writes idc.json beside its files."""
        self.run_of.run(place)
        file, began = place.results / self.name / "idc.json", time.perf_counter()
        configuration = self.run_of.configuration
        protocol = idc_protocol(self.options)
        is_own = configuration.recipe.protocol.with_epochs(self.options.eval_epochs) == protocol
        if not is_own and not file.is_file():
            score = self._score(file.parent / "set.safetensors", protocol, place)
            print(f"{self.name}, {protocol.name}: {score.note}", flush=True)
            script.write_json(file, {"score": score.record()}, place.command, began)

    def _score(
        self, file: Path, protocol: evaluate.EvaluationProtocol, place: cells.Place
    ) -> Score:
        configuration = self.run_of.configuration
        dataset, _, test = loaded(configuration.data, place.data_dir)
        distilled, began = DistilledSet.load(file), time.perf_counter()
        evaluation = evaluate.evaluate(
            jax.random.fold_in(jax.random.key(configuration.seed), 3),
            configuration.network.model(dataset.num_classes, dataset.image_shape),
            jnp.asarray(distilled.normalised()),
            jnp.asarray(distilled.labels),
            test,
            protocol,
            num_networks=self.options.eval_networks,
            networks_per_dispatch=1,
        )
        return Score.of("distilled images", evaluation, time.perf_counter() - began)


def idc_protocol(options: Options) -> evaluate.EvaluationProtocol:
    """IDC's protocol for the data set."""
    protocol = PRESETS["idc"].recipe(options.ipc, data=options.data).protocol
    return protocol.with_epochs(options.eval_epochs)


def table(options: Options) -> Iterator[cells.Cell]:
    """A cell for each composition; after the last, all are printed."""
    at_least("--ipc", options.ipc, 1)
    plan = EvaluationPlan(
        options.eval_networks, epochs=options.eval_epochs, random=False, whole="no"
    )
    std = loaded(DataChoice(options.data), options.data_dir)[0].std
    chosen = []
    for method, factor, sampling in itertools.product(
        options.methods, options.factors, options.samplers
    ):
        made = recipe(options, method, factor, sampling, std)
        budget = f"networks{made.networks}" + f"x{made.updates}" * (made.updates > 1)
        words = [options.data, method, f"factor{factor}", sampling, f"ipc{options.ipc}", budget]
        configuration = Configuration(
            made, DataChoice(options.data), evaluation=plan, seed=options.seed
        )
        name = "-".join([*words, f"seed{options.seed}"])
        chosen.append(Composition(cells.Distilled(name, configuration), options))
    yield from chosen
    print(rows([options.results / Path(__file__).stem / each.name for each in chosen]))


def recipe(
    options: Options, method: Method, factor: int, sampling: Sampling, std: tuple[float, ...]
) -> Recipe:
    """A preset with another parametrisation and sampler.

    Args:
      options: of the script.
      method: the preset.
      factor: tiles along each side of a stored image.
      sampling: which real images.
      std: of the data set, by channel.
    """
    preset = PRESETS[method].recipe
    accepted = inspect.signature(preset).parameters
    budget = dict(BUDGETS[method])
    if options.networks is not None:
        budget["networks"] = options.networks
    # The warm-up of DCC depends on the budget, the parametrisation of others on the factor.
    arguments = {n: v for n, v in {**budget, "factor": factor}.items() if n in accepted}
    made = dataclasses.replace(preset(options.ipc, data=options.data, **arguments), **budget)
    if factor > 1 and method not in OF_RAW_PIXELS:
        call = made.optimizer.expression
        assert call is not None
        rate = dict(call.arguments)["learning_rate"] * float(np.mean(np.square(std)))
        made = dataclasses.replace(
            made,
            synthetic=multi_formation(factor),
            optimizer=made.optimizer.with_arguments(learning_rate=rate),
        )
    base = PRESETS["idc"].recipe(options.ipc, data=options.data)
    if sampling == "representative":
        return dataclasses.replace(made, sampler=representative())
    if method == "dream-plus":
        # Its own images are representative; those of IDC are not.
        return dataclasses.replace(
            made, sampler=base.sampler.with_arguments(n=128), initial=base.initial
        )
    return made


def rows(folders: list[Path]) -> str:
    """The cells as a table in Markdown."""
    lines = [
        "| composition | own protocol | IDC's, last epoch | best epoch (on test data) | minutes |",
        "|---|---|---|---|---|",
    ]
    for folder in folders:
        result = json.loads((folder / "result.json").read_text("utf-8"))
        own = idc = Score.read(result["scores"][0])
        if (folder / "idc.json").is_file():
            idc = Score.read(json.loads((folder / "idc.json").read_text("utf-8"))["score"])
        minutes = f"{result['seconds']['distil'] / 60:.1f}"
        row = (folder.name, f"{own} ({own.protocol})", str(idc), idc.best_text, minutes)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cells.main(__file__, __doc__, Options, table))
