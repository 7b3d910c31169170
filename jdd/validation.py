"""Validation of arguments, and words for messages."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


def at_least(name: str, value: Any, least: int) -> int:
    """Checks a whole number.

    Args:
      name: of the argument, for the message.
      value: its value.
      least: the smallest allowed.

    Returns:
      The value, as an ``int``.

    Raises:
      ValueError: if it is no whole number or below ``least``.

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
    """Checks a number that must be positive, such as a learning rate.

    Args:
      name: of the argument, for the message.
      value: its value.

    Returns:
      The value, as a ``float``.

    Raises:
      ValueError: if it is no number, not above 0 or not finite.

    >>> positive("learning_rate", -0.1)
    Traceback (most recent call last):
        ...
    ValueError: learning_rate must be above 0 and finite, got -0.1
    """
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"{name} must be above 0 and finite, got {value!r}")
    return float(value)


def share(name: str, value: Any) -> float:
    """Checks a number that must be at least 0 and below 1, such as a momentum.

    Args:
      name: of the argument, for the message.
      value: its value.

    Returns:
      The value, as a ``float``.

    Raises:
      ValueError: if it is no number or out of range.

    >>> share("momentum", 1)
    Traceback (most recent call last):
        ...
    ValueError: momentum must be at least 0 and below 1, got 1
    """
    if not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
    return float(value)


def of_kind(name: str, value: Any, kind: type) -> None:
    """Checks that a value is of one kind, such as a choice.

    Args:
      name: of the argument, for the message.
      value: its value.
      kind: its class.

    Raises:
      ValueError: if it is of another kind.

    >>> of_kind("loss", 3, str)
    Traceback (most recent call last):
        ...
    ValueError: loss must be of kind str, got 3
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be of kind {kind.__name__}, got {value!r}")


def count(n: int, what: str) -> str:
    """A number with its noun.

    Args:
      n: the number.
      what: the noun in the singular; its plural ends in "s".

    Returns:
      Both, for a message.

    >>> count(1, "image"), count(2, "image")
    ('1 image', '2 images')
    """
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word.

    Args:
      word: the unknown word.
      known: the known words.

    Returns:
      ``", did you mean 'x'?"`` with the nearest known word, or "" if none is near.

    >>> did_you_mean("cifer10", ["mnist", "cifar10"])
    ", did you mean 'cifar10'?"
    """
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    return f", did you mean {lowered[near[0]]!r}?" if near else ""


def one_of(what: str, value: str, allowed: Iterable[str]) -> str:
    """Checks one of several words.

    Args:
      what: kind of the value, for the message.
      value: the value.
      allowed: the words.

    Returns:
      The value.

    Raises:
      ValueError: if it is not allowed; the message names the nearest word and all words.

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
