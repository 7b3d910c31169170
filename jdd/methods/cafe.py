"""CAFE: features of every layer, discrimination, and networks that decide when they are done."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jdd import augment, synthetic
from jdd.data.table import ClassTable
from jdd.matching import (
    Stage,
    add,
    chain,
    discrimination,
    each_against_all,
    feature_alignment,
    features,
    scale,
    siamese,
)
from jdd.methods.dc import image_sgd
from jdd.methods.method import Method
from jdd.methods.network_matching import network_matching
from jdd.methods.norm_policy import NormPolicy
from jdd.methods.query_matching import query_matching
from jdd.methods.query_rule import QueryRule, query_rule
from jdd.methods.schedule import Loops, dc_loops
from jdd.nn import Model
from jdd.streaming import Over
from jdd.training import Augment
from jdd.validation import at_least

_MILESTONES = (0.6, 0.8, 0.9)


def cafe_layer_weights(count: int) -> tuple[float, ...]:
    """CAFE's weights for any number of layers, the embedding counted as the last.

    The authors give them for ConvNet-3, where the embedding is the last of four taps once more. For
    other networks: 1 for the last three, 0.1 for those before.

    Args:
      count: taps of the network, plus one for its embedding.

    >>> cafe_layer_weights(5)
    (0.1, 0.1, 1.0, 1.0, 1.0)
    """
    deep = min(count, 3)
    return (0.1,) * (count - deep) + (1.0,) * deep


def cafe_objective(
    strategy: str = "none",
    *,
    layer_weights: Sequence[float] | None = None,
    discrimination_weight: float = 0.01,
    over_classes: Over = None,
) -> Stage:
    r"""Alignment of the class means of every layer, and discrimination by the synthetic ones.

    .. math:: \sum_l w_l \sum_c \big\| \bar f^l(A_{\omega_c}(S_c)) - \bar f^l(A_{\omega_c}(R_c)) \big\|^2
              + \beta \sum_c \sum_{x \in R_c} -\log p_S(c \mid x)

    Of the real side the maps of one micro-batch are in memory at a time, and the embeddings of one
    class.

    Args:
      strategy: of the siamese augmentation, drawn for each class; "none" for CAFE without DSA.
      layer_weights: one for each tap, and last for the embedding; None for `cafe_layer_weights`.
      discrimination_weight: beta, on a sum over real images: that of 256 of each of ten classes, 0.01,
        is 25.6 on their mean. 0 for none.
      over_classes: see ``matching.each_against_all``.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. It needs a context with
      ``features``.

    Raises:
      ValueError: if the strategy names an unknown op, a weight is negative, all are 0, or over_classes
        is no strategy.

    Reference: Wang, Zhao, Peng, Zhu, Yang, Wang, Huang, Bilen, Wang, You, "CAFE: Learning to Condense
    Dataset by Aligning Features", CVPR 2022. Deviation: its code adds the cross entropy of the network
    on the real images, which moves no synthetic one.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((2, 1, 4, 4, 1)), jnp.array([[0], [1]]))
    >>> network = lambda w, x: ((x,), x.reshape(len(x), -1) @ w)
    >>> context = Context(lambda w, x: x, jnp.eye(16, 2), jax.random.key(0), features=network)
    >>> objective = cafe_objective("crop", discrimination_weight=0.0)
    >>> print(value_of(objective, Pair(batch, batch), context))
    0.0
    """
    own = None if layer_weights is None else tuple(layer_weights)
    if own == ():
        raise ValueError("layer_weights must be one for each layer, got none")
    given = (*(own or (1.0,)), discrimination_weight)
    if not all(isinstance(w, Real) and 0 <= w < math.inf for w in given) or not any(given):
        raise ValueError(
            f"weights must be at least 0 and finite, and not all of them 0, got {given}"
        )
    terms = []
    if own is None or any(own):
        terms.append(feature_alignment(cafe_layer_weights if own is None else own))
    if discrimination_weight:
        terms.append(scale(discrimination_weight, discrimination()))
    seen = chain(siamese(strategy), features())
    return each_against_all(seen, add(*terms), over_classes=over_classes)


def check_layer_weights(model: Model, layer_weights: Sequence[float] | None) -> None:
    """Raises a ``ValueError`` for weights that are not one for each tap, and one for the embedding.

    >>> from jdd.nn import convnet
    >>> check_layer_weights(convnet(10, (28, 28, 1)), [1.0])
    Traceback (most recent call last):
        ...
    ValueError: layer_weights must be 5 for ConvNet-3, the embedding the last, got 1
    """
    if layer_weights is None:
        return

    def taps() -> tuple[Array, ...]:
        variables = model.init(jax.random.key(0))
        return model.features(variables, jnp.zeros((1, *model.image_shape)))[0]

    layers = len(jax.eval_shape(taps)) + 1
    if len(layer_weights) != layers:
        raise ValueError(
            f"layer_weights must be {layers} for {model.name}, the embedding the last, "
            f"got {len(layer_weights)}"
        )


def cafe_rate(networks: int) -> Callable[[Any], Any]:
    """CAFE's decay of the images' learning rate: halved after 60, 80 and 90 % of the networks.

    (The authors: after 1200, 1600 and 1800 of 2000.)

    Args:
      networks: K.

    Returns:
      ``rate(network) -> factor``.

    Raises:
      ValueError: if networks is below 1.

    >>> [float(cafe_rate(2000)(k)) for k in (0, 1199, 1200, 1600, 1999)]
    [1.0, 1.0, 0.5, 0.25, 0.125]
    """
    at_least("networks", networks, 1)
    # Rounded, for 0.6 * 2000 need not be 1200 in floats.
    ends = [round(share * networks) for share in _MILESTONES]

    def rate(network: Any) -> Any:
        return 0.5 ** sum((network >= end) * 1.0 for end in ends)

    return rate


def cafe(
    model: Model,
    ipc: int,
    *,
    strategy: str = "none",
    rule: QueryRule | None = None,
    start: Callable[[Array, ClassTable], Array] | None = None,
    learning_rate: float = 0.1,
    momentum: float = 0.5,
    real_batch: int = 256,
    layer_weights: Sequence[float] | None = None,
    discrimination_weight: float = 0.01,
    over_classes: Over = None,
    norm_policy: NormPolicy | None = None,
) -> Method:
    """CAFE with its dynamic bi-level schedule; one step is one image update, see `query_matching`.

    Args:
      model: the architecture; any that offers ``features``.
      ipc: images per class.
      strategy: "none", or ops separated by "_" for CAFE+DSA.
      rule: when a network has trained enough, and when it is left; None for `query_rule`.
      start: initial images; None for noise.
      learning_rate: of SGD on the images; falls by `cafe_rate`.
      momentum: of SGD on the images.
      real_batch: real images per class and update.
      layer_weights: see `cafe_objective`.
      discrimination_weight: see `cafe_objective`.
      over_classes: see ``matching.each_against_all``.
      norm_policy: what BatchNorm does while features are matched; None for ``frozen_statistics(16)``
        (the authors' code: training mode, all classes in one batch).

    Returns:
      The method as pure ``init`` and ``step``.

    Raises:
      ValueError: if ipc is below 1, layer_weights are not as many as the model has layers, or as
        `cafe_objective`; from ``init``, if a query has fewer real
        images per class than ipc.

    Reference: CAFE (Wang et al., CVPR 2022). Deviations: see `query_rule`; 2000 networks, not 2001. (Its
    code normalises CIFAR-100 by CIFAR-10's statistics, as the data set ``cifar100-dcc`` does.)

    >>> from jdd.nn import convnet
    >>> cafe(convnet(10, (28, 28, 1)), 1).loops.networks
    2000
    """
    at_least("ipc", ipc, 1)
    check_layer_weights(model, layer_weights)
    rule = rule or query_rule()
    return query_matching(
        "cafe",
        model=model,
        objective=cafe_objective(
            strategy,
            layer_weights=layer_weights,
            discrimination_weight=discrimination_weight,
            over_classes=over_classes,
        ),
        synthetic=synthetic.pixels,
        start=start or functools.partial(synthetic.noise, ipc=ipc),
        optimizer=image_sgd(learning_rate, momentum),
        rule=rule,
        real_batch=real_batch,
        net_augment=_net_augment(strategy),
        norm_policy=norm_policy,
        rate=cafe_rate(rule.networks),
    )


def cafe_fixed(
    model: Model,
    ipc: int,
    *,
    strategy: str = "none",
    loops: Loops | None = None,
    start: Callable[[Array, ClassTable], Array] | None = None,
    learning_rate: float = 0.1,
    momentum: float = 0.5,
    real_batch: int = 256,
    layer_weights: Sequence[float] | None = None,
    discrimination_weight: float = 0.01,
    over_classes: Over = None,
    norm_policy: NormPolicy | None = None,
) -> Method:
    """CAFE's objective under fixed loops, the ablation of its schedule; one step is one image update.

    Args:
      loops: the loop counts; None for DC's table, with 2000 networks.
      model, ipc, strategy, start, learning_rate, momentum, real_batch, layer_weights,
        discrimination_weight, over_classes, norm_policy: as in `cafe`.

    Returns:
      The method as pure ``init`` and ``step``.

    Raises:
      ValueError: as `cafe`, or if a loop count is below what it can be.

    Reference: the ablation of CAFE (Wang et al., CVPR 2022); its loop counts are not known to us.

    >>> from jdd.nn import convnet
    >>> cafe_fixed(convnet(10, (28, 28, 1)), 10).loops.total_steps
    20000
    """
    at_least("ipc", ipc, 1)
    check_layer_weights(model, layer_weights)
    loops = loops or dc_loops(ipc, networks=2000)
    decay = cafe_rate(loops.networks)
    return network_matching(
        "cafe-fixed",
        model=model,
        objective=cafe_objective(
            strategy,
            layer_weights=layer_weights,
            discrimination_weight=discrimination_weight,
            over_classes=over_classes,
        ),
        synthetic=synthetic.pixels,
        start=start or functools.partial(synthetic.noise, ipc=ipc),
        optimizer=image_sgd(learning_rate, momentum),
        loops=loops,
        real_batch=real_batch,
        net_augment=_net_augment(strategy),
        norm_policy=norm_policy,
        rate=lambda step: decay(step // loops.updates),
    )


def _net_augment(strategy: str) -> Augment | None:
    if strategy == "none":
        return None
    return lambda key, images: augment.dsa(key, images, strategy, siamese=False)
