"""The command line in this process: ``cli("distill", "dsa", ...)`` gives exit code, stdout and stderr."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from jdd.cli import main
from jdd.datasets import load_dataset

# A module there registers a method, which is meant for processes of their own.
collect_ignore = ["extensions"]

CACHE = "JAX_COMPILATION_CACHE_DIR"
TINY = (
    "--classes 0 1 --width 4 --depth 1 --real-batch 8 --networks 3 --eval-networks 2 --eval-epochs 2"
).split()
QUICK = "--eval-networks 1 --eval-epochs 1 --eval-every 0 --whole no --random no".split()


class Outcome(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


class Run(NamedTuple):
    """A finished run.

    Attributes:
      path: its folder.
      arguments: of its command, without ``--out``.
      outcome: of its command.
    """

    path: Path
    arguments: list[str]
    outcome: Outcome


def called(*arguments: object) -> Outcome:
    """The outcome of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of compiled programs, where the environment sets none: never the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.getbasetemp() / "jax")
        patch.setenv(CACHE, os.environ.get(CACHE, folder))
        yield


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
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


def files(folder: Path) -> dict[str, bytes]:
    """The content of all files, without the name of the process that was last at work in a run."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def records(file: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object per line."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def save_digits(file: Path, classes: tuple[str, ...] = ("0", "1")) -> Path:
    """Two classes of the digits as a user's archive."""
    digits = load_dataset("digits", classes=classes)
    train, test = digits.train, digits.test
    x, y = train.images, train.labels
    np.savez(file, x_train=x, y_train=y, x_test=test.images, y_test=test.labels)
    return file


@pytest.fixture(scope="session")
def dc_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of DC on digits with two images per class, two updates per network and all evaluations."""
    path = tmp_path_factory.mktemp("dc") / "run"
    more = "--ipc 2 --updates 2 --net-epochs 1 --eval-every 1 --whole yes --seed 3".split()
    arguments = ["distill", "dc", *TINY, *more]
    outcome = called(*arguments, "--out", path)
    assert outcome.code == 0, outcome.err
    return Run(path, arguments, outcome)


@pytest.fixture(scope="session")
def npz_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run of DM on ``npz:mine.npz``, as it is called from the folder of that file."""
    folder = tmp_path_factory.mktemp("npz")
    save_digits(folder / "mine.npz")
    arguments = "distill dm --data npz:mine.npz --strategy none --width 4 --depth 1".split()
    arguments += ["--real-batch", "8", "--networks", "2", *QUICK]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outcome = called(*arguments, "--out", "run")
    assert outcome.code == 0, outcome.err
    return Run(folder / "run", arguments, outcome)
