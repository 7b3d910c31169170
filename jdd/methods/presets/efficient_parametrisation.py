"""IDC: gradients of convolutions are matched from images that hold several tiles each."""

from __future__ import annotations

from typing import Literal, NamedTuple

from jdd import matching, synthetic
from jdd.augment import cutmix_augmentation, idc_augmentation
from jdd.data import uniform
from jdd.evaluate import idc_protocol
from jdd.methods.motion import on_real
from jdd.methods.norm_policy import batch_statistics
from jdd.methods.objectives import convolution_gradients
from jdd.methods.optimizers import class_by_class
from jdd.methods.presets.constants import data_name, default_strategy, networks_for
from jdd.methods.recipe import Recipe
from jdd.validation import at_least, one_of, positive

Metric = Literal["squared-error", "absolute-error", "mean-absolute-error", "layerwise-cosine"]

METRICS = {
    "squared-error": matching.squared_error,
    "absolute-error": matching.absolute_error,
    "mean-absolute-error": matching.mean_absolute_error,
    "layerwise-cosine": matching.layerwise_cosine,
}


class Constants(NamedTuple):
    """What the authors choose by data set.

    Attributes:
      metric: the distance between gradients.
      real_images: that a network trains on after each update.
      size: side of the images.
      base_size: the side that the base rate belongs to.
    """

    metric: Metric
    real_images: int
    size: int = 32
    base_size: int = 32


_CIFAR = Constants("squared-error", 2000)
_SVHN = Constants("squared-error", 500)
_BY_DATA = {
    "svhn": _SVHN,
    "svhn_cropped": _SVHN,
    "mnist": Constants("absolute-error", 500, 28, 28),
    "fashion_mnist": Constants("absolute-error", 500, 28),
    "tiny_imagenet": Constants("squared-error", 1000, 64),  # as in DREAM
    "digits": Constants("squared-error", 128, 8, 8),  # ours
}
_BASE_RATES = {"squared-error": 5e-3, "absolute-error": 1e-4}


def metric_of(data: str) -> Metric:
    """The authors' distance between gradients for a data set.

    >>> metric_of("cifar10"), metric_of("fashion_mnist")
    ('squared-error', 'absolute-error')
    """
    return _BY_DATA.get(data_name(data), _CIFAR).metric


def idc(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    factor: int = 2,
    metric: Metric | None = None,
    base_rate: float | None = None,
    image_size: int | None = None,
) -> Recipe:
    """Information-intensive Dataset Condensation: each stored image holds several training images.

    A stored image is a mosaic of factor x factor tiles, which decode to whole images. Gradients of the
    convolution kernels are matched class by class under one augmentation, and between two updates the
    network trains on real images, under CutMix. Pixels are clamped to [0, 1] once for each network.

    The learning rate of one class's step is base_rate * ipc / 10 * (image_size / s)**2, s = 28 on MNIST,
    32 elsewhere (and 8 on the digits); see ``methods.class_by_class``.

    Args:
      ipc: stored images per class, each of which makes factor**2 training images.
      data: name of the data set, which the authors' constants depend on.
      architecture: of the network that is matched on; one with convolutions.
      factor: tiles along each side of a stored image; 1 is the authors' IDC-I.
      metric: between gradients; None for the authors' choice by data set.
      base_rate: learning rate for 10 images per class; None for the authors': 0.005 for squared-error,
        0.0001 for absolute-error.
      image_size: side of the images, which the learning rate depends on; None for that of the data set
        by its name, 32 for an unknown name.

    Raises:
      ValueError: if ipc, factor or image_size is below 1, base_rate is not positive, or the metric is
        unknown or has no rate of the authors'.

    Reference: Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML
    2022, https://arxiv.org/abs/2205.14959. Deviations: real images of a class are drawn anew for each
    update, where the authors go through them in random order; initial images are drawn, where the authors
    take the first (``synthetic.first_of_class``); the update of all classes is one step
    (``methods.class_by_class``).

    >>> recipe = idc(10, data="cifar10")
    >>> recipe.synthetic, recipe.optimizer, recipe.motion.describe()[:13]
    (multi_formation(), class_by_class(0.005), 'on_real(2000,')
    """
    del architecture  # the authors' constants are the same for all
    at_least("ipc", ipc, 1)
    name = data_name(data)
    constants = _BY_DATA.get(name, _CIFAR)
    metric = constants.metric if metric is None else metric
    one_of("metric", metric, METRICS)
    if base_rate is None:
        if metric not in _BASE_RATES:
            raise ValueError(
                f"base_rate must be given with metric {metric!r}: the authors publish rates for "
                f"{' and '.join(_BASE_RATES)} alone"
            )
        base_rate = _BASE_RATES[metric]
    size = constants.size if image_size is None else at_least("image_size", image_size, 1)
    area = (size / constants.base_size) ** 2
    rate = positive("base_rate", base_rate) * (ipc / 10) * area
    # The authors use no CutMix and no cutout on MNIST where an image holds several tiles, ...
    is_plain = name == "mnist" and factor > 1
    training = idc_augmentation("color_crop")
    # ... and on SVHN evaluate a single tile per class under cutout without CutMix.
    has_cutout = constants is _SVHN and ipc == factor == 1
    strategy = default_strategy(data)
    if not has_cutout:
        strategy = strategy.replace("_cutout", "")
    return Recipe(
        name="idc",
        ipc=ipc,
        synthetic=synthetic.multi_formation(factor),
        initial=synthetic.from_real(),
        sampler=uniform(64),
        augment=idc_augmentation("color_crop" if is_plain else "color_crop_cutout"),
        objective=convolution_gradients(METRICS[metric]()),
        motion=on_real(
            constants.real_images,
            augment=training if is_plain else cutmix_augmentation(0.5, base=training),
        ),
        networks=networks_for(data, paper=2000, digits=10),
        updates=20 if name == "digits" else 100,
        optimizer=class_by_class(rate),
        norm_policy=batch_statistics(),
        protocol=idc_protocol(strategy, cutmix=0.0 if is_plain or has_cutout else 0.5),
        pool="SS",
    )
