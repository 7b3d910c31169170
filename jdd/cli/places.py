"""Files that a command reads or writes: refused before anything is computed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from jdd.cli.errors import naming, require
from jdd.runs.directory import SET
from jdd.validation import did_you_mean

UNREGISTERED = (
    "the choice {!r} of the set is registered by no imported module: name yours in JDD_IMPORT"
)


def set_file(path: str | Path, *, words: Sequence[str] = ()) -> Path:
    """The file of a distilled set, which may be given by its run directory.

    Args:
      path: of the file, or of the run directory.
      words: what else could be given, for a hint where there is no such file.

    Raises:
      UsageError: if there is none.
    """
    with naming("SET"):
        file = expanded(Path(path))
        if file.is_dir():
            require((file / SET).is_file(), "SET", f"there is no {SET} in {file}")
            return file / SET
        hint = did_you_mean(str(path), words)
        require(file.is_file(), "SET", f"{file}: there is no such file{hint}")
        return file


def new_file(path: Path, option: str, *, overwrite: bool | None = None) -> Path:
    """A file that can be written without loss.

    Args:
      path: of the file.
      option: that names it.
      overwrite: whether ``--overwrite`` was given; None where the command has no such option.

    Raises:
      UsageError: if it exists and is not to be overwritten, or its folder does not exist or cannot
        be written in.
    """
    with naming(option):
        file = expanded(path)
        require(file.parent.is_dir(), option, f"there is no folder {file.parent}")
        require(not file.is_dir(), option, f"{file} is a folder")
        hint = "" if overwrite is None else ": --overwrite replaces it"
        require(bool(overwrite) or not file.exists(), option, f"{file} already exists{hint}")
        # Only an attempt shows whether the disk is read-only or full.
        with tempfile.TemporaryFile(dir=file.parent):
            return file


def expanded(path: Path) -> Path:
    """The path with ~ replaced by the user's home.

    Raises:
      ValueError: for ~ of a user without a home.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:  # a user without a home here
        raise ValueError(f"{path}: {error}") from None
