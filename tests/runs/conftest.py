"""What several tests of runs need."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def without_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes stderr a pipe whose reader has gone, as in ``2>&1 | tee log`` after Ctrl-C."""
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", open(writer, "w", closefd=False))  # noqa: SIM115
        yield
    os.close(writer)
