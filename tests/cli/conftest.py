"""The command line in this process: ``cli("distill", "dsa", ...)`` gives exit code, stdout and stderr."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from jdd.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def has_a_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the folder of compiled programs, where the environment sets none: never the user's."""
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(folder))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", chosen)


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Outcome]:
    has_a_cache(tmp_path_factory.getbasetemp() / "jax", monkeypatch)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def is_refused(outcome: Outcome, *words: str) -> bool:
    """Exit code 2, nothing on stdout, and one line on stderr with these words."""
    lines = outcome.err.splitlines()
    is_one = len(lines) == 1 and lines[0].startswith("jdd: error: ")
    return outcome.code == 2 and not outcome.out and is_one and all(w in lines[0] for w in words)


@pytest.fixture
def refused() -> Callable[..., bool]:
    return is_refused
