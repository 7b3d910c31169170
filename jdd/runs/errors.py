"""How a run ends that does not finish."""

from __future__ import annotations


class RunError(Exception):
    """A run that was possible failed: it diverged, or a file could not be written."""


class Interrupted(Exception):
    """The user stopped a run; its state was saved."""


def one_line(error: BaseException | str) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
