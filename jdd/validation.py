"""Argument validation: each function returns the value, or raises a ``ValueError`` that names the argument."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
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


def count(n: int, what: str) -> str:
    """A number with its noun.

    >>> count(1, "image"), count(2, "image")
    ('1 image', '2 images')
    """
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`", did you mean 'x'?"` for the nearest known word, or the empty string.

    >>> did_you_mean("cifer10", ["mnist", "cifar10"])
    ", did you mean 'cifar10'?"
    """
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    return f", did you mean {lowered[near[0]]!r}?" if near else ""


def one_of(what: str, value: str, allowed: Iterable[str]) -> str:
    """Returns ``value`` if it is allowed, else raises a ``ValueError`` that helps.

    >>> one_of("norm", "instanc", ["instance", "batch"])
    Traceback (most recent call last):
        ...
    ValueError: unknown norm 'instanc', did you mean 'instance'? (allowed: instance, batch)
    """
    allowed = list(allowed)
    if value in allowed:
        return value
    raise ValueError(
        f"unknown {what} {value!r}{did_you_mean(str(value), allowed)} (allowed: {', '.join(allowed)})"
    )
