"""Scores: evaluations as they are printed and recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np

from jdd.evaluate import Evaluation
from jdd.runs.progress import duration
from jdd.validation import count


@dataclasses.dataclass(frozen=True)
class Score:
    """An evaluation and what was evaluated: a row of a table, a record of a run.

    Attributes:
      images: what the networks were trained on, in words.
      accuracies: of each network, fractions.
      network: the name of the evaluation network.
      protocol: the name of the protocol.
      recipe: the protocol in words.
      seconds: wall clock.
      best: of each network the best of several epochs, which is selected on test data; None where only the
        last epoch was tested.
    """

    images: str
    accuracies: list[float]
    network: str
    protocol: str
    recipe: str
    seconds: float
    best: list[float] | None = None

    @classmethod
    def of(cls, images: str, evaluation: Evaluation, seconds: float) -> Self:
        """The score of an evaluation."""
        return cls(
            images,
            evaluation.accuracies.tolist(),
            evaluation.model,
            evaluation.protocol.name,
            evaluation.protocol.describe(),
            round(seconds, 3),
            None if evaluation.best is None else evaluation.best.tolist(),
        )

    @classmethod
    def read(cls, record: Any) -> Self:
        """The score that `record` wrote.

        Raises:
          ValueError: if an entry is missing: a file that was edited or damaged.
        """
        fields = dataclasses.fields(cls)
        needed = [field.name for field in fields if field.default is dataclasses.MISSING]
        if not isinstance(record, Mapping) or not all(name in record for name in needed):
            raise ValueError(f"a score must have {', '.join(needed)}, got {record}")
        return cls(**{field.name: record[field.name] for field in fields if field.name in record})

    @property
    def mean(self) -> float:
        """The mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def std(self) -> float:
        """The population standard deviation, as the papers print it."""
        return float(np.std(self.accuracies))

    def __str__(self) -> str:
        return percent(self.mean, self.std, len(self.accuracies))

    @property
    def best_text(self) -> str:
        """The best of several epochs, to read; empty where only the last was tested."""
        if self.best is None:
            return ""
        return percent(float(np.mean(self.best)), float(np.std(self.best)), len(self.best))

    @property
    def note(self) -> str:
        """All of it on a line, for progress."""
        best = f"; best epoch, selected on test data: {self.best_text}" if self.best else ""
        took = f"{count(len(self.accuracies), 'network')} in {duration(self.seconds)}"
        return f"{self}{best} ({took})"

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self) | {"mean": self.mean, "std": self.std}

    def summary(self) -> dict[str, Any]:
        """What a set's metadata holds of it."""
        best = {} if self.best is None else {"best_on_test_data": float(np.mean(self.best))}
        return {
            "mean": self.mean,
            "std": self.std,
            **best,
            "networks": len(self.accuracies),
            "network": self.network,
            "protocol": self.protocol,
        }


def percent(mean: float, std: float, networks: int) -> str:
    """An accuracy to read; one network has no deviation.

    >>> percent(0.5, 0.012, 5), percent(0.5, 0.0, 1)
    ('50.00 +- 1.20 %', '50.00 %')
    """
    return f"{100 * mean:.2f} " + (f"+- {100 * std:.2f} %" if networks > 1 else "%")


def networks_per_dispatch() -> int:
    """One at a time on a CPU, where it costs nothing and an interrupt takes effect sooner."""
    return 1 if jax.default_backend() == "cpu" else 5
