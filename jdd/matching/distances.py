"""Distances as last stages of a chain: a pair of pytrees in, a scalar out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import Array

from jdd import losses
from jdd.choice import register, register_function
from jdd.matching.base import Stage, check_function, stateless

register_function("losses.absolute_error", losses.absolute_error)
register_function("losses.mean_absolute_error", losses.mean_absolute_error)
register_function("losses.squared_error", losses.squared_error)


@register
def distance(function: Callable[[Any, Any], Array]) -> Stage:
    """Any ``function(synthetic, real) -> scalar`` as a stage.

    Raises:
      ValueError: for what is no function.

    >>> import jax
    >>> from jdd.matching import Context, Pair, value_of
    >>> stage = distance(lambda a, b: abs(a - b))
    >>> value_of(stage, Pair(1.0, 3.0), Context(lambda p, x: x, {}, jax.random.key(0)))
    2.0
    """
    check_function("distance", function)
    return stateless(lambda pair, context: function(pair.synthetic, pair.real))


@register
def layerwise_cosine(*, eps: float = 1e-6) -> Stage:
    """``losses.layerwise_cosine`` (DC's "ours") as a stage on a pair of gradient pytrees."""
    return distance(lambda syn, real: losses.layerwise_cosine(syn, real, eps=eps))


@register
def flat_cosine(*, eps: float = 1e-6) -> Stage:
    """``losses.flat_cosine`` (DC's "cos") as a stage on a pair of pytrees."""
    return distance(lambda syn, real: losses.flat_cosine(syn, real, eps=eps))


@register
def squared_error() -> Stage:
    """``losses.squared_error`` (DC's "mse") as a stage on a pair of pytrees."""
    return distance(losses.squared_error)


@register
def absolute_error() -> Stage:
    """``losses.absolute_error`` (IDC's "l1") as a stage on a pair of pytrees."""
    return distance(losses.absolute_error)


@register
def mean_absolute_error() -> Stage:
    """``losses.mean_absolute_error`` (IDC's "l1_mean") as a stage on a pair of pytrees."""
    return distance(losses.mean_absolute_error)
