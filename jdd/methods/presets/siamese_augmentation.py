"""DSA: gradient matching under one siamese differentiable augmentation."""

from __future__ import annotations

import dataclasses

from jdd import augment, synthetic
from jdd.evaluate import dsa_protocol
from jdd.methods.presets.constants import default_strategy
from jdd.methods.presets.gradient_matching import Distance, dc
from jdd.methods.recipe import Recipe


def dsa(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    strategy: str | None = None,
    distance: Distance = "layerwise-cosine",
) -> Recipe:
    """Differentiable Siamese Augmentation: gradients are matched class by class under one augmentation.

    `dc`, with one op and one parameter set per class and update for both sides, real initialisation,
    and augmentation (parameters per image) while the network trains.

    Args:
      ipc: images per class.
      data: name of the data set, which some of the paper's constants depend on.
      architecture: of the network that is matched on.
      strategy: ops of color, crop, cutout, flip, scale, rotate joined by "_", or "none"; None for all, without
        flip for digits.
      distance: between gradients.

    Raises:
      ValueError: if ipc is below 1, or the strategy or the distance is unknown.

    Reference: Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021,
    https://arxiv.org/abs/2102.08259.

    >>> dsa(1, data="mnist").augment
    dsa_augmentation('color_crop_cutout_scale_rotate')
    """
    strategy = default_strategy(data) if strategy is None else strategy
    return dataclasses.replace(
        dc(ipc, data=data, architecture=architecture, distance=distance),
        name="dsa",
        initial=synthetic.from_real(),
        augment=augment.dsa_or_none(strategy),
        protocol=dsa_protocol(strategy),
    )
