"""Lines on stderr, whose reader may have gone.

In ``jdd distill dsa 2>&1 | tee log`` Ctrl-C also ends ``tee``, and the terminal of a job in the background may be
closed. An error of stderr must not end a run before its state is saved.
"""

from __future__ import annotations

import io
import sys


class _Nowhere(io.StringIO):
    """A stream that drops what is written to it."""

    def write(self, text: str) -> int:
        return len(text)


def print_line(text: str) -> None:
    """Prints a line on stderr. From the first line on that cannot be printed, nothing is."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        silence()


def silence() -> None:
    """Drops what is printed on stderr from now on."""
    sys.stderr = _Nowhere()
