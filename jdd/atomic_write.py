"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path


def write_atomically(path: str | Path, content: bytes) -> None:
    """Writes under another name, flushes to the disk, then renames: no reader sees half a file.

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
    """Whether a file of this name is what a process killed in ``write_atomically`` leaves.

    >>> is_leftover(".set.json.4711.tmp"), is_leftover("set.json")
    (True, False)
    """
    return re.fullmatch(r"\..+\.\d+\.tmp", name) is not None


def append_line(path: str | Path, line: str) -> None:
    """Adds a line to a file; if the disk has no room for all of it, none of it stays.

    Raises:
        OSError: if it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     append_line(Path(folder, "a"), "one")
    ...     append_line(Path(folder, "a"), "two")
    ...     Path(folder, "a").read_text().splitlines()
    ['one', 'two']
    """
    rest = (line + "\n").encode()
    # Unbuffered: the whole line is one write, which a kill does not cut in practice.
    with open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except BaseException:
            file.truncate(end)
            raise
