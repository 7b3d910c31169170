"""Augmentations as values, for recipes and protocols."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from numbers import Real
from typing import Any

import jax
from jax import Array

from jdd.augment.cutmix import cutmix
from jdd.augment.dc import DC_OPS, DC_STRATEGY, dc_augment
from jdd.augment.dsa import STRATEGY, dsa, parse_strategy
from jdd.augment.idc import IDC_STRATEGY, idc_augment
from jdd.choice import Choice, register
from jdd.validation import positive


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Augmentation(Choice):
    """A random transform of images, applied before they enter a network.

    Attributes:
      per_sample: ``per_sample(key, batch) -> batch``, for training. Each image gets its own parameters, and
        labels may change too (CutMix). The batch is a ``jdd.data.Batch``.
      siamese: ``siamese(key, images) -> images``, for matching. The whole batch shares one set of
        parameters, which depends on the key alone. None if the augmentation has no such form.
      name: "none", "dsa", "dc", "idc", the last with "cutmix", or any other name.
      strategy: names of its ops, joined by "_"; empty if it has none.
      mixes_labels: whether ``per_sample`` needs labels as probabilities ``[n, K]``; see `augmented`.
      of_tests: ``of_tests(images) -> images``, of a batch of test images, for networks that train under this
        augmentation; None where test images stay as they are.

    >>> dsa_augmentation("crop_flip").name
    'dsa'
    """

    per_sample: Callable[[Array, Any], Any]
    siamese: Callable[[Array, Array], Array] | None
    name: str
    strategy: str = ""
    mixes_labels: bool = False
    of_tests: Callable[[Array], Array] | None = None

    @property
    def is_none(self) -> bool:
        """Whether the augmentation leaves images as they are."""
        return self.name == "none"

    def augmented(self, key: Array, batch: Any, num_classes: int) -> Any:
        """A minibatch after ``per_sample``; labels become probabilities where they are mixed.

        >>> from jdd.data.batch import Batch
        >>> batch = Batch(jax.numpy.ones((2, 8, 8, 1)), jax.numpy.array([0, 1]))
        >>> cutmix_augmentation().augmented(jax.random.key(0), batch, 3).labels.shape
        (2, 3)
        """
        if self.mixes_labels and batch.labels.ndim == 1:
            soft = jax.nn.one_hot(batch.labels, num_classes, dtype=batch.images.dtype)
            batch = batch._replace(labels=soft)
        return self.per_sample(key, batch)


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


@register
def idc_augmentation(strategy: str = IDC_STRATEGY) -> Augmentation:
    """IDC's: flip, color and cutout always, and one of the other ops (``jdd.augment.idc_augment``).

    Args:
      strategy: ops of color, crop, cutout, flip, scale, rotate, joined by "_".

    Raises:
      ValueError: if the strategy names an unknown op, or none (use `no_augmentation`).

    Reference: the code of Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959.

    >>> idc_augmentation()
    idc_augmentation()
    """
    if not parse_strategy(strategy):
        raise ValueError("idc_augmentation needs at least one op; no_augmentation() has none")
    return Augmentation(
        of_images(lambda key, images: idc_augment(key, images, strategy, siamese=False)),
        lambda key, images: idc_augment(key, images, strategy, siamese=True),
        "idc",
        strategy,
    )


@register
def cutmix_augmentation(
    probability: float = 0.5, beta: float = 1.0, base: Augmentation | None = None
) -> Augmentation:
    """CutMix on some of the batches, after another augmentation (``jdd.augment.cutmix``); never siamese.

    Args:
      probability: of mixing a batch.
      beta: the share of the area that images keep is of Beta(beta, beta).
      base: what images go through before; None for nothing.

    Raises:
      ValueError: if the probability is not from 0 to 1, beta is not positive, or base is no
        augmentation.

    Reference: Yun et al., ICCV 2019, https://arxiv.org/abs/1905.04899.

    >>> cutmix_augmentation(base=idc_augmentation("color_crop"))
    cutmix_augmentation(base=idc_augmentation('color_crop'))
    """
    if not isinstance(probability, Real) or not 0 <= probability <= 1:
        raise ValueError(f"probability must be from 0 to 1, got {probability!r}")
    positive("beta", beta)
    if base is not None and not isinstance(base, Augmentation):
        raise ValueError(f"base must be an Augmentation, got {base!r}")
    first = no_augmentation() if base is None else base

    def per_sample(key: Array, batch: Any) -> Any:
        base_key, mix_key = jax.random.split(key)
        batch = first.per_sample(base_key, batch)
        return cutmix(mix_key, batch, probability=probability, beta=beta)

    mixing = f"cutmix {probability:g}"
    name = mixing if first.is_none else f"{first.name} + {mixing}"
    return Augmentation(per_sample, None, name, first.strategy, mixes_labels=True)


@register
def batch_standardised(base: Augmentation | None = None) -> Augmentation:
    """Each batch minus its mean and divided by its standard deviation, before another augmentation.

    Both are one number for the whole batch. So a network sees an image differently in another batch.

    Args:
      base: what images go through after that; None for nothing.

    Raises:
      ValueError: if base is no augmentation.

    Reference: the code of Liu et al., "Dataset Distillation via Factorization", NeurIPS 2022
    (https://arxiv.org/abs/2210.16774), where networks are trained and tested on such batches, and experts
    too. The paper does not mention it.

    >>> batch_standardised(dsa_augmentation()).name
    'batch-standardised + dsa'
    """
    if base is not None and not isinstance(base, Augmentation):
        raise ValueError(f"base must be an Augmentation, got {base!r}")
    inner = no_augmentation() if base is None else base
    siamese = inner.siamese
    return Augmentation(
        lambda key, batch: inner.per_sample(key, batch._replace(images=standardised(batch.images))),
        None if siamese is None else lambda key, images: siamese(key, standardised(images)),
        "batch-standardised" if inner.is_none else f"batch-standardised + {inner.name}",
        inner.strategy,
        inner.mixes_labels,
        of_tests=standardised,
    )


def standardised(images: Array) -> Array:
    """A batch minus its mean, divided by its standard deviation (of n - 1): one number each.

    >>> import jax.numpy as jnp
    >>> standardised(jnp.array([[1.0], [2.0], [3.0]])).ravel().tolist()
    [-1.0, 0.0, 1.0]
    """
    return (images - images.mean()) / images.std(ddof=1)


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
