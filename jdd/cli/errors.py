"""How a value that is not possible becomes one line that names its option."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Iterator


class UsageError(Exception):
    """An argument is not possible; nothing was written. The command exits with 2."""


@contextlib.contextmanager
def naming(*options: str) -> Iterator[None]:
    """Turns a ``ValueError``, or an ``OSError``, into a ``UsageError`` that names the option.

    Of several options it names those that the message mentions; the first if it mentions none.

    >>> with naming("--width", "--depth"):
    ...     raise ValueError("depth must be at least 1, got 0")
    Traceback (most recent call last):
        ...
    jdd.cli.errors.UsageError: depth must be at least 1, got 0 (option --depth)
    """
    try:
        yield
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        mentioned = [option for option in options if _mentions(message, option)]
        raise UsageError(f"{message} (option {', '.join(mentioned or options[:1])})") from error


@contextlib.contextmanager
def naming_if_mentioned(*options: str) -> Iterator[None]:
    """As `naming`, but names no option where the message mentions none."""
    try:
        yield
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        mentioned = [option for option in options if _mentions(message, option)]
        suffix = f" (option {', '.join(mentioned)})" if mentioned else ""
        raise UsageError(message + suffix) from error


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Prints each warning about data in one line on stderr."""
    from jdd.datasets import DataWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=DataWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            text = " ".join(str(warning.message).split())
            print(f"jdd: warning: {text}", file=sys.stderr, flush=True)
        else:
            warnings.showwarning(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def require(condition: bool, option: str, message: str) -> None:
    """Raises a ``UsageError`` that names the option, unless the condition holds."""
    if not condition:
        raise UsageError(f"{message} (option {option})")


def _mentions(message: str, option: str) -> bool:
    name = option.removeprefix("--").replace("-", "[-_ ]")
    return re.search(rf"(?<![\w-]){name}(?![\w-])", message) is not None
