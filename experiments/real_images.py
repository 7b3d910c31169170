"""Cells that evaluate real images: networks are trained on random images of each class, or on chosen ones."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from benchmarks import script
from cells import Place, is_finished

from jdd import baselines, nn
from jdd.configuration import DataChoice
from jdd.data import ClassTable
from jdd.datasets import Dataset, load_dataset
from jdd.evaluate import EvaluationProtocol
from jdd.runs import Score
from jdd.runs.scores import networks_per_dispatch
from jdd.synthetic import Initial, from_real
from jdd.validation import count


class Row(NamedTuple):
    """Sets of real images of one kind.

    Attributes:
      images: which, in words.
      initial: which.
      sets: how many sets.
      networks: that are trained on each.
    """

    images: str = "random real images"
    initial: Initial = from_real()
    sets: int = 1
    networks: int = 1


@dataclasses.dataclass(frozen=True)
class RealImages:
    """A cell that evaluates real images and writes NAME.json.

    Attributes:
      name: of the file.
      data: the data set.
      ipc: images per class.
      protocol: how networks are trained.
      rows: what they are trained on.
      network: the architecture.
      seed: of sets and networks.
      facts: further entries of the file, asked for at the end.
    """

    name: str
    data: DataChoice
    ipc: int
    protocol: EvaluationProtocol
    rows: tuple[Row, ...]
    network: nn.Network = nn.network("convnet")
    seed: int = 0
    facts: Callable[[], Mapping[str, Any]] = dict

    def run(self, place: Place) -> None:
        """Scores every row."""
        file, began = place.results / f"{self.name}.json", time.perf_counter()
        if is_finished(file):
            return
        dataset, train, test = loaded(self.data, place.data_dir)
        scores = [self._score(row, dataset, train, test).record() for row in self.rows]
        content = {
            "data": dataset.name,
            "classes": list(dataset.class_names),
            "ipc": self.ipc,
            "network": self.network.to_json(),
            "scores": scores,
            "seed": self.seed,
            **self.facts(),
        }
        script.write_json(file, content, place.command, began)

    def _score(self, row: Row, dataset: Dataset, train: ClassTable, test: ClassTable) -> Score:
        """As `jdd evaluate` scores real images; prints the score."""
        began = time.perf_counter()
        evaluation = baselines.evaluate_real_sets(
            jax.random.fold_in(jax.random.key(self.seed), 1),
            row.initial,
            self.network.model(dataset.num_classes, dataset.image_shape),
            train,
            test,
            self.ipc,
            self.protocol,
            sets=row.sets,
            num_networks=row.networks,
            networks_per_dispatch=networks_per_dispatch(),
        )
        title = f"{row.images}, {self.ipc} per class, {count(row.sets, 'set')}"
        score = Score.of(title, evaluation, time.perf_counter() - began)
        print(f"{title}: {score} ({self.protocol.name})", flush=True)
        return score


@functools.lru_cache(maxsize=1)
def loaded(data: DataChoice, data_dir: Path | None) -> tuple[Dataset, ClassTable, ClassTable]:
    """A data set, and its training and test images on the device."""
    dataset = load_dataset(data.name, data_dir=data_dir, classes=data.classes or None)
    return dataset, *dataset.tables()
