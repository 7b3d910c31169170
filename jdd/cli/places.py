"""Where things lie. Imports nothing heavy, so that a wrong place is refused at once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from jdd.atomic_write import is_leftover
from jdd.cli.commands import Distill
from jdd.cli.errors import UsageError, blame, require
from jdd.runs.lock import LOCK
from jdd.validation import did_you_mean

SET = "set.safetensors"


def run_folder(command: Distill) -> Path:
    """The run directory: as given, or runs/METHOD-DATA-ipcN-seedS."""
    if command.run.out is not None:
        return _expanded(command.run.out, "--out")
    data = "".join(c if c.isalnum() or c in "-_." else "-" for c in command.data.data)
    classes = "".join(f"-{name}" for name in command.data.classes)
    return Path("runs", f"{command.method}-{data}{classes}-ipc{command.ipc}-seed{command.run.seed}")


def check_run_folder(path: Path, *, resume: bool) -> None:
    """Refuses to begin in a folder that is in use, and to resume where there is nothing.

    What a process leaves that was killed before it had written its config is nothing.

    Raises:
      UsageError: one line that names the option.
    """
    with blame("--out"):
        if resume:
            require((path / "config.json").is_file(), "--resume", f"there is no run in {path}")
        elif path.exists():
            free = path.is_dir() and all(_is_nothing(entry.name) for entry in path.iterdir())
            advice = "give another folder, or go on with --resume"
            require(free, "--out", f"{path} already exists: {advice}")


def set_file(given: str | Path, *, words: Sequence[str] = ()) -> Path:
    """The file of a distilled set, which may be given by its run directory.

    Args:
      given: the path.
      words: what else could have been meant, to be said where there is no such file.

    Raises:
      UsageError: if there is none.
    """
    with blame("SET"):
        path = _expanded(Path(given), "SET")
        if path.is_dir():
            require((path / SET).is_file(), "SET", f"there is no {SET} in {path}")
            return path / SET
        hint = did_you_mean(str(given), words)
        require(path.is_file(), "SET", f"{path}: there is no such file{hint}")
        return path


def new_file(path: Path, option: str, *, overwrite: bool = False) -> Path:
    """A file that can be written without loss.

    Raises:
      UsageError: if it exists and is not to be overwritten, or its folder does not exist or cannot
        be written in.
    """
    with blame(option):
        path = _expanded(path, option)
        require(path.parent.is_dir(), option, f"there is no folder {path.parent}")
        require(not path.is_dir(), option, f"{path} is a folder")
        require(overwrite or not path.exists(), option, f"{path} already exists")
        # Only an attempt tells: permissions say nothing of a read-only or a full disk.
        with tempfile.TemporaryFile(dir=path.parent):
            return path


def _expanded(path: Path, option: str) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:  # a user who has no home here
        raise UsageError(f"{path}: {error} (option {option})") from None


def _is_nothing(name: str) -> bool:
    return name == LOCK or is_leftover(name)
