"""Shared by all scripts of ``experiments/``: options, exit codes, and JSON files with their provenance."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from tyro import conf

from jdd.artefact import versions
from jdd.atomic_write import write_atomically
from jdd.runs.errors import Interrupted, RunError, one_line
from jdd.runs.machine import device
from jdd.runs.stderr import print_line

T = TypeVar("T")

EXPERIMENTS = Path(__file__).resolve().parents[1]
RESULTS = EXPERIMENTS / "results"
# Narrower than this, tyro's layout of the help does not end.
_NARROWEST = 40


def main(
    file: str,
    doc: str | None,
    options: type[T],
    body: Callable[[T, str], None],
    arguments: Sequence[str] | None = None,
) -> int:
    """Reads the options of a script, runs it, and returns its exit code.

    Args:
      file: ``__file__`` of the script.
      doc: ``__doc__`` of the script, for ``--help``.
      options: frozen dataclass; its fields are the options.
      body: ``body(options, command)``; the command is for the files that it writes.
      arguments: None for those of the process.

    Returns:
      0: done. 1: a run failed. 2: a value is not possible. 130: stopped by SIGINT or --stop-after.

    Raises:
      SystemExit: after ``--help``, or for arguments that cannot be read.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parse(file, doc, options, words)
    try:
        body(chosen, command_line(file, words))
    except KeyboardInterrupt:
        return _end(130, file, "stopped")
    except Interrupted as end:
        return _end(130, file, one_line(end))
    except (RunError, OSError) as error:
        return _end(1, file, one_line(error))
    except ValueError as error:
        return _end(2, file, f"error: {one_line(error)}")
    return 0


def parse(file: str, doc: str | None, options: type[T], arguments: Sequence[str]) -> T:
    """The options that the arguments of a script state; parameters and errors as in `main`."""
    if shutil.get_terminal_size().columns < _NARROWEST:
        os.environ["COLUMNS"] = str(_NARROWEST)
    return tyro.cli(
        options,
        args=arguments,
        prog=f"python {_place(file)}",
        description=doc,
        config=(conf.FlagCreatePairsOff, conf.OmitArgPrefixes),
    )


def command_line(file: str, arguments: Sequence[str]) -> str:
    """The command that runs a script from the root of the repository, for the files that it writes.

    Absolute paths belong to one machine, so each is replaced by FOLDER.

    >>> command_line(str(EXPERIMENTS / "main_table.py"), ["mnist", "--data-dir", "/data"])
    'python experiments/main_table.py mnist --data-dir FOLDER'
    """
    words = [re.sub(r"(^|=)/.*", r"\1FOLDER", word) for word in arguments]
    return shlex.join(["python", _place(file), *words])


def machine() -> dict[str, Any]:
    """The device, and the processor of the host."""
    processor = _processor("model name") or platform.processor()
    return device() | {"processor": processor, "avx512": "avx512f" in _processor("flags").split()}


def provenance(command: str, began: float) -> dict[str, Any]:
    """How a result was made: command, seconds, device, versions and commit.

    Args:
      command: from `command_line`.
      began: ``time.perf_counter()`` at the start.
    """
    seconds = round(time.perf_counter() - began, 3)
    return {
        "command": command,
        "seconds": seconds,
        "device": machine(),
        "versions": versions(),
    }


def write_json(path: Path, result: Mapping[str, Any], command: str, began: float) -> None:
    """Writes a result with its provenance, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**result, **provenance(command, began)}, indent=1, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())
    print(f"wrote {path}", flush=True)


def _place(file: str) -> str:
    return Path(file).resolve().relative_to(EXPERIMENTS.parent).as_posix()


def _end(code: int, file: str, message: str) -> int:
    if os.environ.get("JDD_TRACEBACK") == "1":
        traceback.print_exc()
    print_line(f"{Path(file).name}: {message}")
    return code


def _processor(field: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty where there is none."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")
