"""Writing the store of experts: what is complete outlives a kill at any time."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jdd.artefact import versions
from jdd.atomic_write import append_line, is_leftover, require_room, write_atomically
from jdd.checksums import array_checksum
from jdd.experts.plan import ExpertPlan
from jdd.experts.store import (
    DTYPE,
    PLAN,
    RECORDS,
    SNAPSHOTS,
    Store,
    first_difference,
    read_store,
)
from jdd.runs.errors import FolderError, OtherConfiguration, one_line
from jdd.runs.lock import LOCK, hold
from jdd.runs.machine import device


class StoreWriter:
    """A store that this process alone adds experts to. `open` it.

    Attributes:
      path: the folder.
      plan: of the experts.
      complete: numbers of the experts that are there, undamaged.
      damaged: numbers of those that were not as they had been written; they are dropped.
    """

    def __init__(self, store: Store, file: int) -> None:
        self.path, self.plan = store.path, store.plan
        intact = [store.is_intact(i) for i in range(store.num_experts)]
        by_state = list(zip(store.experts, store.records, intact, strict=True))
        self.complete = [expert for expert, _, is_intact in by_state if is_intact]
        self.damaged = [expert for expert, _, is_intact in by_state if not is_intact]
        self._parameters, self._file = store.parameters, file
        self._checksums: dict[int, list[str]] = {}
        # Without half a line that a killed process left, and without damaged experts.
        lines = [json.dumps(dict(record)) for _, record, is_intact in by_state if is_intact]
        text = "".join(f"{line}\n" for line in lines)
        write_atomically(self.path / RECORDS, text.encode())

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, path: Path, plan: ExpertPlan, parameters: int, *, experts: int, command: str = ""
    ) -> Iterator[StoreWriter]:
        """Makes a store, or opens one of this plan to add experts.

        Args:
          path: the folder.
          plan: with the fingerprint of its data.
          parameters: P, numbers of a network.
          experts: how many it will have; there must be room on the disk.
          command: what made it, for its files.

        Raises:
          FolderError: if the folder has other files, another process holds it, or it cannot be made.
          OtherConfiguration: a FolderError, if its experts are of another plan; both values are stated.
          OSError: if there is no room, or a file cannot be written.
        """
        _check_folder(path)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold(path))
            except (ValueError, OSError) as error:
                raise FolderError(f"folder: {one_line(error)}") from error
            _check_folder(path)  # again: now nobody else writes
            for entry in path.iterdir():
                if is_leftover(entry.name):
                    entry.unlink()
            size = (plan.epochs + 1) * parameters * DTYPE.itemsize
            missing = experts * size - _length(path / SNAPSHOTS)
            if not (path / PLAN).is_file():
                try:
                    require_room(path, experts * size)
                    _write_plan(path, plan, parameters, command)
                except BaseException:
                    (path / LOCK).unlink(missing_ok=True)
                    path.rmdir()
                    raise
            else:
                _refuse_other(path, plan)
                if missing > 0:
                    require_room(path, missing)
            file = os.open(path / SNAPSHOTS, os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, file)
            yield cls(read_store(path), file)

    def write(self, expert: int, snapshots: Sequence[Any] | np.ndarray) -> None:
        """Writes the next snapshots ``[n, P]`` of an expert that is not complete."""
        done = self._checksums.setdefault(expert, [])
        for snapshot in snapshots:
            values = np.ascontiguousarray(snapshot, DTYPE)
            if values.shape != (self._parameters,) or len(done) > self.plan.epochs:
                raise ValueError(
                    f"an expert has {self.plan.epochs + 1} snapshots of {self._parameters} numbers, got one of "
                    f"shape {values.shape} after {len(done)}"
                )
            place = expert * (self.plan.epochs + 1) + len(done)
            rest = memoryview(values.tobytes())
            offset = place * len(rest)
            while rest:
                written = os.pwrite(self._file, rest, offset)
                rest, offset = rest[written:], offset + written
            done.append(array_checksum(values))

    def finish(self, expert: int, facts: Mapping[str, Any]) -> None:
        """Makes an expert complete, once all its snapshots are on the disk.

        Args:
          expert: its number.
          facts: more about it, as JSON.
        """
        checksums = self._checksums.pop(expert)
        os.fsync(self._file)
        record = {"expert": expert, **facts, "checksums": checksums}
        append_line(self.path / RECORDS, json.dumps(record, allow_nan=False))
        self.complete.append(expert)


def _write_plan(path: Path, plan: ExpertPlan, parameters: int, command: str) -> None:
    content = {
        "plan": plan.record(),
        "parameters": parameters,
        "snapshots": f"{SNAPSHOTS}: float32, little-endian, [expert, {plan.epochs + 1}, {parameters}]: the "
        "initialisation, then the parameters after each epoch, in the order of "
        "jax.flatten_util.ravel_pytree",
        "versions": versions(),
        "device": device(),
        "command": command,
    }
    write_atomically(path / PLAN, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def _refuse_other(path: Path, plan: ExpertPlan) -> None:
    try:
        before = read_store(path).plan
    except ValueError as error:
        raise FolderError(f"folder: {error}") from error
    other = first_difference(before, plan)
    if other is not None:
        entry, was, now = other
        raise OtherConfiguration(
            f"the experts in {path} have {entry} {was}, not {now}: give the same options, or another folder",
            entry,
        )


def _check_folder(path: Path) -> None:
    """Refuses a folder with files of something else."""
    try:
        names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
        is_file = path.exists() and not path.is_dir()
    except OSError as error:
        raise FolderError(f"folder: {one_line(error)}") from error
    foreign = [n for n in names if n not in (LOCK, PLAN, RECORDS, SNAPSHOTS) and not is_leftover(n)]
    if is_file or (PLAN not in names and any(n != LOCK and not is_leftover(n) for n in names)):
        raise FolderError(
            f"folder: {path} already exists and holds no experts: choose another folder"
        )
    if foreign:
        raise FolderError(f"folder: {path} holds other files than experts: {foreign[0]}")


def _length(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
