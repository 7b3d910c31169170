"""Names in messages: a noun with its number, and one way to refuse an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
