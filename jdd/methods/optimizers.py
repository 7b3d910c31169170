"""Optimisers of the synthetic set, and the decay of their steps, as values of a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jdd.choice import Choice, register
from jdd.validation import of_kind, positive, share


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Optimizer(Choice):
    """Moves the parameters of the synthetic set.

    Attributes:
      transform: any optax transform.
    """

    transform: optax.GradientTransformation


@register
def sgd(learning_rate: float, momentum: float = 0.0) -> Optimizer:
    """``optax.sgd``, the optimiser of the images in DC, DSA, DCC, DM and CAFE.

    Raises:
      ValueError: for a rate that is not positive, or a momentum outside [0, 1).

    >>> sgd(-0.1)
    Traceback (most recent call last):
        ...
    ValueError: learning_rate must be above 0 and finite, got -0.1
    """
    positive("learning_rate", learning_rate)
    return Optimizer(optax.sgd(learning_rate, share("momentum", momentum)))


@register
def adam(learning_rate: float, b1: float = 0.9, b2: float = 0.999) -> Optimizer:
    """``optax.adam``.

    Raises:
      ValueError: for a rate that is not positive, or a decay outside [0, 1).

    >>> adam(0.01)
    adam(0.01)
    """
    positive("learning_rate", learning_rate)
    return Optimizer(optax.adam(learning_rate, share("b1", b1), share("b2", b2)))


@register
def class_by_class(learning_rate: float, momentum: float = 0.5) -> Optimizer:
    r"""SGD that steps after every class, with one velocity for the whole set, as one parallel step (IDC).

    IDC's code takes the gradient of one class, makes a step of SGD with momentum m on the whole set, and
    goes on to the next class. In the steps of the other C - 1 classes the gradient of an image is 0, but
    its velocity v still moves it and decays. From one gradient g of its class to the next, C steps later,

    .. math:: v \leftarrow m^C v + g, \qquad
              x \leftarrow x - \eta\, (1 + m + \dots + m^{C-1})\, v .

    This is one step of SGD for all classes at once, with the rate :math:`\eta (1 - m^C) / (1 - m)` and
    the momentum :math:`m^C`. For m = 1/2 the rate is :math:`\eta (2 - 2^{1-C})` and the momentum
    :math:`2^{-C}`, practically 0 (0.001 for ten classes). The network is the same for all classes
    of a sweep, and the loss of a class depends on its own images alone, so every gradient is taken at
    the same images as in the sequence. Only between sweeps are images ahead of the sequence, by the
    part of their last steps that falls into the next sweep.

    Args:
      learning_rate: of a step after one class.
      momentum: of the steps after each class.

    Returns:
      An optimiser of parameters whose leading axis is the class.

    Raises:
      ValueError: for a rate that is not positive, or a momentum outside [0, 1); when a run begins, if
        the parameters have no common leading axis.

    Reference: the code of Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959.

    >>> transform = class_by_class(0.1).transform
    >>> images = {"images": jnp.zeros((3, 1))}
    >>> step, _ = transform.update({"images": jnp.ones((3, 1))}, transform.init(images))
    >>> print(step["images"].ravel().round(4))  # 0.1 (2 - 2^-2)
    [-0.175 -0.175 -0.175]
    """
    positive("learning_rate", learning_rate)
    share("momentum", momentum)

    def parallel(params: Any) -> optax.GradientTransformation:
        sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(params)}
        if len(sizes) != 1 or sizes == {()}:
            raise ValueError(
                "class_by_class needs parameters whose leading axis is the class, got shapes "
                f"{[jnp.shape(leaf) for leaf in jax.tree.leaves(params)]}: by_group gives each group of parameters "
                "an optimiser"
            )
        ((classes,),) = sizes
        carried = momentum**classes
        return optax.sgd(learning_rate * (1 - carried) / (1 - momentum), carried)

    def init(params: Any) -> Any:
        return parallel(params).init(params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return parallel(updates).update(updates, state, params)

    return Optimizer(optax.GradientTransformation(init, update))


@register
def by_group(**groups: Optimizer) -> Optimizer:
    """One optimiser per group of parameters (``optax.multi_transform``).

    Args:
      **groups: by the name of the group: a key of the parametrisation's parameter dictionary.

    Raises:
      ValueError: if there is no group, or (when a run begins) the groups are not those of the
        parameters.

    >>> by_group(images=sgd(0.1), rate=sgd(0.001))
    by_group(images=sgd(0.1), rate=sgd(0.001))
    """
    if not groups:
        raise ValueError("by_group needs at least one group")
    for name, optimizer in groups.items():
        of_kind(name, optimizer, Optimizer)

    def labels(params: Any) -> Any:
        names = sorted(params) if isinstance(params, dict) else []
        if names != sorted(groups):
            raise ValueError(
                f"by_group has the groups {', '.join(sorted(groups))}, "
                f"the parameters have {', '.join(names) or 'none'}"
            )
        return {name: jax.tree.map(lambda _, name=name: name, params[name]) for name in params}

    transforms: dict[Hashable, optax.GradientTransformation] = {
        name: optimizer.transform for name, optimizer in groups.items()
    }
    return Optimizer(optax.multi_transform(transforms, labels))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Decay(Choice):
    """A factor on the optimiser's steps.

    Attributes:
      factor: ``factor(network, networks) -> factor``: index of the current network (traced) and number
        of networks; a scalar, or a tree with one factor per group of parameters.
    """

    factor: Callable[[Array | int, int], Any]


@register
def halved_after(shares: Sequence[float] = (0.6, 0.8, 0.9)) -> Decay:
    """Halves the steps after each of these shares of the networks (CAFE).

    (The authors: after 1200, 1600 and 1800 of 2000 networks.)

    Raises:
      ValueError: if a share is not between 0 and 1.

    Reference: the code of CAFE (Wang et al., CVPR 2022, https://arxiv.org/abs/2203.01531).

    >>> [float(halved_after().factor(k, 2000)) for k in (0, 1199, 1200, 1600, 1999)]
    [1.0, 1.0, 0.5, 0.25, 0.125]
    """
    for value in shares:
        if not isinstance(value, Real) or not 0 < float(value) < 1:
            raise ValueError(f"shares must be between 0 and 1, got {value!r}")

    def factor(network: Array | int, networks: int) -> Array:
        # Rounded, for 0.6 * 2000 need not be 1200 in floats.
        ends = [round(value * networks) for value in shares]
        return jnp.asarray(0.5 ** sum((jnp.asarray(network) >= end) * 1.0 for end in ends))

    return Decay(factor)
