"""The leaves of a run's state: by name, as orbax takes them, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_key(x: Any) -> bool:
    """Whether an array holds typed PRNG keys."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def named_leaves(state: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of a state, each with its path.

    Raises:
        ValueError: if one is no array.

    >>> [name for name, _ in named_leaves({"step": jnp.int32(3), "x": [jnp.zeros(2)]})]
    ["['step']", "['x'][0]"]
    """
    for path, leaf in jax.tree.leaves_with_path(state):
        name = jax.tree_util.keystr(path)
        if not isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct, np.ndarray, np.generic)):
            kind = type(leaf).__name__
            raise ValueError(f"state{name} is of type {kind}, but a checkpoint holds arrays")
        yield name, leaf


def describe(leaves: Mapping[str, Any]) -> list[list[Any]]:
    """Name, dtype and shape of each leaf, as JSON."""
    return [[name, str(x.dtype), list(x.shape)] for name, x in leaves.items()]


def as_stored(leaf: Any) -> Any:
    """A leaf as orbax takes it: an array of numbers."""
    if isinstance(leaf, np.generic):
        return np.asarray(leaf)
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def as_loaded(leaf: Any) -> Any:
    """What orbax is to load for a target leaf: on its devices if bound to some, else numpy."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        sharding = leaf.sharding
        data = jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
    else:
        data = as_stored(leaf)
        sharding = data.sharding if isinstance(data, jax.Array) and data.committed else None
    if sharding is None:
        return np.empty(data.shape, data.dtype)
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=sharding)


def as_saved(value: Any, leaf: Any, key_impl: str | None) -> Any:
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


def check_leaves(saved: list[list[Any]], target: list[list[Any]]) -> None:
    """Compares two descriptions.

    Raises:
        ValueError: naming the first leaf that differs.
    """
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
