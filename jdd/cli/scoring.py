"""The numbers of a report: a set, random real images, the whole real set. Prints nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd import evaluate
from jdd.data import ClassTable, take
from jdd.nn import Model

OnNetwork = Callable[[int, int], None]

# A few passes with the optimiser of the papers: where the road leads, not a record.
WHOLE = evaluate.Protocol("whole set", epochs=14)


@dataclasses.dataclass(frozen=True)
class Score:
    """Test accuracies of networks trained on some images.

    Attributes:
      images: what they were trained on, in words.
      accuracies: of each network, fractions.
      protocol: the name of the protocol.
      recipe: the protocol in words.
      seconds: how long it took.
    """

    images: str
    accuracies: list[float]
    protocol: str
    recipe: str
    seconds: float

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

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return dataclasses.asdict(self) | {"mean": self.mean, "std": self.std}


def percent(mean: float, std: float, networks: int) -> str:
    """An accuracy to read; one network has no deviation.

    >>> percent(0.5, 0.012, 5), percent(0.5, 0.0, 1)
    ('50.00 +- 1.20 %', '50.00 %')
    """
    return f"{100 * mean:.2f} " + (f"+- {100 * std:.2f} %" if networks > 1 else "%")


def networks_per_dispatch() -> int:
    """One at a time on a CPU, where it costs nothing and a keypress is heard sooner."""
    return 1 if jax.default_backend() == "cpu" else 5


def of_set(
    key: Array,
    model: Model,
    images: Array,
    labels: Array,
    test: ClassTable,
    protocol: evaluate.Protocol,
    networks: int,
    on_network: OnNetwork,
) -> np.ndarray:
    """Accuracies of networks trained on labelled images (normalised as the test table is)."""
    return evaluate.evaluate(
        key,
        model,
        images,
        labels,
        test,
        protocol,
        num_networks=networks,
        networks_per_dispatch=networks_per_dispatch(),
        report=on_network,
    ).accuracies


def of_random_real(
    key: Array,
    model: Model,
    train: ClassTable,
    test: ClassTable,
    ipc: int,
    protocol: evaluate.Protocol,
    *,
    sets: int,
    networks: int,
    on_network: OnNetwork,
) -> np.ndarray:
    """Accuracies on random real images: ``networks`` on each of ``sets`` fresh subsets."""
    found = []
    for i in range(sets):
        draw_key, key_of_set = jax.random.split(jax.random.fold_in(key, i))
        images, labels = evaluate.random_real(draw_key, train, ipc)

        def done(n: int, _: int, before: int = i * networks) -> None:
            on_network(before + n, sets * networks)

        found.append(of_set(key_of_set, model, images, labels, test, protocol, networks, done))
    return np.concatenate(found)


def of_whole(
    key: Array,
    model: Model,
    train: ClassTable,
    test: ClassTable,
    networks: int,
    on_network: OnNetwork,
) -> np.ndarray:
    """Accuracies of networks trained on all real images with the recipe ``WHOLE``."""
    n = train.images.shape[0]
    images = take(train, jnp.arange(n))
    labels = jnp.repeat(jnp.arange(train.num_classes), train.count, total_repeat_length=n)
    return of_set(key, model, images, labels, test, WHOLE, networks, on_network)
