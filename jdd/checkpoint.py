"""Checkpoints of a whole run state, restored bit for bit.

Orbax's V1 API is hidden behind this one module, because it still changes between releases. A state
is saved as a flat dictionary of its leaves, and its tree structure comes back from the target that
``restore`` is given: so every registered pytree survives (dataclasses, NamedTuples, empty optax
states), and a mismatch is reported by the name of the leaf. Orbax alone would cast a leaf of
another dtype, and take a changed byte for a number, in silence.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
from orbax.checkpoint import v1 as ocp

from jdd.checksums import sum_of, sum_of_json
from jdd.leaves import as_loaded, as_saved, as_stored, check_leaves, describe, is_key, named_leaves

State = TypeVar("State")

# Format 1 had no sums.
_FORMAT, _FORMATS = 2, (1, 2)
_ENTRIES = {"format", "config", "leaves", "key_impls"}
_DELETED, _DAMAGED = ".deleted", ".damaged"
_UNFINISHED = ".orbax-checkpoint-tmp"
_SETTLE_SECONDS = 0.5


class DamagedCheckpoint(ValueError):
    """A checkpoint that cannot be read, or does not hold what was saved; ``reason`` says why."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Resumed(NamedTuple, Generic[State]):
    """Where a run goes on.

    Attributes:
        step: of the newest checkpoint that could be read.
        state: what was saved there.
        set_aside: a line for each newer checkpoint, which could not be read.
    """

    step: int
    state: State
    set_aside: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run: ``directory/STEP`` for the latest ``keep`` steps.

    A checkpoint is written beside its final place and renamed, so it is there as a whole or not at
    all: what a killed run left half-written is ignored, and removed at the next save.

    Args:
        directory: where the checkpoints are; made at the first save.
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
        # Absolute, because orbax takes no relative path.
        self.directory = Path(directory).absolute()
        self.keep = keep

    def steps(self) -> list[int]:
        """The steps that have a complete checkpoint, ascending."""
        return [step for step in self._named() if _is_complete(self.directory / str(step))]

    def latest(self) -> int | None:
        """The latest step that has a complete checkpoint; None if there is none."""
        return max(self.steps(), default=None)

    def save(self, step: int, state: Any, config: Mapping[str, Any]) -> None:
        """Writes the checkpoint of ``step``, then removes all but the latest ``keep``.

        Args:
            step: not negative, and after every step already saved here.
            state: any pytree of arrays, typed PRNG keys included.
            config: what the run was started with (JSON), compared when a run is resumed.

        Raises:
            ValueError: if the step is not after the latest one, a leaf is no array, or the config
                is not JSON.
            OSError: if it cannot be written, for example for lack of room; what was there before
                is still there, and nothing else.
        """
        latest = self.latest()
        if step < 0 or (latest is not None and step <= latest):
            after = "-1" if latest is None else f"the latest checkpoint, {latest}"
            raise ValueError(
                f"cannot save step {step} in {self.directory}: it is not after {after}"
            )
        leaves = dict(named_leaves(state))
        if not leaves:
            raise ValueError("cannot save a state without arrays")
        keys = {name: x for name, x in leaves.items() if is_key(x)}
        metadata = {
            "format": _FORMAT,
            "config": _as_json(config),
            "leaves": describe(leaves),
            "key_impls": {name: str(jax.random.key_impl(key)) for name, key in keys.items()},
            "sums": [sum_of(as_stored(x)) for x in leaves.values()],
        }
        self._sweep()
        try:
            with _silent_orbax(settle=_SETTLE_SECONDS):
                ocp.save(
                    str(self.directory / str(step)),
                    {str(i): as_stored(x) for i, x in enumerate(leaves.values()) if x.size},
                    custom_metadata={**metadata, "sum": sum_of_json(metadata)},
                    # A directory of this name that is no complete checkpoint is a half-written one.
                    overwrite=True,
                )
        except Exception as error:
            # What was begun takes the room that a full disk lacks.
            with contextlib.suppress(OSError):
                self._sweep()
            raise _as_os_error(error, self.directory / str(step)) from error
        for old in self.steps()[: -self.keep]:
            self._remove(old)

    def config(self, step: int | None = None) -> dict[str, Any]:
        """The config that was saved with ``step`` (the latest if None).

        Raises:
            ValueError: if there is no such checkpoint, or it cannot be read.
        """
        return self._metadata(self._existing(step))["config"]

    def restore(
        self, step: int | None, target: State, *, config: Mapping[str, Any] | None = None
    ) -> State:
        """The state of ``step`` (the latest if None), bit for bit as it was saved.

        Args:
            step: which checkpoint.
            target: a state of the same structure, shapes and dtypes, such as a fresh one; its
                values are ignored. It may be abstract (``jax.eval_shape``). Arrays go where the
                target's are.
            config: if given, it must equal the config that was saved.

        Raises:
            ValueError: if there is no such checkpoint, or the config or a leaf is not the saved one;
                the message names the first that differs.
            DamagedCheckpoint: if it cannot be read, or does not hold what was saved (a ValueError).
        """
        return self._restore(self._existing(step), target, config)

    def resume(
        self, target: State, *, config: Mapping[str, Any] | None = None
    ) -> Resumed[State] | None:
        """The newest checkpoint that can be read, or None if there never was one.

        Newer ones that are damaged are renamed to ``STEP.damaged``, out of the way of the run.

        Args:
            target: see ``restore``.
            config: see ``restore``.

        Raises:
            ValueError: if there are checkpoints but none can be read, or the config or a leaf is not
                the saved one.
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

    def _restore(self, step: int, target: State, config: Mapping[str, Any] | None) -> State:
        metadata = self._metadata(step)
        if config is not None:
            _check_config(metadata["config"], _as_json(config))
        leaves = dict(named_leaves(target))
        check_leaves(metadata["leaves"], describe(leaves))
        abstract = {str(i): as_loaded(x) for i, x in enumerate(leaves.values()) if x.size}
        try:
            with _silent_orbax():
                stored = ocp.load(str(self.directory / str(step)), abstract)
        except (MemoryError, jax.errors.JaxRuntimeError):
            raise
        except Exception as error:
            raise self._unreadable(step, _first_line(error)) from error
        sums = metadata.get("sums") or [None] * len(leaves)
        restored = []
        for i, ((name, x), expected) in enumerate(zip(leaves.items(), sums, strict=True)):
            value = stored.get(str(i))
            if value is not None and expected not in (None, sum_of(value)):
                raise self._unreadable(step, f"state{name} is not what was saved")
            restored.append(as_saved(value, x, metadata["key_impls"].get(name)))
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
        try:
            with _silent_orbax():
                metadata = ocp.metadata(str(self.directory / str(step))).custom_metadata
        except Exception as error:
            raise self._unreadable(step, _first_line(error)) from error
        if not isinstance(metadata, dict) or not metadata.keys() >= _ENTRIES:
            raise self._unreadable(step, "it does not say what it is")
        if metadata["format"] not in _FORMATS:
            raise ValueError(f"{self.directory / str(step)} is not a checkpoint of this version")
        if metadata["format"] > 1 and metadata.pop("sum", None) != sum_of_json(metadata):
            raise self._unreadable(step, "its description is not what was saved")
        return metadata

    def _unreadable(self, step: int, reason: str) -> DamagedCheckpoint:
        others = [s for s in self.steps() if s != step]
        remedy = f"; remove it to go on from {others[-1]}" if others else ""
        return DamagedCheckpoint(
            f"cannot read {self.directory / str(step)}: {reason}{remedy}", reason
        )

    def _named(self) -> list[int]:
        """The steps that something is named after, ascending."""
        if not self.directory.is_dir():
            return []
        return sorted(int(path.name) for path in self.directory.iterdir() if _is_step(path.name))

    def _set_aside(self, step: int, reason: str) -> str:
        aside = self.directory / f"{step}{_DAMAGED}"
        if jax.process_index() == 0:
            shutil.rmtree(aside, ignore_errors=True)
            (self.directory / str(step)).rename(aside)
        return f"checkpoint {step} is damaged ({reason}) and set aside as {aside}"

    def _remove(self, step: int) -> None:
        # Renamed first, so that a half-removed checkpoint is never taken for one.
        if jax.process_index() == 0:
            gone = self.directory / f"{step}{_DELETED}"
            (self.directory / str(step)).rename(gone)
            shutil.rmtree(gone)

    def _sweep(self) -> None:
        if jax.process_index() == 0 and self.directory.is_dir():
            for path in self.directory.iterdir():
                step, dot, suffix = path.name.partition(".")
                if _is_step(step) and (dot + suffix).startswith((_DELETED, _UNFINISHED)):
                    shutil.rmtree(path)


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _is_complete(path: Path) -> bool:
    try:
        with _silent_orbax():
            return bool(ocp.metadata(str(path)).custom_metadata)
    except Exception:
        return False


@contextlib.contextmanager
def _silent_orbax(*, settle: float = 0.0) -> Iterator[None]:
    """Orbax logs a failure with the traceback of every thread; the exception says it in a line.

    Writes that were on their way when one failed end later, in threads of TensorStore's, and find the
    event loop closed: ``settle`` is how long to wait for them.
    """
    logger, hook = logging.getLogger("absl"), sys.unraisablehook
    level = logger.level
    logger.setLevel(logging.CRITICAL)

    def others(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    sys.unraisablehook = others
    try:
        yield
    except Exception:
        time.sleep(settle)
        raise
    finally:
        logger.setLevel(level)
        sys.unraisablehook = hook


def _as_os_error(error: Exception, path: Path) -> OSError:
    """What stopped orbax from writing: TensorStore says the system's error number in its text."""
    if isinstance(error, OSError):
        return error
    if found := re.search(r"os_error_code='(\d+)'", str(error)):
        return OSError(int(found[1]), os.strerror(int(found[1])), str(path))
    return OSError(f"cannot write {path}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as it reads after a round trip, so that a tuple equals the list it became."""
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
