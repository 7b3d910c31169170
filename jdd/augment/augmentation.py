"""Augmentations as values, for recipes and protocols."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jax import Array

from jdd.augment.dc import DC_OPS, DC_STRATEGY, dc_augment
from jdd.augment.dsa import STRATEGY, dsa, parse_strategy
from jdd.choice import Choice, register


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Augmentation(Choice):
    """A random transform of images, applied before they enter a network.

    Attributes:
      per_sample: ``per_sample(key, batch) -> batch``, for training. Each image gets its own parameters, and
        labels may change too (CutMix). The batch is a ``jdd.data.Batch``.
      siamese: ``siamese(key, images) -> images``, for matching. The whole batch shares one set of
        parameters, which depends on the key alone. None if the augmentation has no such form.
      name: "none", "dsa", "dc" or any other name.
      strategy: names of its ops, joined by "_"; empty if it has none.

    >>> dsa_augmentation("crop_flip").name
    'dsa'
    """

    per_sample: Callable[[Array, Any], Any]
    siamese: Callable[[Array, Array], Array] | None
    name: str
    strategy: str = ""

    @property
    def is_none(self) -> bool:
        """Whether the augmentation leaves images as they are."""
        return self.name == "none"


def of_images(function: Callable[[Array, Array], Array]) -> Callable[[Array, Any], Any]:
    """Makes a function of batches from a function of images; labels and weights stay.

    Args:
      function: ``(key, images) -> images``.

    Returns:
      ``(key, batch) -> batch``.

    >>> import jax.numpy as jnp
    >>> from jdd.data import Batch
    >>> double = of_images(lambda key, images: 2 * images)
    >>> print(double(None, Batch(jnp.ones(2), jnp.arange(2))).images)
    [2. 2.]
    """
    return lambda key, batch: batch._replace(images=function(key, batch.images))


@register
def no_augmentation() -> Augmentation:
    """No augmentation: images stay as they are.

    Returns:
      The augmentation.

    >>> no_augmentation().is_none
    True
    """
    return Augmentation(lambda key, batch: batch, lambda key, images: images, "none")


@register
def dsa_augmentation(strategy: str = STRATEGY) -> Augmentation:
    """DSA: one op per call, drawn from the strategy (``jdd.augment.dsa``).

    Args:
      strategy: names out of color, crop, cutout, flip, scale and rotate, joined by "_".

    Returns:
      The augmentation.

    Raises:
      ValueError: if the strategy names an unknown op or no op (use `no_augmentation`).

    Reference: Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021,
    https://arxiv.org/abs/2102.08259.

    >>> dsa_augmentation("crop_flip").strategy
    'crop_flip'
    """
    if not parse_strategy(strategy):
        raise ValueError("dsa_augmentation needs at least one op; no_augmentation() has none")
    return Augmentation(
        of_images(lambda key, images: dsa(key, images, strategy, siamese=False)),
        lambda key, images: dsa(key, images, strategy, siamese=True),
        "dsa",
        strategy,
    )


@register
def dc_augmentation(strategy: str = DC_STRATEGY) -> Augmentation:
    """DC's augmentation for evaluation: one op per image (``jdd.augment.dc_augment``), without siamese form.

    Args:
      strategy: names out of crop, scale, rotate and noise, joined by "_".

    Returns:
      The augmentation.

    Raises:
      ValueError: if the strategy names an unknown op or no op (use `no_augmentation`).

    Reference: the code of Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021,
    https://arxiv.org/abs/2006.05929.

    >>> dc_augmentation().strategy
    'crop_scale_rotate'
    """
    if not parse_strategy(strategy, DC_OPS):
        raise ValueError("dc_augmentation needs at least one op; no_augmentation() has none")
    per_sample = of_images(lambda key, images: dc_augment(key, images, strategy))
    return Augmentation(per_sample, None, "dc", strategy)


def dsa_or_none(strategy: str) -> Augmentation:
    """`dsa_augmentation`, or `no_augmentation` for the strategy "none".

    Args:
      strategy: as in `dsa_augmentation`, or "none".

    Returns:
      The augmentation.

    Raises:
      ValueError: if the strategy names an unknown op.

    >>> dsa_or_none("none")
    no_augmentation()
    """
    return dsa_augmentation(strategy) if parse_strategy(strategy) else no_augmentation()
