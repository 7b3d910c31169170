"""DC: dataset condensation with gradient matching."""

from __future__ import annotations

from typing import Literal

from jdd import synthetic
from jdd.evaluate import dc_protocol
from jdd.matching import Stage, flat_cosine, layerwise_cosine, squared_error
from jdd.methods.motion import on_synthetic
from jdd.methods.objectives import class_gradients
from jdd.methods.optimizers import sgd
from jdd.methods.presets.constants import (
    data_name,
    dc_loops,
    gradient_learning_rate,
    networks_for,
)
from jdd.methods.recipe import Recipe

Distance = Literal["layerwise-cosine", "flat-cosine", "squared-error"]


def gradient_distance(name: Distance) -> Stage | None:
    """A distance between gradients by its name; None for the layer-wise cosine, the default."""
    stages = {"flat-cosine": flat_cosine, "squared-error": squared_error}
    stages["layerwise-cosine"] = layerwise_cosine
    if name not in stages:
        raise ValueError(f"distance must be one of {', '.join(sorted(stages))}, got {name!r}")
    return None if name == "layerwise-cosine" else stages[name]()


def dc(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    distance: Distance = "layerwise-cosine",
) -> Recipe:
    """Dataset Condensation: gradients of real and synthetic images are matched class by class.

    Args:
      ipc: images per class.
      data: name of the data set, which some of the paper's constants depend on.
      architecture: of the network that is matched on.
      distance: between gradients.

    Raises:
      ValueError: if ipc is below 1, or the distance is unknown.

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021,
    https://arxiv.org/abs/2006.05929. Deviation: 1000 networks, not 1001.

    >>> dc(10, data="cifar10").updates
    10
    """
    loops = dc_loops(ipc)
    return Recipe(
        name="dc",
        ipc=ipc,
        initial=synthetic.from_noise(),
        objective=class_gradients(gradient_distance(distance)),
        motion=on_synthetic(loops.epochs),
        networks=networks_for(data, paper=1000, digits=30),
        updates=loops.updates,
        optimizer=sgd(gradient_learning_rate(architecture), momentum=0.5),
        protocol=dc_protocol(data_name(data)),
    )
