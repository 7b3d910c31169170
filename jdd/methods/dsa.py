"""DSA: gradient matching under one siamese differentiable augmentation."""

from __future__ import annotations

import functools
from collections.abc import Callable

from jax import Array

from jdd import augment, synthetic
from jdd.data.table import ClassTable
from jdd.matching import Stage, chain, gradients, layerwise_cosine, per_class, siamese
from jdd.methods.dc import image_sgd
from jdd.methods.method import Method
from jdd.methods.network_matching import network_matching
from jdd.methods.norm_policy import NormPolicy
from jdd.methods.schedule import Loops, dc_loops
from jdd.nn import Model
from jdd.streaming import Over
from jdd.validation import at_least


def dsa_objective(
    strategy: str = augment.STRATEGY,
    *,
    distance: Stage | None = None,
    over_classes: Over = None,
) -> Stage:
    r"""DC's objective with both sides of a class under the same augmentation.

    .. math:: \sum_c D\big(\nabla_\theta \ell(A_{\omega_c}(S_c)), \nabla_\theta \ell(A_{\omega_c}(R_c))\big)

    Args:
      strategy: ops separated by "_".
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      over_classes: see ``matching.per_class``.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar.

    Raises:
      ValueError: if the strategy names an unknown op, or over_classes is no strategy.

    Reference: Zhao, Bilen, ICML 2021, equation 3.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((2, 1, 4, 4, 1)), jnp.array([[0], [1]]))
    >>> network = lambda w, x: x.reshape(len(x), -1) @ w
    >>> context = Context(network, jnp.zeros((16, 2)), jax.random.key(0))
    >>> print(value_of(dsa_objective("crop_cutout"), Pair(batch, batch), context).round(3))
    0.0
    """
    stages = (siamese(strategy), gradients(), distance or layerwise_cosine())
    return per_class(chain(*stages), over_classes=over_classes)


def dsa(
    model: Model,
    ipc: int,
    *,
    strategy: str = augment.STRATEGY,
    loops: Loops | None = None,
    start: Callable[[Array, ClassTable], Array] | None = None,
    learning_rate: float = 0.1,
    momentum: float = 0.5,
    real_batch: int = 256,
    distance: Stage | None = None,
    over_classes: Over = None,
    norm_policy: NormPolicy | None = None,
) -> Method:
    """Dataset Condensation with Differentiable Siamese Augmentation.

    DC, with one op and one parameter set per class and update for both sides, real initialisation,
    and augmentation (own parameters per image) while the network trains.

    Args:
      model: the architecture that is matched on.
      ipc: images per class.
      strategy: ops separated by "_"; without "flip" for digits.
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
      The method as pure ``init`` and ``step``.

    Raises:
      ValueError: as for ``dc``, or if the strategy names an unknown op.

    Reference: Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML
    2021.

    >>> from jdd.nn import convnet
    >>> dsa(convnet(10, (28, 28, 1)), 1).loops.total_steps
    1000
    """
    at_least("ipc", ipc, 1)

    def net_augment(key: Array, images: Array) -> Array:
        return augment.dsa(key, images, strategy, siamese=False)

    return network_matching(
        "dsa",
        model=model,
        objective=dsa_objective(strategy, distance=distance, over_classes=over_classes),
        synthetic=synthetic.pixels,
        start=start or functools.partial(synthetic.real, ipc=ipc),
        optimizer=image_sgd(learning_rate, momentum),
        loops=loops or dc_loops(ipc),
        real_batch=real_batch,
        norm_policy=norm_policy,
        net_augment=net_augment,
    )
