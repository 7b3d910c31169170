"""How a run is refused, or ends that does not finish."""

from __future__ import annotations


class FolderError(ValueError):
    """A folder that cannot serve a run: it has other files, is in use, or has no run to resume."""


class OtherConfiguration(FolderError):
    """A run that was begun with another configuration.

    Attributes:
      entry: that differs, such as "recipe.sampler.n".
    """

    def __init__(self, message: str, entry: str) -> None:
        super().__init__(message)
        self.entry = entry


class RunError(Exception):
    """A run that was possible failed: it diverged, or a file could not be written."""


class Interrupted(Exception):
    """The user stopped a run; its state was saved."""


def one_line(error: BaseException | str) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
