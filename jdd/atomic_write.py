"""Writing files so that a kill or a full disk never leaves half of one."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it.

    Args:
        path: the file; if it exists already, it is replaced.
        content: what to write.

    Raises:
        OSError: if the file cannot be written; an existing file is then left as it was.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "a"), b"whole")
    ...     [(file.name, file.read_bytes()) for file in Path(folder).iterdir()]
    [('a', b'whole')]
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_leftover(name: str) -> bool:
    """Returns whether a file name is a temporary name of ``write_atomically``.

    A process that is killed while it writes leaves such a file behind.

    >>> is_leftover(".set.json.4711.tmp"), is_leftover("set.json")
    (True, False)
    """
    return re.fullmatch(r"\..+\.\d+\.tmp", name) is not None


def append_line(path: str | Path, line: str) -> None:
    """Appends a line to a file, as a whole or not at all.

    Args:
        path: the file; it is created if it does not exist.
        line: the text, without its newline.

    Raises:
        OSError: if the line cannot be written; the file is then cut back to what it was.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     append_line(Path(folder, "a"), "one")
    ...     append_line(Path(folder, "a"), "two")
    ...     Path(folder, "a").read_text().splitlines()
    ['one', 'two']
    """
    rest = (line + "\n").encode()
    # Unbuffered, so that the whole line is one write: in practice a kill does not cut it.
    with open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except BaseException:
            file.truncate(end)
            raise


def require_room(folder: str | Path, size: int) -> None:
    """Checks that a folder has room for more bytes, by reserving and releasing them.

    The operating system decides, so that quotas and limits on file sizes count too. Where it cannot
    reserve room (macOS, some file systems) nothing is checked.

    Args:
        folder: an existing folder.
        size: the number of bytes, above 0.

    Raises:
        OSError: if there is not enough room; nothing is left behind.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     require_room(folder, 1000)
    ...     list(Path(folder).iterdir())
    []
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        # The file has no name on Linux, so that a kill leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in _NO_ROOM:
            reason = os.strerror(error.errno)
            raise OSError(error.errno, f"{reason}: {size:,} bytes", str(folder)) from None
