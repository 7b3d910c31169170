"""One way to refuse an unknown name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def one_of(what: str, value: str, allowed: Iterable[str]) -> str:
    """Returns ``value`` if it is allowed, else raises a ``ValueError`` that helps.

    >>> one_of("norm", "instanc", ["instance", "batch"])
    Traceback (most recent call last):
        ...
    ValueError: unknown norm 'instanc': did you mean 'instance'? (allowed: instance, batch)
    """
    allowed = list(allowed)
    if value in allowed:
        return value
    close = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f" did you mean '{close[0]}'?" if close else ""
    raise ValueError(f"unknown {what} '{value}':{hint} (allowed: {', '.join(allowed)})")
