"""Checkpoints of a whole run state, restored bit for bit.

Orbax's V1 API is hidden behind this one module, because it still changes between releases. A state
is saved as a flat dictionary of its leaves, and its tree structure comes back from the target that
``restore`` is given: so every registered pytree survives (dataclasses, NamedTuples, empty optax
states), and a mismatch is reported by the name of the leaf. Orbax alone would cast a leaf of
another dtype in silence.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

State = TypeVar("State")

_FORMAT = 1
_DELETED = ".deleted"
_UNFINISHED = ".orbax-checkpoint-tmp"


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
        if not self.directory.is_dir():
            return []
        named = [path for path in self.directory.iterdir() if _is_step(path.name)]
        return sorted(int(path.name) for path in named if _is_complete(path))

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
        """
        latest = self.latest()
        if step < 0 or (latest is not None and step <= latest):
            after = "-1" if latest is None else f"the latest checkpoint, {latest}"
            raise ValueError(
                f"cannot save step {step} in {self.directory}: it is not after {after}"
            )
        leaves = dict(_named_leaves(state))
        if not leaves:
            raise ValueError("cannot save a state without arrays")
        keys = {name: x for name, x in leaves.items() if _is_key(x)}
        metadata = {
            "format": _FORMAT,
            "config": _as_json(config),
            "leaves": _describe(leaves),
            "key_impls": {name: str(jax.random.key_impl(key)) for name, key in keys.items()},
        }
        self._sweep()
        ocp.save(
            str(self.directory / str(step)),
            {str(i): _stored(x) for i, x in enumerate(leaves.values()) if x.size},
            custom_metadata=metadata,
            # A directory of this name that is no complete checkpoint is a half-written one.
            overwrite=True,
        )
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
            ValueError: if there is no such checkpoint, it cannot be read, or the config or a leaf
                is not the saved one; the message names the first that differs.
        """
        step = self._existing(step)
        metadata = self._metadata(step)
        if config is not None:
            _check_config(metadata["config"], _as_json(config))
        leaves = dict(_named_leaves(target))
        _check_leaves(metadata["leaves"], _describe(leaves))
        abstract = {str(i): _abstract(x) for i, x in enumerate(leaves.values()) if x.size}
        try:
            stored = ocp.load(str(self.directory / str(step)), abstract)
        except Exception as error:
            raise self._unreadable(step, error) from error
        restored = [
            _restored(stored.get(str(i)), x, metadata["key_impls"].get(name))
            for i, (name, x) in enumerate(leaves.items())
        ]
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
            metadata = ocp.metadata(str(self.directory / str(step))).custom_metadata
        except Exception as error:
            raise self._unreadable(step, error) from error
        if not isinstance(metadata, dict) or metadata.get("format") != _FORMAT:
            raise ValueError(f"{self.directory / str(step)} is not a checkpoint of this version")
        return metadata

    def _unreadable(self, step: int, error: Exception) -> ValueError:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        others = [s for s in self.steps() if s != step]
        remedy = f"; remove it to go on from {others[-1]}" if others else ""
        return ValueError(f"cannot read {self.directory / str(step)}: {reason[:200]}{remedy}")

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
        return bool(ocp.metadata(str(path)).custom_metadata)
    except Exception:
        return False


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _named_leaves(state: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree.leaves_with_path(state):
        name = jax.tree_util.keystr(path)
        if not isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct, np.ndarray, np.generic)):
            kind = type(leaf).__name__
            raise ValueError(f"state{name} is of type {kind}, but a checkpoint holds arrays")
        yield name, leaf


def _describe(leaves: Mapping[str, Any]) -> list[list[Any]]:
    return [[name, str(x.dtype), list(x.shape)] for name, x in leaves.items()]


def _stored(leaf: Any) -> Any:
    if isinstance(leaf, np.generic):
        return np.asarray(leaf)
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _abstract(leaf: Any) -> Any:
    """What orbax is to load for a target leaf: on its devices if bound to some, else numpy."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        sharding = leaf.sharding
        data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    else:
        data = _stored(leaf)
        sharding = data.sharding if isinstance(data, jax.Array) and data.committed else None
    if sharding is None:
        return np.empty(data.shape, data.dtype)
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=sharding)


def _restored(value: Any, leaf: Any, key_impl: str | None) -> Any:
    """The saved value as the kind of leaf that the target has there."""
    if value is None:
        value = np.empty(leaf.shape, leaf.dtype)
    if isinstance(leaf, np.generic):
        return value[()]
    if isinstance(leaf, np.ndarray):
        return value
    # Not bound to a device where the target was not, so that it still mixes with sharded arrays.
    array = value if isinstance(value, jax.Array) else jnp.array(value)
    return jax.random.wrap_key_data(array, impl=key_impl) if key_impl else array


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


def _check_leaves(saved: list[list[Any]], target: list[list[Any]]) -> None:
    was = {name: (dtype, tuple(shape)) for name, dtype, shape in saved}
    now = {name: (dtype, tuple(shape)) for name, dtype, shape in target}
    for name in [*was, *(name for name in now if name not in was)]:
        if name not in now:
            raise ValueError(f"state{name} is in the checkpoint, but not in this run's state")
        if name not in was:
            raise ValueError(f"state{name} is in this run's state, but not in the checkpoint")
        if was[name] != now[name]:
            here, there = _array(*now[name]), _array(*was[name])
            raise ValueError(f"state{name} is {here} here, but {there} in the checkpoint")
    if [name for name, *_ in saved] != [name for name, *_ in target]:
        raise ValueError("the leaves of the state are in another order than in the checkpoint")


def _array(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype}{list(shape)}"
