"""Runs ``jdd`` in child processes, each with a fault. The tests send it requests line by line.

It imports everything once and forks for each command, so that a command starts without imports. It reads one JSON
object per line on stdin and prints one answer per line on stdout:

``{"start": [arguments], "log": PATH, "faults": {...}}``: answers the pid; stdout and stderr go to PATH
``{"wait": pid}``: answers the exit code as ``subprocess`` gives it (-9 for SIGKILL), or "stopped" for SIGSTOP

Faults, all of them on the level of the operating system:

``kill``: ``[kind, part, n]``: SIGKILL before the n-th operation on a path that contains this part. The kind is an
    audit event: "open" (for writing), "os.mkdir", "os.rename", "os.remove" or "os.rmdir"
``kill_in_save``: ``[n, seconds]``: SIGKILL this long after the start of the n-th save
``small_files_from_save``: ``[n, bytes]``: from the n-th save on, no file can become larger
``full_disk_from_save``: ``[n, folder, bytes]``: from the n-th save on, this folder's file system has this much room
``signals``: ``[signal, ...]``: signals to itself, all at the third record of metrics
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import sklearn.datasets  # noqa: F401 (imported before the fork)

import jdd.cli.distill
import jdd.cli.experts
import jdd.runs.draw  # noqa: F401 (imported before the fork)
from jdd.checkpoint import Checkpoints
from jdd.cli import main
from jdd.runs import loop
from jdd.runs.directory import RunDirectory


def run(arguments: list[str], log: str, faults: dict[str, Any]) -> None:
    """Runs a command in the child process; does not return."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(file, standard)
    _short_dispatches()
    for name, values in faults.items():
        globals()[f"_{name}"](*values)
    code = main(arguments)
    sys.stdout.flush()
    os._exit(code)


def _short_dispatches() -> None:
    pace = loop.Pace.next
    loop.Pace.next = lambda self, limit: pace(self, min(limit, 2))  # type: ignore[method-assign]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill(kind: str, part: str, n: int) -> None:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event != kind:
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if any(part in os.fspath(a) for a in arguments[:2] if isinstance(a, str | os.PathLike)):
            seen += 1
            if seen == n:
                _die()

    sys.addaudithook(hook)


def _at_save(n: int, action: Any) -> None:
    save, count = Checkpoints.save, 0

    def patched(self: Checkpoints, *arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == n:
            action()
        save(self, *arguments)

    Checkpoints.save = patched  # type: ignore[method-assign]


def _kill_in_save(n: int, seconds: float) -> None:
    def later() -> None:
        time.sleep(seconds)
        _die()

    _at_save(n, threading.Thread(target=later, daemon=True).start)


def _small_files_from_save(n: int, size: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    _at_save(n, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard)))


def _full_disk_from_save(n: int, folder: str, room: int) -> None:
    def fill() -> None:
        space = os.statvfs(folder)
        with open(Path(folder, "filler"), "wb") as file:
            file.write(bytes(space.f_bavail * space.f_bsize - room))

    _at_save(n, fill)


def _signals(*names: str) -> None:
    append, count = RunDirectory.append, 0

    def patched(self: RunDirectory, record: Any) -> None:
        nonlocal count
        append(self, record)
        count += 1
        if count == 3:
            for name in names:
                os.kill(os.getpid(), getattr(signal, name))

    RunDirectory.append = patched  # type: ignore[method-assign]


def answer(request: dict[str, Any]) -> Any:
    """Does what a request asks for, and returns the answer."""
    if "wait" in request:
        _, status = os.waitpid(request["wait"], os.WUNTRACED)
        return "stopped" if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
    pid = os.fork()
    if pid == 0:
        try:
            run(request["start"], request["log"], request["faults"])
        except BaseException:  # a defect; the child must not continue the parent's loop
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(99)
    return pid


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
