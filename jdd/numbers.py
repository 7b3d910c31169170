"""One way to refuse a number."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


def at_least(name: str, value: Any, least: int) -> int:
    """Returns a whole number that is not below ``least``, else raises a ``ValueError``.

    >>> at_least("ipc", 0, 1)
    Traceback (most recent call last):
        ...
    ValueError: ipc must be at least 1, got 0
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def positive(name: str, value: Any) -> float:
    """Returns a finite number above 0, such as a rate, else raises a ``ValueError``.

    >>> positive("learning_rate", -0.1)
    Traceback (most recent call last):
        ...
    ValueError: learning_rate must be above 0 and finite, got -0.1
    """
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name} must be above 0 and finite, got {value!r}")
    return float(value)


def share(name: str, value: Any) -> float:
    """Returns a number from 0 up to, but not, 1, such as a momentum, else raises a ``ValueError``.

    >>> share("momentum", 1)
    Traceback (most recent call last):
        ...
    ValueError: momentum must be at least 0 and below 1, got 1
    """
    if not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
    return float(value)
