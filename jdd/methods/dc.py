"""DC: dataset condensation with gradient matching."""

from __future__ import annotations

import functools
from collections.abc import Callable

import optax
from jax import Array

from jdd import synthetic
from jdd.data.table import ClassTable
from jdd.matching import Stage, chain, gradients, layerwise_cosine, per_class
from jdd.methods.method import Method
from jdd.methods.network_matching import network_matching
from jdd.methods.norm_policy import NormPolicy
from jdd.methods.schedule import Loops, dc_loops
from jdd.nn import Model
from jdd.streaming import Over
from jdd.validation import at_least, positive, share


def dc_objective(*, distance: Stage | None = None, over_classes: Over = None) -> Stage:
    r"""Sum over classes of the distance between real and synthetic gradients.

    .. math:: \sum_c D\big(\nabla_\theta \ell(S_c; \theta), \nabla_\theta \ell(R_c; \theta)\big)

    Args:
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      over_classes: see ``matching.per_class``.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar.

    Raises:
      ValueError: if over_classes is no strategy.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021, equation 9.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((2, 1, 4)), jnp.array([[0], [1]]))
    >>> context = Context(lambda w, x: x @ w, jnp.zeros((4, 2)), jax.random.key(0))
    >>> print(value_of(dc_objective(), Pair(batch, batch), context).round(3))
    0.0
    """
    return per_class(chain(gradients(), distance or layerwise_cosine()), over_classes=over_classes)


def image_sgd(learning_rate: float, momentum: float) -> optax.GradientTransformation:
    """The optimiser of the images in DC and DSA.

    Raises:
      ValueError: for a rate that is not positive, or a momentum outside [0, 1).

    >>> image_sgd(-0.1, 0.5)
    Traceback (most recent call last):
        ...
    ValueError: learning_rate must be above 0 and finite, got -0.1
    """
    return optax.sgd(positive("learning_rate", learning_rate), share("momentum", momentum))


def dc(
    model: Model,
    ipc: int,
    *,
    loops: Loops | None = None,
    start: Callable[[Array, ClassTable], Array] | None = None,
    learning_rate: float = 0.1,
    momentum: float = 0.5,
    real_batch: int = 256,
    distance: Stage | None = None,
    over_classes: Over = None,
    norm_policy: NormPolicy | None = None,
) -> Method:
    """Dataset Condensation: gradients of real and synthetic batches, class by class.

    Args:
      model: the architecture that is matched on.
      ipc: images per class.
      loops: the loop counts; None for the paper's (interpolated where it has none).
      start: initial images; None for normal noise.
      learning_rate: of SGD on the images (the authors use 0.01 with an MLP).
      momentum: of SGD on the images.
      real_batch: real images per class and update.
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      over_classes: see ``matching.per_class``.
      norm_policy: what BatchNorm does while gradients are matched; None for the paper's,
        ``frozen_statistics(16)``.

    Returns:
      The method as pure ``init`` and ``step``.

    Raises:
      ValueError: if ipc, a batch or a loop count is below 1, the learning rate is not positive, or the
        momentum not in [0, 1).

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021.

    >>> from jdd.nn import convnet
    >>> dc(convnet(10, (28, 28, 1)), 10).loops
    Loops(networks=1000, updates=10, net_epochs=50, interpolated=False)
    """
    at_least("ipc", ipc, 1)
    return network_matching(
        "dc",
        model=model,
        objective=dc_objective(distance=distance, over_classes=over_classes),
        synthetic=synthetic.pixels,
        start=start or functools.partial(synthetic.noise, ipc=ipc),
        optimizer=image_sgd(learning_rate, momentum),
        loops=loops or dc_loops(ipc),
        real_batch=real_batch,
        norm_policy=norm_policy,
    )
