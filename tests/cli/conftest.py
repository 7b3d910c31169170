"""The command line in this process: ``cli("distill", "dsa", ...)`` gives exit code, stdout and stderr."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import pytest

from jdd.cli import main


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Outcome]:
    # Tells the command line that somebody has decided about the cache, so that it does not.
    decided = os.environ.get(
        "JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "jax")
    )
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", decided)

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def is_refused(outcome: Outcome, *words: str) -> bool:
    """Exit code 2, nothing on stdout, and one line on stderr that says these words."""
    lines = outcome.err.splitlines()
    said = len(lines) == 1 and lines[0].startswith("jdd: error: ")
    return outcome.code == 2 and not outcome.out and said and all(w in lines[0] for w in words)


@pytest.fixture
def refused() -> Callable[..., bool]:
    return is_refused
