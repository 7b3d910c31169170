"""Where things lie. Imports nothing heavy, so that a wrong place is refused at once."""

from __future__ import annotations

from pathlib import Path

from jdd.cli.errors import UsageError, require
from jdd.cli.options import Distill

SET = "set.safetensors"


def run_folder(command: Distill) -> Path:
    """The run directory: as given, or runs/METHOD-DATA-ipcN-seedS."""
    if command.run.out is not None:
        return command.run.out.expanduser()
    data = "".join(c if c.isalnum() or c in "-_." else "-" for c in command.data.data)
    classes = "".join(f"-{name}" for name in command.data.classes)
    return Path("runs", f"{command.method}-{data}{classes}-ipc{command.ipc}-seed{command.run.seed}")


def check_run_folder(path: Path, *, resume: bool) -> None:
    """Refuses to begin in a folder that is in use, and to resume where there is nothing.

    Raises:
      UsageError: one line that names the option.
    """
    if resume and not (path / "config.json").is_file():
        raise UsageError(f"there is no run in {path} (option --resume)")
    if not resume and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(
            f"{path} already exists: give another folder, or go on with --resume (option --out)"
        )


def set_file(given: str | Path) -> Path:
    """The file of a distilled set, which may be given by its run directory.

    Raises:
      UsageError: if there is none.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        require((path / SET).is_file(), "SET", f"there is no {SET} in {path}")
        return path / SET
    require(path.is_file(), "SET", f"{path}: there is no such file")
    return path


def new_file(path: Path, option: str, *, overwrite: bool = False) -> Path:
    """A file that can be written without loss.

    Raises:
      UsageError: if it exists and is not to be overwritten, or its folder does not exist.
    """
    path = path.expanduser()
    require(path.parent.is_dir(), option, f"there is no folder {path.parent}")
    require(not path.is_dir(), option, f"{path} is a folder")
    require(overwrite or not path.exists(), option, f"{path} already exists")
    return path
