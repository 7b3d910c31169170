"""How a value that is not possible becomes one line that names its option."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence

from jdd.runs.stderr import print_line

# Arguments of the library with another name on the command line.
_ARGUMENTS = {"--out": "(?:out|folder)", "METHOD": "protocol"}


class UsageError(Exception):
    """An argument is not possible; nothing was written. The command exits with 2."""


@contextlib.contextmanager
def naming(*options: str, usual: Sequence[str] | None = None) -> Iterator[None]:
    """Turns a ``ValueError``, or an ``OSError``, into a ``UsageError`` that names the option.

    Args:
      *options: of which those that the message is about are named (`options_in`).
      usual: named where the message mentions none; None for the first option.

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
        usual = options[:1] if usual is None else usual
        named = options_in(message, options) or list(dict.fromkeys(usual))
        suffix = f" (option {', '.join(named)})" if named else ""
        raise UsageError(message + suffix) from error


@contextlib.contextmanager
def naming_first(*options: str) -> Iterator[None]:
    """As `naming`, for the option that a message begins with; errors with other messages pass.

    >>> with naming_first("--data"):
    ...     raise ValueError("data: digits has no class 11")
    Traceback (most recent call last):
        ...
    jdd.cli.errors.UsageError: data: digits has no class 11 (option --data)
    """
    try:
        yield
    except (ValueError, OSError) as error:
        first = [option for option in options if re.match(_pattern(option), str(error))]
        if not first:
            raise
        with naming(first[0]):
            raise error


def options_in(message: str, options: Sequence[str]) -> list[str]:
    """The options that a message is about: the one that it begins with, else those that it mentions.

    >>> options_in("width must be a multiple of 4 under this norm", ["--norm", "--width"])
    ['--width']
    >>> options_in("group norm: the width must be a multiple of 4", ["--norm", "--width"])
    ['--norm', '--width']
    """
    first = [option for option in options if re.match(_pattern(option), message)]
    mentioned = [option for option in options if re.search(_pattern(option), message)]
    return list(dict.fromkeys(first[:1] or mentioned))


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Prints each warning about data in one line on stderr."""
    from jdd.datasets import DataWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=DataWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, DataWarning):
            print_warning(str(warning.message))
        else:
            warnings.showwarning(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def print_warning(text: str) -> None:
    """Prints a warning in one line on stderr."""
    print_line(f"jdd: warning: {' '.join(text.split())}")


def require(condition: bool, option: str, message: str) -> None:
    """Raises a ``UsageError`` that names the option, unless the condition holds."""
    if not condition:
        raise UsageError(f"{message} (option {option})")


def _pattern(option: str) -> str:
    name = option.removeprefix("--")
    name = _ARGUMENTS.get(option, name.replace("-", "[-_ ]"))
    return rf"(?<![\w-]){name}(?![\w-])"
