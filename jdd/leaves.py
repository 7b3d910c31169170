"""The leaves of a run's state: their names, and the form in which orbax saves and loads each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def named_leaves(state: Any, *, abstract: bool = False) -> dict[str, Any]:
    """Returns the leaves of a state by their paths in it.

    Args:
        state: any pytree of JAX arrays, numpy arrays and numpy scalars.
        abstract: whether ``jax.ShapeDtypeStruct`` is allowed too.

    Raises:
        ValueError: if a leaf is not such an array, or holds something else, such as texts.

    >>> list(named_leaves({"step": jnp.int32(3), "x": [jnp.zeros(2)]}))
    ["['step']", "['x'][0]"]
    """
    arrays = (jax.Array, np.ndarray, np.generic, *([jax.ShapeDtypeStruct] if abstract else []))
    leaves = {}
    for path, leaf in jax.tree.leaves_with_path(state):
        name = jax.tree_util.keystr(path)
        if not isinstance(leaf, arrays):
            kind = type(leaf).__name__
            raise ValueError(f"state{name} is of type {kind}, but a checkpoint holds arrays")
        if not (_is_key(leaf) or _is_numeric(leaf)):
            kinds = "numbers, truth values or PRNG keys"
            raise ValueError(f"state{name} is {_described(leaf)}, but a checkpoint holds {kinds}")
        if name in leaves:
            raise ValueError(f"two leaves of the state have the path state{name}")
        leaves[name] = leaf
    return leaves


def describe(leaves: Mapping[str, Any]) -> list[list[str]]:
    """Returns the path of each leaf with its dtype and shape, as JSON.

    >>> describe({"['x']": jnp.zeros((2, 3)), "['key']": jax.random.key(0)})
    [["['x']", 'float32[2, 3]'], ["['key']", 'key<fry>[]']]
    """
    return [[name, _described(leaf)] for name, leaf in leaves.items()]


def check_leaves(saved: list[list[str]], target: list[list[str]]) -> None:
    """Checks that two descriptions are equal; orbax casts a leaf of another dtype silently.

    Args:
        saved: ``describe`` of the leaves in the checkpoint.
        target: ``describe`` of the leaves to restore.

    Raises:
        ValueError: if they differ; the message names the first leaf that does.
    """
    there = {name: array for name, array in saved}
    here = {name: array for name, array in target}
    for name in {**there, **here}:
        if name not in here:
            raise ValueError(f"state{name} is in the checkpoint, but not in this run's state")
        if name not in there:
            raise ValueError(f"state{name} is in this run's state, but not in the checkpoint")
        if there[name] != here[name]:
            message = f"state{name} is {here[name]} here, but {there[name]} in the checkpoint"
            raise ValueError(message)
    if list(there) != list(here):
        raise ValueError("the leaves of the state are in another order than in the checkpoint")


def to_save(leaf: Any) -> Any:
    """Returns what orbax saves for a leaf; it refuses empty arrays and numpy scalars."""
    if leaf.size == 0:
        return None
    return np.asarray(leaf) if isinstance(leaf, np.generic) else leaf


def to_load(leaf: Any) -> Any:
    """Returns the abstract value that makes orbax load a leaf.

    Args:
        leaf: a leaf of the target. If it is bound to devices, it is loaded to them. Else it is loaded
            as a numpy array, or on the first device if it is a key, which numpy cannot hold.
    """
    if leaf.size == 0:
        return None
    sharding = leaf.sharding if _is_bound(leaf) else None
    if sharding is None and _is_key(leaf):
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    if sharding is None:
        return np.empty(leaf.shape, leaf.dtype)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def from_loaded(value: Any, leaf: Any) -> Any:
    """Returns a loaded value as the same kind of array as the target's leaf.

    Args:
        value: what orbax loaded for ``to_load(leaf)``.
        leaf: the target's leaf. If it is bound to no device, neither is the result, so that it can
            be combined with sharded arrays as before; orbax binds every JAX array.
    """
    if isinstance(leaf, np.generic):
        return value[()]
    if isinstance(leaf, np.ndarray):
        # Orbax loads every array in the byte order of the machine.
        return np.empty_like(leaf) if value is None else np.asarray(value, leaf.dtype)
    if value is None:
        empty = jnp.empty(leaf.shape, leaf.dtype)
        return jax.device_put(empty, leaf.sharding) if _is_bound(leaf) else empty
    return value if _is_bound(leaf) else _unbound(value)


def _unbound(array: Any) -> jax.Array:
    if _is_key(array):
        data, kind = jax.random.key_data(array), jax.random.key_impl(array)
        return jax.random.wrap_key_data(_unbound(data), impl=kind)
    return jnp.array(np.asarray(array))


def _is_bound(leaf: Any) -> bool:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return leaf.sharding is not None
    return isinstance(leaf, jax.Array) and leaf.committed


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_numeric(leaf: Any) -> bool:
    # numpy counts time differences among the numbers.
    number = jnp.issubdtype(leaf.dtype, np.number) and leaf.dtype.kind != "m"
    return number or jnp.issubdtype(leaf.dtype, np.bool_)


def _described(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"
