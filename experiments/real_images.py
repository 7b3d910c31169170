"""Cells that evaluate real images: networks are trained on random images of each class, or on chosen ones."""

from __future__ import annotations

import dataclasses
import functools
import time
from pathlib import Path
from typing import NamedTuple

import jax
from benchmarks import script
from cells import Place, is_finished

from jdd import baselines, nn
from jdd.configuration import DataChoice
from jdd.data import ClassTable
from jdd.datasets import Dataset, load_dataset
from jdd.evaluate import EvaluationProtocol
from jdd.nn import Model
from jdd.runs import Score
from jdd.runs.scores import networks_per_dispatch
from jdd.synthetic import Initial, from_real
from jdd.validation import count


@dataclasses.dataclass(frozen=True)
class RealImages:
    """A cell that evaluates real images and writes NAME.json.

    Attributes:
      name: of the file.
      images: which images, in words.
      data: the data set.
      ipc: images per class.
      protocol: how networks are trained.
      initial: which images.
      sets: how many sets of them.
      networks: ConvNets per set.
      seed: of sets and networks.
    """

    name: str
    images: str
    data: DataChoice
    ipc: int
    protocol: EvaluationProtocol
    initial: Initial = from_real()
    sets: int = 1
    networks: int = 1
    seed: int = 0

    def run(self, place: Place) -> None:
        """Evaluates them."""
        file, began = place.results / f"{self.name}.json", time.perf_counter()
        if is_finished(file):
            return
        network = nn.network("convnet")
        dataset, train, test = loaded(self.data, place.data_dir)
        model = network.model(dataset.num_classes, dataset.image_shape)
        score = score_real(
            self.images,
            self.initial,
            Setting(model, train, test, self.protocol),
            self.ipc,
            sets=self.sets,
            networks=self.networks,
            seed=self.seed,
        )
        content = {
            "data": dataset.name,
            "classes": list(dataset.class_names),
            "ipc": self.ipc,
            "network": network.to_json(),
            "scores": [score.record()],
            "seed": self.seed,
        }
        script.write_json(file, content, place.command, began)


class Setting(NamedTuple):
    """What real images are evaluated with."""

    model: Model
    train: ClassTable
    test: ClassTable
    protocol: EvaluationProtocol


@functools.lru_cache(maxsize=1)
def loaded(data: DataChoice, data_dir: Path | None) -> tuple[Dataset, ClassTable, ClassTable]:
    """A data set, and its training and test images on the device."""
    dataset = load_dataset(data.name, data_dir=data_dir, classes=data.classes or None)
    return dataset, *dataset.tables()


def score_real(
    images: str,
    initial: Initial,
    setting: Setting,
    ipc: int,
    *,
    sets: int,
    networks: int,
    seed: int,
) -> Score:
    """The score of networks that are trained on real images, as of ``jdd evaluate``; also prints it."""
    began = time.perf_counter()
    evaluation = baselines.evaluate_real_sets(
        jax.random.fold_in(jax.random.key(seed), 1),
        initial,
        setting.model,
        setting.train,
        setting.test,
        ipc,
        setting.protocol,
        sets=sets,
        num_networks=networks,
        networks_per_dispatch=networks_per_dispatch(),
    )
    title = f"{images}, {ipc} per class, {count(sets, 'set')}"
    score = Score.of(title, evaluation, time.perf_counter() - began)
    print(f"{title}: {score} ({setting.protocol.name})", flush=True)
    return score
