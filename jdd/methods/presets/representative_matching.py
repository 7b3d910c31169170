"""DREAM and DREAM+: IDC with representative real images, and with embeddings matched beside gradients."""

from __future__ import annotations

import dataclasses

from jdd.data import representative
from jdd.methods.clusters import from_clusters
from jdd.methods.objectives import bidirectional_gradients
from jdd.methods.presets.constants import data_name
from jdd.methods.presets.efficient_parametrisation import METRICS, Metric, idc, metric_of
from jdd.methods.recipe import Recipe


def dream(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    factor: int = 2,
    metric: Metric | None = None,
    base_rate: float | None = None,
    image_size: int | None = None,
    every: int = 10,
    subsample: int = 1,
) -> Recipe:
    """Dataset distillation by REpresentAtive Matching: `idc` with real images that represent their class.

    The features of each class are clustered every few updates, and the images nearest to the centroids are
    matched. Synthetic images start at such images too.

    Args:
      ipc, data, architecture, factor, metric, base_rate, image_size: as in `idc`.
      every: updates between two clusterings.
      subsample: images of each cluster.

    Raises:
      ValueError: as `idc`, or if the real batch is no multiple of subsample.

    Reference: Liu, Gu, Wang, Zhu, Jiang, You, "DREAM: Efficient Dataset Distillation by Representative
    Matching", ICCV 2023, https://arxiv.org/abs/2302.14416. Deviations: those of `idc` and of
    ``data.representative``.

    >>> recipe = dream(10, data="cifar10")
    >>> recipe.sampler, recipe.initial
    (representative(), from_clusters())
    """
    base = idc(
        ipc,
        data=data,
        architecture=architecture,
        factor=factor,
        metric=metric,
        base_rate=base_rate,
        image_size=image_size,
    )
    # Real images per class; the authors' batch of the network's training too. Ours on the digits.
    size = {"digits": 32, "tiny_imagenet": 64}.get(data_name(data), 128)
    return dataclasses.replace(
        base,
        name="dream",
        sampler=representative(size, every=every, subsample=subsample),
        motion=base.motion.with_arguments(batch_size=size),
        initial=from_clusters(),
    )


def dream_plus(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    factor: int = 2,
    metric: Metric | None = None,
    base_rate: float | None = None,
    image_size: int | None = None,
    every: int = 10,
    subsample: int = 1,
    embedding_weight: float = 1.0,
) -> Recipe:
    """DREAM+: `dream` with mean embeddings matched beside gradients, from one pass.

    Every network trains on the real set for an epoch before its first clustering, and so does the one
    whose features choose the start.

    Args:
      ipc, data, architecture, factor, metric, base_rate, image_size, every, subsample: as in
        `dream`.
      embedding_weight: of the distance between mean embeddings.

    Raises:
      ValueError: as `dream`, or if the weight is negative or not finite.

    Reference: Liu et al., "DREAM+: Efficient Dataset Distillation by Bidirectional Representative Matching",
    https://arxiv.org/abs/2310.15052.

    >>> recipe = dream_plus(10, data="fashion_mnist")
    >>> recipe.objective
    bidirectional_gradients(absolute_error())
    """
    recipe = dream(
        ipc,
        data=data,
        architecture=architecture,
        factor=factor,
        metric=metric,
        base_rate=base_rate,
        image_size=image_size,
        every=every,
        subsample=subsample,
    )
    motion = recipe.motion.with_arguments(first_epochs=1)
    distance = METRICS[metric_of(data) if metric is None else metric]()
    return dataclasses.replace(
        recipe,
        name="dream-plus",
        objective=bidirectional_gradients(distance, embedding_weight=embedding_weight),
        motion=motion,
        initial=from_clusters(motion=motion),
    )
