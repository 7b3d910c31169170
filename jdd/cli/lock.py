"""One process at a time in a run directory."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from jdd.cli.errors import UsageError, one_line
from jdd.cli.places import LOCK

try:
    import fcntl
except ImportError:  # Windows has no flock: there a second process is not noticed
    fcntl = None


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Holds a folder, which is made if there is none, until the block or the process ends.

    The kernel lets go of the lock when its process dies, however it does: there is no stale lock.
    The file ``.lock`` stays and only says who was the last. A file system without locks has none.

    Raises:
      UsageError: if another process holds the folder, or it cannot be made or written in.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UsageError(f"cannot write in {folder}: {one_line(error)} (option --out)") from None
    try:
        if not _locked(file):
            who = os.read(file, 1000).decode(errors="replace").strip() or "another process"
            raise UsageError(f"{folder} is in use by {who}: give another folder (option --out)")
        # Only for people to read: a disk that is full is no reason to stop here.
        with contextlib.suppress(OSError):
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True
