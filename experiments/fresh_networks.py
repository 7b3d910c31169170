"""Shared by experiments that train fresh ConvNets on a distilled set by plain SGD, as methods do between updates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cells
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd import DistilledSet
from jdd.cli.options import option
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.training import SGD, TrainingState, train_epochs
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(cells.Options):
    """Options of such experiments."""

    data: Annotated[str, option("NAME", "The data set that the sets are of.")]
    networks: Annotated[int, option("N", "Fresh networks.")] = 3
    width: Annotated[int, option("CHANNELS", "Of the ConvNet.")] = 128

    def check(self, **least: int) -> None:
        """Raises a ``ValueError`` for an option below its least value."""
        for name, value in {"networks": 1, "width": 1, **least}.items():
            at_least(f"--{name}", getattr(self, name), value)


def load_set(path: Path) -> DistilledSet:
    """The set of a run directory, or of a .safetensors file."""
    return DistilledSet.load(path / "set.safetensors" if path.is_dir() else path)


def training(model: Model, distilled: DistilledSet, sgd: SGD, epochs: int) -> Callable[..., Any]:
    """A compiled ``train(key, variables) -> variables``: some epochs on a set, without momentum."""
    images, labels = jnp.asarray(distilled.normalised()), jnp.asarray(distilled.labels)

    @jax.jit
    def train(key: Array, variables: Variables) -> Variables:
        state = TrainingState.begin(variables, sgd)
        return train_epochs(key, model, state, images, labels, sgd, epochs=epochs)[0].variables

    return train


def of_each_network(options: Options, measure: Callable[[Array], Any]) -> np.ndarray:
    """``measure(key)`` of each fresh network, stacked."""
    keys = jax.random.split(jax.random.key(options.seed), options.networks)
    return np.stack([np.asarray(measure(key)) for key in keys])
