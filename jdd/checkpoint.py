"""Checkpoints of a whole run state, restored bit for bit.

Orbax's ``Checkpointer`` writes them, stores their metadata and keeps the latest. Four things it does not do, or not
safely, are done here:

- It casts a leaf of another dtype silently, and does not name a leaf that does not fit. So the path, dtype and
  shape of every leaf are stored with the config, and compared.
- It reads damaged files as other numbers: without an error for 197 of 200 single flipped bits in the file of an
  array. So each checkpoint holds a checksum of every file of its state, and orbax reads only files that are as they
  were saved.
- It stores leaves under their paths, joined by dots: the two leaves of ``{"a.b": x, "a": {"b": y}}`` become one. It
  also builds the state's own classes around its options, which fails if a class checks its fields. So orbax gets a
  list of leaves, and the target gives the structure.
- When a write fails, it logs the tracebacks of all its threads, and some fail after the save has ended. So the room
  on the disk is checked before orbax starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
from orbax.checkpoint import v1 as ocp

from jdd.atomic_write import require_room, write_atomically
from jdd.checksums import folder_checksums, json_checksum
from jdd.leaves import check_leaves, describe, from_loaded, named_leaves, to_load, to_save

State = TypeVar("State")

# Formats 1 and 2 held checksums of arrays, or none.
_FORMAT = 3
_CHECKSUMS, _STATE = "checksums.json", "state"
_DAMAGED, _UNFINISHED = ".damaged", ".orbax-checkpoint-tmp"
# Bytes that a checkpoint needs beside its arrays: about twice what orbax 0.12 writes.
_ROOM, _ROOM_PER_LEAF = 128 * 1024, 1024


class DamagedCheckpoint(ValueError):
    """A checkpoint that is not as it was saved; ``reason`` names what differs."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Resumed(NamedTuple, Generic[State]):
    """The checkpoint that a run continues from.

    Attributes:
        step: of the newest checkpoint that is not damaged.
        state: what was saved there.
        set_aside: a line for each newer, damaged checkpoint.
    """

    step: int
    state: State
    set_aside: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run: ``directory/STEP`` for the latest ``keep`` steps.

    A checkpoint is written under a temporary name and then renamed. What a killed run leaves half
    written is ignored, and removed at the next save.

    Args:
        directory: the folder of the checkpoints; it is made at the first save.
        keep: how many of the latest checkpoints stay.

    Raises:
        ValueError: if ``keep`` is less than 1.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp
        >>> state = {"key": jax.random.key(0), "step": jnp.int32(3)}
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     checkpoints = Checkpoints(directory)
        ...     checkpoints.save(3, state, {"method": "dsa"})
        ...     restored = checkpoints.restore(None, state, config={"method": "dsa"})
        ...     checkpoints.latest(), int(restored["step"])
        (3, 3)
    """

    def __init__(self, directory: str | Path, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}, but at least 1 checkpoint must stay")
        # Orbax does not accept a relative path.
        self.directory = Path(directory).absolute()
        self.keep = keep

    def steps(self) -> list[int]:
        """Returns the steps that have a complete checkpoint, ascending."""
        return [step for step in self._named() if (self._path(step) / _CHECKSUMS).is_file()]

    def latest(self) -> int | None:
        """Returns the latest step that has a complete checkpoint, or None."""
        return max(self.steps(), default=None)

    def save(self, step: int, state: Any, config: Mapping[str, Any]) -> None:
        """Writes the checkpoint of ``step``, then removes all but the latest ``keep``.

        Args:
            step: not negative, and after every step already saved here.
            state: any pytree of arrays, typed PRNG keys included.
            config: the options of the run (JSON), compared when the run is resumed.

        Raises:
            ValueError: if the step is not after the latest one, a leaf is no array, or the config
                is not JSON.
            OSError: if the checkpoint cannot be written, for example on a full disk; the earlier
                checkpoints stay as they were.
        """
        latest = self.latest()
        if step < 0 or (latest is not None and step <= latest):
            after = "-1" if latest is None else f"the latest checkpoint, {latest}"
            raise ValueError(
                f"cannot save step {step} in {self.directory}: it is not after {after}"
            )
        leaves = named_leaves(state)
        if not leaves:
            raise ValueError("cannot save a state without arrays")
        metadata = {"format": _FORMAT, "config": _as_json(config), "leaves": describe(leaves)}
        self.directory.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
        size = sum(leaf.nbytes for leaf in leaves.values()) + len(json.dumps(metadata))
        require_room(self.directory, size + _ROOM_PER_LEAF * len(leaves) + _ROOM)
        try:
            self._write(step, [to_save(leaf) for leaf in leaves.values()], metadata)
        except Exception as error:
            # The unfinished files would keep the disk full.
            with contextlib.suppress(OSError):
                self._remove_unfinished()
            raise _as_os_error(error, self._path(step)) from error

    def config(self, step: int | None = None) -> dict[str, Any]:
        """Returns the config that was saved with ``step`` (the latest if None).

        Raises:
            ValueError: if there is no such checkpoint, or it is damaged.
        """
        return self._metadata(self._existing(step))["config"]

    def restore(
        self, step: int | None, target: State, *, config: Mapping[str, Any] | None = None
    ) -> State:
        """Returns the state of ``step`` (the latest if None), bit for bit as it was saved.

        Args:
            step: which checkpoint.
            target: a state of the same structure, shapes and dtypes, such as a fresh one; its
                values are ignored. It may be abstract (``jax.eval_shape``). Arrays are restored to
                the devices that the target's are bound to.
            config: if given, it must equal the config that was saved.

        Raises:
            ValueError: if there is no such checkpoint, or the config or a leaf is not the saved one;
                the message names what differs.
            DamagedCheckpoint: if the checkpoint is not as it was saved (a ValueError).
        """
        return self._restore(self._existing(step), target, config)

    def resume(
        self, target: State, *, config: Mapping[str, Any] | None = None
    ) -> Resumed[State] | None:
        """Returns the newest checkpoint that is not damaged, or None if there is no checkpoint.

        Newer, damaged ones are renamed to ``STEP.damaged``.

        Args:
            target: see ``restore``.
            config: see ``restore``.

        Raises:
            ValueError: if all checkpoints are damaged, or the config or a leaf is not the saved one.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self._named()):
            try:
                state = self._restore(step, target, config)
            except DamagedCheckpoint as error:
                damaged[step] = error.reason
                continue
            return Resumed(step, state, tuple(self._set_aside(*one) for one in damaged.items()))
        if damaged:
            reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
            raise ValueError(f"no checkpoint in {self.directory} can be read ({reasons})")
        return None

    def _write(self, step: int, leaves: list[Any], metadata: dict[str, Any]) -> None:
        def write_checksums() -> None:
            # Orbax calls this on one process, after its last write to the state and before the rename.
            unfinished = self.directory / f"{step}{_UNFINISHED}"
            folder = unfinished if unfinished.is_dir() else self._path(step)
            # Of the metadata, the content: orbax adds the time of the rename to its file later.
            checksums = {
                "metadata": json_checksum(metadata),
                "state": folder_checksums(folder / _STATE),
            }
            write_atomically(folder / _CHECKSUMS, json.dumps(checksums, indent=2).encode())

        context = ocp.Context()
        context.asynchronous.post_finalization_callback = write_checksums
        latest = ocp.training.preservation_policies.LatestN(self.keep)
        # A new Checkpointer for each save: after a failed one, it raises the same error again.
        with ocp.training.Checkpointer(
            str(self.directory),
            context=context,
            preservation_policy=latest,  # type: ignore[arg-type]
        ) as checkpointer:
            # ``overwrite`` concerns incomplete checkpoints only: ``save`` refuses a complete one.
            checkpointer.save(
                step,
                leaves,
                checkpointable_name=_STATE,
                custom_metadata=metadata,
                force=True,
                overwrite=True,
            )

    def _restore(self, step: int, target: State, config: Mapping[str, Any] | None) -> State:
        metadata = self._metadata(step)
        if config is not None:
            _check_config(metadata["config"], _as_json(config))
        leaves = named_leaves(target, abstract=True)
        check_leaves(metadata["leaves"], describe(leaves))
        try:
            abstract = [to_load(leaf) for leaf in leaves.values()]
            values = ocp.load(str(self._path(step)), abstract, checkpointable_name=_STATE)
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:
            # The checkpoint is not damaged: its files are as they were saved.
            raise ValueError(f"cannot read {self._path(step)}: {_first_line(error)}") from error
        restored = map(from_loaded, values, leaves.values())
        return jax.tree.unflatten(jax.tree.structure(target), restored)

    def _existing(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise ValueError(f"there is no checkpoint in {self.directory}")
        if step is not None and step not in steps:
            there = ", ".join(map(str, steps))
            raise ValueError(f"there is no checkpoint {step} in {self.directory}; there is {there}")
        return steps[-1] if step is None else step

    def _metadata(self, step: int) -> dict[str, Any]:
        """Returns the metadata of a checkpoint, after a check of all its checksums."""
        path = self._path(step)
        try:
            checksums = json.loads((path / _CHECKSUMS).read_text())
            saved, now = checksums["state"].items(), folder_checksums(path / _STATE)
        except FileNotFoundError:
            reason = f"it has no {_CHECKSUMS}: it is incomplete, or of an older format"
            raise self._damaged(step, reason) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._damaged(step, f"its {_CHECKSUMS} cannot be read") from error
        for name, checksum in saved:
            if now.get(name) != checksum:
                raise self._damaged(step, f"{_STATE}/{name} is not what was saved")
        metadata = ocp.metadata(str(path), checkpointable_name=_STATE).custom_metadata
        if not isinstance(metadata, dict) or json_checksum(metadata) != checksums.get("metadata"):
            raise self._damaged(step, "its metadata is not what was saved")
        if metadata["format"] != _FORMAT:
            raise ValueError(f"{path} is not a checkpoint of this version")
        return metadata

    def _damaged(self, step: int, reason: str) -> DamagedCheckpoint:
        others = [s for s in self.steps() if s != step]
        remedy = f"; remove it to go on from {others[-1]}" if others else ""
        return DamagedCheckpoint(f"cannot read {self._path(step)}: {reason}{remedy}", reason)

    def _path(self, step: int) -> Path:
        return self.directory / str(step)

    def _named(self) -> list[int]:
        """Returns the steps that folders are named after, complete or not, ascending."""
        if not self.directory.is_dir():
            return []
        return sorted(int(path.name) for path in self.directory.iterdir() if _is_step(path.name))

    def _set_aside(self, step: int, reason: str) -> str:
        aside = self.directory / f"{step}{_DAMAGED}"
        if jax.process_index() == 0:
            shutil.rmtree(aside, ignore_errors=True)
            self._path(step).rename(aside)
        return f"checkpoint {step} is damaged ({reason}) and set aside as {aside}"

    def _remove_unfinished(self) -> None:
        if jax.process_index() == 0:
            for path in self.directory.glob(f"[0-9]*{_UNFINISHED}"):
                shutil.rmtree(path)


def _is_step(name: str) -> bool:
    return re.fullmatch("0|[1-9][0-9]*", name) is not None


def _as_os_error(error: Exception, path: Path) -> OSError:
    """Returns the system's error for a failed write, whose number TensorStore puts into a text."""
    if isinstance(error, OSError):
        return error
    if match := re.search(r"os_error_code='(\d+)'", str(error)):
        return OSError(int(match[1]), os.strerror(int(match[1])), str(path))
    return OSError(f"cannot write {path}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config as it reads after a round trip: a tuple becomes a list."""
    try:
        return json.loads(json.dumps(dict(config), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the config of a checkpoint must be JSON: {error}") from error


def _check_config(saved: dict[str, Any], now: dict[str, Any]) -> None:
    differing = list(_differences(saved, now, ""))
    if differing:
        raise ValueError(f"the checkpoint was made with another config: {'; '.join(differing)}")


def _differences(saved: Any, now: Any, name: str) -> Iterator[str]:
    if not (isinstance(saved, dict) and isinstance(now, dict)):
        if saved != now or type(saved) is not type(now):
            yield f"{name} was {json.dumps(saved)}, is {json.dumps(now)}"
        return
    for key in sorted(saved.keys() | now.keys()):
        inner = f"{name}.{key}" if name else key
        if key not in now:
            yield f"{inner} was {json.dumps(saved[key])}, is not set"
        elif key not in saved:
            yield f"{inner} was not set, is {json.dumps(now[key])}"
        else:
            yield from _differences(saved[key], now[key], inner)
