"""DCC: gradient matching with contrastive signals between classes."""

from __future__ import annotations

import functools
from collections.abc import Callable

from jax import Array

from jdd import augment, synthetic
from jdd.data.table import ClassTable
from jdd.matching import Stage, chain, collective, gradients, layerwise_cosine, siamese, switch
from jdd.methods.dc import image_sgd
from jdd.methods.dsa import dsa_objective
from jdd.methods.method import Method
from jdd.methods.network_matching import network_matching
from jdd.methods.norm_policy import NormPolicy
from jdd.methods.schedule import Loops, WarmUp, dcc_loops
from jdd.nn import Model
from jdd.streaming import Over
from jdd.validation import at_least


def dcc_objective(
    strategy: str = "none", *, distance: Stage | None = None, over_classes: Over = None
) -> Stage:
    r"""The distance between the gradients of whole sets, in place of a sum over classes.

    .. math:: D\Big(\frac1C \sum_c \nabla_\theta \ell(A_{\omega_c}(S_c)),\
              \frac1C \sum_c \nabla_\theta \ell(A_{\omega_c}(R_c))\Big)

    Args:
      strategy: of the siamese augmentation, drawn for each class; "none" for DC's base.
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      over_classes: see ``matching.per_class``.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. With one class it is DC's.

    Raises:
      ValueError: if the strategy names an unknown op, or over_classes is no strategy.

    Reference: Lee, Chun, Jung, Yun, Yoon, ICML 2022.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.arange(32.0).reshape(2, 1, 4, 4, 1), jnp.array([[0], [1]]))
    >>> network = lambda w, x: x.reshape(len(x), -1) @ w
    >>> context = Context(network, jnp.zeros((16, 2)), jax.random.key(0))
    >>> print(value_of(dcc_objective(), Pair(batch, batch), context).round(3))
    0.0
    """
    stages = chain(siamese(strategy), gradients())
    return chain(collective(stages, over_classes=over_classes), distance or layerwise_cosine())


def dcc(
    model: Model,
    ipc: int,
    *,
    warm_up: WarmUp | None = None,
    loops: Loops | None = None,
    start: Callable[[Array, ClassTable], Array] | None = None,
    learning_rate: float = 0.1,
    momentum: float = 0.5,
    real_batch: int = 256,
    distance: Stage | None = None,
    over_classes: Over = None,
    norm_policy: NormPolicy | None = None,
) -> Method:
    """Dataset Condensation with Contrastive signals, without augmentation.

    DC's class-wise objective while it warms up, then the collective one.

    Args:
      model: the architecture that is matched on.
      ipc: images per class.
      warm_up: when the class-wise objective is used; None for the paper's quarter of the networks
        (250 of 1000) and 10 updates.
      loops: the loop counts; None for the paper's (interpolated where it has none).
      start: initial images; None for random real images.
      learning_rate: of SGD on the images.
      momentum: of SGD on the images.
      real_batch: real images per class and update.
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      over_classes: see ``matching.per_class``.
      norm_policy: what BatchNorm does while gradients are matched; None for the paper's,
        ``frozen_statistics(16)``.

    Returns:
      The method as pure ``init`` and ``step``. The reported loss is per class while it warms up
      and the distance itself afterwards.

    Raises:
      ValueError: if ipc is below 1, or the warm-up is longer than the loops.

    Reference: Lee, Chun, Jung, Yun, Yoon, "Dataset Condensation with Contrastive Signals", ICML
    2022. Deviation: during warm-up its code logs the distance between class means of gradients.

    >>> from jdd.nn import convnet
    >>> dcc(convnet(10, (28, 28, 1)), 1).loops
    Loops(networks=1000, updates=10, net_epochs=5, interpolated=False)
    """
    at_least("ipc", ipc, 1)
    loops = loops or dcc_loops(ipc)
    schedule = _Schedule(warm_up or WarmUp.of(loops), loops)
    return network_matching(
        "dcc",
        model=model,
        objective=schedule.switch("none", distance, over_classes),
        synthetic=synthetic.pixels,
        start=start or functools.partial(synthetic.real, ipc=ipc),
        optimizer=image_sgd(learning_rate, momentum),
        loops=loops,
        real_batch=real_batch,
        norm_policy=norm_policy,
        is_sum_over_classes=schedule.is_warming_up,
    )


def dsac(
    model: Model,
    ipc: int,
    *,
    strategy: str = augment.STRATEGY,
    warm_up: WarmUp | None = None,
    loops: Loops | None = None,
    start: Callable[[Array, ClassTable], Array] | None = None,
    learning_rate: float = 0.1,
    momentum: float = 0.5,
    real_batch: int = 256,
    distance: Stage | None = None,
    over_classes: Over = None,
    norm_policy: NormPolicy | None = None,
) -> Method:
    """Dataset Condensation with Contrastive signals under siamese augmentation.

    `dcc` on DSA's base: each class has its own siamese op before the gradients are averaged, and
    the network trains under augmentation.

    Args:
      model: the architecture that is matched on.
      ipc: images per class.
      strategy: ops separated by "_" (the authors flip on every data set).
      warm_up: as in `dcc`.
      loops: as in `dcc`.
      start: initial images; None for random real images.
      learning_rate: of SGD on the images.
      momentum: of SGD on the images.
      real_batch: real images per class and update.
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      over_classes: see ``matching.per_class``.
      norm_policy: what BatchNorm does while gradients are matched; None for the paper's,
        ``frozen_statistics(16)``.

    Returns:
      The method as pure ``init`` and ``step``; the reported loss as in `dcc`.

    Raises:
      ValueError: if ipc is below 1, the strategy names an unknown op, or the warm-up is longer than
        the loops.

    Reference: Lee, Chun, Jung, Yun, Yoon, ICML 2022.

    >>> from jdd.nn import convnet
    >>> dsac(convnet(10, (28, 28, 1)), 10).loops.total_steps
    10000
    """
    at_least("ipc", ipc, 1)
    loops = loops or dcc_loops(ipc)
    schedule = _Schedule(warm_up or WarmUp.of(loops), loops)

    def net_augment(key: Array, images: Array) -> Array:
        return augment.dsa(key, images, strategy, siamese=False)

    return network_matching(
        "dsac",
        model=model,
        objective=schedule.switch(strategy, distance, over_classes),
        synthetic=synthetic.pixels,
        start=start or functools.partial(synthetic.real, ipc=ipc),
        optimizer=image_sgd(learning_rate, momentum),
        loops=loops,
        real_batch=real_batch,
        norm_policy=norm_policy,
        net_augment=net_augment,
        is_sum_over_classes=schedule.is_warming_up,
    )


class _Schedule:
    """The bi-level warm-up of given loops."""

    def __init__(self, warm_up: WarmUp, loops: Loops) -> None:
        warm_up.check(loops)
        self._is_over = functools.partial(warm_up.is_over, updates=loops.updates)

    def is_warming_up(self, step: Array) -> Array:
        return ~self._is_over(step)

    def switch(self, strategy: str, distance: Stage | None, over_classes: Over) -> Stage:
        class_wise = dsa_objective(strategy, distance=distance, over_classes=over_classes)
        joint = dcc_objective(strategy, distance=distance, over_classes=over_classes)
        return switch(self._is_over, class_wise, joint)
