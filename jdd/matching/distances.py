"""Distances as last stages of a chain: a pair of pytrees in, a scalar out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jax import Array

from jdd import losses
from jdd.matching.base import Stage, stateless


def distance(function: Callable[[Any, Any], Array]) -> Stage:
    """Any ``function(synthetic, real) -> scalar`` as a stage.

    >>> import jax
    >>> from jdd.matching import Context, Pair, value_of
    >>> stage = distance(lambda a, b: abs(a - b))
    >>> value_of(stage, Pair(1.0, 3.0), Context(lambda p, x: x, {}, jax.random.key(0)))
    2.0
    """
    return stateless(lambda pair, context: function(pair.synthetic, pair.real))


def layerwise_cosine(*, eps: float = 1e-6) -> Stage:
    """``losses.layerwise_cosine`` (DC's "ours") as a stage on a pair of gradient pytrees."""
    return distance(lambda syn, real: losses.layerwise_cosine(syn, real, eps=eps))


def flat_cosine(*, eps: float = 1e-6) -> Stage:
    """``losses.flat_cosine`` (DC's "cos") as a stage on a pair of pytrees."""
    return distance(lambda syn, real: losses.flat_cosine(syn, real, eps=eps))


def squared_error() -> Stage:
    """``losses.squared_error`` (DC's "mse") as a stage on a pair of pytrees."""
    return distance(losses.squared_error)
