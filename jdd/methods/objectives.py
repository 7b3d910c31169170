"""The objectives of the papers: compositions of stages that a recipe names in a word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import jax.numpy as jnp
from jax import Array

from jdd.choice import register
from jdd.matching import (
    Schedule,
    Stage,
    add,
    batch_mean,
    chain,
    characteristic_function,
    collective,
    convolutions_only,
    discrimination,
    each_against_all,
    embeddings,
    feature_alignment,
    features,
    gradients,
    gradients_and_embeddings,
    joint_embeddings,
    layerwise_cosine,
    mean_embedding,
    on_embeddings,
    on_gradients,
    per_class,
    scale,
    siamese,
    squared_error,
    switch,
    synthetic_at_most,
    when_coupled,
)
from jdd.validation import at_least, count, positive


@register
def class_gradients(distance: Stage | None = None, *, strategy: str | None = None) -> Stage:
    r"""Sum over classes of the distance between real and synthetic gradients (DC, DSA).

    .. math:: \sum_c D\big(\nabla_\theta \ell(A_{\omega_c}(S_c)), \nabla_\theta \ell(A_{\omega_c}(R_c))\big)

    Args:
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      strategy: of the siamese augmentation, drawn for each class; None for the context's, which is the
        recipe's.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar.

    Raises:
      ValueError: if the strategy names an unknown op.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021, equation 9, https://arxiv.org/abs/2006.05929; with
    augmentation Zhao, Bilen, ICML 2021, equation 3, https://arxiv.org/abs/2102.08259.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((2, 1, 4, 4, 1)), jnp.array([[0], [1]]))
    >>> network = lambda w, x: x.reshape(len(x), -1) @ w
    >>> context = Context(network, jnp.zeros((16, 2)), jax.random.key(0))
    >>> objective = class_gradients(strategy="crop_cutout")
    >>> print(value_of(objective, Pair(batch, batch), context).round(3))
    0.0
    """
    return per_class(chain(siamese(strategy), gradients(), distance or layerwise_cosine()))


@register
def convolution_gradients(
    distance: Stage | None = None, *, at_most: int = 128, strategy: str | None = None
) -> Stage:
    r"""Sum over classes of the distance between gradients of the convolution kernels alone (IDC).

    .. math:: \sum_c D\big(\nabla_{\text{kernels}}\, \ell(A_{\omega_c}(S_c)),
              \nabla_{\text{kernels}}\, \ell(A_{\omega_c}(R_c))\big)

    Args:
      distance: a stage on a pair of gradients; None for the squared error.
      at_most: synthetic images of a class that an update matches, drawn at random where there are more.
      strategy: as in `class_gradients`.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. It needs a network with
      convolutions.

    Raises:
      ValueError: if at_most is below 1, or the strategy names an unknown op.

    Reference: Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959.

    >>> from jdd.matching import absolute_error
    >>> convolution_gradients(absolute_error())
    convolution_gradients(absolute_error())
    """
    stages = (siamese(strategy), gradients(), convolutions_only(), distance or squared_error())
    return per_class(chain(synthetic_at_most(at_most), *stages))


@register
def bidirectional_gradients(
    distance: Stage | None = None,
    *,
    embedding_weight: float = 1.0,
    at_most: int = 128,
    strategy: str | None = None,
) -> Stage:
    r"""`convolution_gradients`, and the distance between mean embeddings, from one pass (DREAM+).

    .. math:: \sum_c D\big(\nabla_{\text{kernels}}\, \ell(A_{\omega_c}(S_c)),
              \nabla_{\text{kernels}}\, \ell(A_{\omega_c}(R_c))\big)
              + \lambda D\big(\overline{\psi_\theta(A_{\omega_c}(S_c))},
              \overline{\psi_\theta(A_{\omega_c}(R_c))}\big)

    Args:
      distance: a stage on a pair of pytrees, for both; None for the squared error.
      embedding_weight: lambda.
      at_most, strategy: as in `convolution_gradients`.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. It needs a network with
      convolutions and embeddings.

    Raises:
      ValueError: if the weight is negative or not finite, at_most is below 1, or the strategy names an unknown
        op.

    Reference: Liu et al., "DREAM+: Efficient Dataset Distillation by Bidirectional Representative Matching",
    https://arxiv.org/abs/2310.15052.

    >>> bidirectional_gradients(embedding_weight=0.1)
    bidirectional_gradients(embedding_weight=0.1)
    """
    if not isinstance(embedding_weight, Real) or not 0 <= float(embedding_weight) < math.inf:
        raise ValueError(
            f"embedding_weight must be at least 0 and finite, got {embedding_weight!r}"
        )
    distance = distance or squared_error()
    of_gradients = on_gradients(chain(convolutions_only(), distance))
    of_embeddings = on_embeddings(chain(batch_mean(), distance))
    terms = add(of_gradients, scale(embedding_weight, of_embeddings))
    stages = (siamese(strategy), gradients_and_embeddings(), terms)
    return per_class(chain(synthetic_at_most(at_most), *stages))


@register
def collective_gradients(distance: Stage | None = None, *, strategy: str | None = None) -> Stage:
    r"""The distance between the gradients of whole sets, in place of a sum over classes (DCC).

    .. math:: D\Big(\frac1C \sum_c \nabla_\theta \ell(A_{\omega_c}(S_c)),\
              \frac1C \sum_c \nabla_\theta \ell(A_{\omega_c}(R_c))\Big)

    Args:
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      strategy: as in `class_gradients`.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. With one class it is
      `class_gradients`.

    Raises:
      ValueError: if the strategy names an unknown op.

    Reference: Lee, Chun, Jung, Yun, Yoon, ICML 2022, https://arxiv.org/abs/2202.02916.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.arange(32.0).reshape(2, 1, 4, 4, 1), jnp.array([[0], [1]]))
    >>> network = lambda w, x: x.reshape(len(x), -1) @ w
    >>> context = Context(network, jnp.zeros((16, 2)), jax.random.key(0))
    >>> print(value_of(collective_gradients(), Pair(batch, batch), context).round(3))
    0.0
    """
    stages = chain(siamese(strategy), gradients())
    return chain(collective(stages), distance or layerwise_cosine())


@register
def after_warm_up(networks: int, updates: int, *, updates_per_network: int) -> Schedule:
    """0 while a run warms up, then 1: the index for ``matching.switch``.

    A run warms up in the first ``updates`` updates of each of the first ``networks`` networks.

    Args:
      networks: how many networks warm up.
      updates: how many updates of each.
      updates_per_network: of the recipe.

    Raises:
      ValueError: if a number is negative, or updates is above updates_per_network; from ``build``, if the recipe
        has fewer networks, or another number of updates of each.

    Reference: the bi-level warm-up of DCC, https://arxiv.org/abs/2202.02916.

    >>> schedule = after_warm_up(2, 1, updates_per_network=3)
    >>> [int(schedule(step)) for step in range(8)]
    [0, 1, 1, 0, 1, 1, 1, 1]
    """
    at_least("networks", networks, 0)
    at_least("updates", updates, 0)
    at_least("updates_per_network", updates_per_network, 1)
    if updates > updates_per_network:
        raise ValueError(
            f"updates of the warm-up must be at most the {updates_per_network} updates of a network, "
            f"got {updates}"
        )

    def is_over(step: Array | int) -> Array:
        step = jnp.asarray(step)
        over = (step // updates_per_network >= networks) | (step % updates_per_network >= updates)
        return over.astype(jnp.int32)

    def check(networks_of_run: int, updates_of_run: int) -> None:
        if not networks or not updates:
            return
        if updates_of_run != updates_per_network or networks_of_run < networks:
            raise ValueError(
                f"the warm-up is {count(networks, 'network')} of {count(updates_per_network, 'update')}, the "
                f"recipe has {count(networks_of_run, 'network')} of {count(updates_of_run, 'update')}: give "
                "both numbers to the preset, or replace the objective too"
            )

    return Schedule(is_over, check)


@register
def warmed_up_gradients(
    warm_up: Schedule, distance: Stage | None = None, *, strategy: str | None = None
) -> Stage:
    """`class_gradients` during the warm-up, `collective_gradients` after it (DCC).

    Args:
      warm_up: `after_warm_up`.
      distance: a stage on a pair of gradients; None for the layer-wise cosine.
      strategy: as in `class_gradients`.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar: a sum over classes during the
      warm-up, then the distance itself.

    Raises:
      ValueError: if the strategy names an unknown op.

    Reference: DCC, https://arxiv.org/abs/2202.02916. Deviation: during warm-up its code logs the distance
    between class means of gradients.

    >>> warmed_up_gradients(after_warm_up(25, 10, updates_per_network=10))
    warmed_up_gradients(after_warm_up(25, updates=10, updates_per_network=10))
    """
    return switch(
        warm_up,
        class_gradients(distance, strategy=strategy),
        collective_gradients(distance, strategy=strategy),
    )


@register
def class_embeddings(*, strategy: str | None = None) -> Stage:
    r"""Sum over classes of the squared distance between mean embeddings (DM).

    .. math:: \sum_c \big\| \overline{\psi_\theta(A_{\omega_c}(S_c))}
              - \overline{\psi_\theta(A_{\omega_c}(R_c))} \big\|^2

    Where samples influence each other (BatchNorm in training mode) all classes go through the network
    in one batch, as in the authors' code; every class must then have equally many real images.

    Args:
      strategy: as in `class_gradients`.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. It needs a network with
      embeddings.

    Raises:
      ValueError: if the strategy names an unknown op.

    Reference: Zhao, Bilen, WACV 2023, equation 6, https://arxiv.org/abs/2110.04181.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> from jdd.network_output import Output
    >>> batch = Batch(jnp.ones((2, 1, 4, 4, 1)), jnp.array([[0], [1]]))
    >>> network = lambda w, x: Output(x, (), x.reshape(len(x), -1) @ w)
    >>> context = Context(network, jnp.eye(16, 2), jax.random.key(0))
    >>> print(value_of(class_embeddings(strategy="crop"), Pair(batch, batch), context))
    0.0
    """
    together = chain(per_class(siamese(strategy)), joint_embeddings(), mean_embedding())
    one_by_one = per_class(chain(siamese(strategy), embeddings(), batch_mean(), squared_error()))
    return when_coupled(together, one_by_one)


@register
def class_characteristic_functions(
    *,
    frequencies: int = 4096,
    alpha: float = 0.5,
    factor: float = 300.0,
    strategy: str | None = None,
) -> Stage:
    r"""Sum over classes of the distance between the characteristic functions of embeddings (NCFM).

    Embeddings have length 1. Networks with BatchNorm in training mode see all classes in one batch, as in
    `class_embeddings`.

    Args:
      frequencies: where the functions are compared: so many standard normal points, drawn for every class and
        update.
      alpha: weight of amplitudes; that of phases is 1 - alpha.
      factor: of the whole, the authors' 300.
      strategy: as in `class_gradients`.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. It needs a network with
      embeddings.

    Raises:
      ValueError: if frequencies is below 1, alpha is not from 0 to 1, the factor is not positive, or the
        strategy names an unknown op.

    Reference: Wang et al., CVPR 2025, https://arxiv.org/abs/2502.20653.

    >>> class_characteristic_functions(alpha=0.9)
    class_characteristic_functions(alpha=0.9)
    """
    distance = characteristic_function(frequencies, alpha=alpha)
    together = chain(per_class(siamese(strategy)), joint_embeddings(), distance)
    one_by_one = per_class(chain(siamese(strategy), embeddings(), distance))
    return scale(positive("factor", factor), when_coupled(together, one_by_one))


@register
def layer_features(
    layer_weights: Sequence[float] | None = None,
    *,
    discrimination_weight: float = 0.01,
    strategy: str | None = None,
) -> Stage:
    r"""Alignment of the class means of every layer, and discrimination by the synthetic ones (CAFE).

    .. math:: \sum_l w_l \sum_c \big\| \bar f^l(A_{\omega_c}(S_c)) - \bar f^l(A_{\omega_c}(R_c)) \big\|^2
              + \beta \sum_c \sum_{x \in R_c} -\log p_S(c \mid x)

    Of the real side the maps of one micro-batch are in memory at a time, and the embeddings of one
    class.

    Args:
      layer_weights: one for each tap, and last for the embedding; None for
        ``matching.cafe_layer_weights``.
      discrimination_weight: beta, on a sum over real images: that of 256 of each of ten classes, 0.01,
        is 25.6 on their mean. 0 for none.
      strategy: as in `class_gradients`.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. It needs a network with taps and
      embeddings.

    Raises:
      ValueError: if the strategy names an unknown op, a weight is negative, or all are 0.

    Reference: CAFE (Wang et al., CVPR 2022), https://arxiv.org/abs/2203.01531. Deviation: its code adds
    the cross entropy of the network on the real images, which moves no synthetic one.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> from jdd.network_output import Output
    >>> batch = Batch(jnp.ones((2, 1, 4, 4, 1)), jnp.array([[0], [1]]))
    >>> network = lambda w, x: Output(x, (x,), x.reshape(len(x), -1) @ w)
    >>> context = Context(network, jnp.eye(16, 2), jax.random.key(0))
    >>> objective = layer_features(discrimination_weight=0.0, strategy="crop")
    >>> print(value_of(objective, Pair(batch, batch), context))
    0.0
    """
    weights = None if layer_weights is None else tuple(layer_weights)
    if weights == ():
        raise ValueError("layer_weights must be one for each layer, got none")
    every: tuple[Any, ...] = (*(weights or (1.0,)), discrimination_weight)
    if not all(isinstance(w, Real) and 0 <= float(w) < math.inf for w in every) or not any(every):
        raise ValueError(
            f"weights must be at least 0 and finite, and not all of them 0, got {every}"
        )
    terms = []
    if weights is None or any(weights):
        terms.append(feature_alignment(weights))
    if discrimination_weight:
        terms.append(scale(discrimination_weight, discrimination()))
    return each_against_all(chain(siamese(strategy), features()), add(*terms))
