"""One process at a time in a run directory."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import lock_descriptor

LOCK = ".lock"
"""The file in a run directory that is locked."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Locks a folder until the block or the process ends; makes the folder if there is none.

    The kernel releases the lock when its process ends, even by SIGKILL: no stale lock remains. The
    file ``.lock`` stays; it names the last process that held the lock. On a file system without
    locks nothing is locked.

    Args:
      folder: the folder.

    Raises:
      ValueError: if another process holds the folder.
      OSError: if the folder cannot be made or written in.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, hold(Path(folder)):
    ...     Path(folder, ".lock").read_text().split()[0]
    'process'
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OSError(f"cannot write in {folder}: {error}") from error
    try:
        if not _locked(file):
            holder = "another process"
            with contextlib.suppress(OSError):  # on Windows a locked file cannot be read
                holder = os.read(file, 1000).decode(errors="replace").strip() or holder
            raise ValueError(f"{folder} is in use by {holder}")
        # For the message above only, so a full disk is no reason to stop.
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    try:
        return lock_descriptor(file, blocking=False)
    except OSError:  # a file system without locks
        return True
