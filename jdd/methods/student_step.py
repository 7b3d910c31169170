"""The learning rate of students, learned with the synthetic set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array

from jdd.choice import Choice, register
from jdd.validation import positive


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StepSize(Choice):
    """A learned step size as one parameter, the group ``step_size`` of the optimiser.

    Attributes:
      init: ``init(dtype) -> parameter``, a scalar.
      value: ``value(parameter) -> alpha``, the step size.
      project: ``project(parameter) -> parameter`` after each update; None for no limit.
    """

    init: Callable[[Any], Array]
    value: Callable[[Array], Array]
    project: Callable[[Array], Array] | None = None


@register
def log_step_size(initial: float = 0.01) -> StepSize:
    r"""Learns :math:`\log \alpha`, so that the step size stays positive.

    A step of SGD with the rate r moves the logarithm by :math:`r\, \alpha\, \partial L / \partial\alpha`, and so
    the step size by about :math:`r\, \alpha^2\, \partial L / \partial\alpha`: the rate r acts as the rate
    :math:`r \alpha^2` of `raw_step_size`. The papers' 1e-7 at alpha = 0.01 is 1e-3 here.

    Args:
      initial: alpha before the first update.

    Raises:
      ValueError: if initial is not positive.

    >>> print(log_step_size(0.01).value(log_step_size(0.01).init(float)).round(4))
    0.01
    """
    positive("initial", initial)
    return StepSize(lambda dtype: jnp.asarray(math.log(initial), dtype), jnp.exp)


@register
def raw_step_size(initial: float = 0.01, *, least: float | None = None) -> StepSize:
    """Learns the step size itself, as MTT, TESLA, FTD and DATM do (and with a lower limit HaBa).

    Without a limit it can become negative. A run then stops as one that diverged: students would climb.

    Args:
      initial: alpha before the first update.
      least: the smallest alpha, 0.001 in HaBa's code; None for no limit.

    Raises:
      ValueError: if a number is not positive, or initial is below least.

    Reference: Cazenavette et al., CVPR 2022, https://arxiv.org/abs/2203.11932.

    >>> raw_step_size(0.02, least=1e-3)
    raw_step_size(0.02, least=0.001)
    """
    positive("initial", initial)
    if least is not None and initial < positive("least", least):
        raise ValueError(f"initial must be at least least, {least}, got {initial}")
    return StepSize(
        lambda dtype: jnp.asarray(initial, dtype),
        lambda alpha: alpha,
        None if least is None else lambda alpha: jnp.maximum(alpha, least),
    )
