"""How a wrong value becomes one line that names its option."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Iterator


class UsageError(Exception):
    """What the user asked for is not possible; nothing was written. The command exits with 2."""


class RunError(Exception):
    """A run that was possible came to a bad end. The command exits with 1."""


class Interrupted(Exception):
    """The user stopped a run. The command exits with 130."""


@contextlib.contextmanager
def blame(*options: str) -> Iterator[None]:
    """Turns a ``ValueError``, or an ``OSError``, into a ``UsageError`` that names the options it speaks of.

    >>> with blame("--width", "--depth"):
    ...     raise ValueError("depth must be at least 1, got 0")
    Traceback (most recent call last):
        ...
    jdd.cli.errors.UsageError: depth must be at least 1, got 0 (option --depth)
    """
    try:
        yield
    except (ValueError, OSError) as error:
        message = one_line(error)
        mentioned = [option for option in options if _speaks_of(message, option)]
        raise UsageError(f"{message} (option {', '.join(mentioned or options)})") from error


@contextlib.contextmanager
def said(category: type[Warning]) -> Iterator[None]:
    """Says each warning of a category in one line on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=category)
        yield
    for warning in caught:
        if issubclass(warning.category, category):
            print(f"jdd: warning: {one_line(str(warning.message))}", file=sys.stderr, flush=True)
        else:
            warnings.showwarning(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def require(condition: bool, option: str, message: str) -> None:
    """Raises a ``UsageError`` that names the option, unless the condition holds."""
    if not condition:
        raise UsageError(f"{message} (option {option})")


def one_line(error: BaseException | str) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _speaks_of(message: str, option: str) -> bool:
    name = option.removeprefix("--").replace("-", "[-_ ]")
    return re.search(rf"(?<![\w-]){name}(?![\w-])", message) is not None
