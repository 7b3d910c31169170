"""How a function is run over an axis: one after the other, in chunks, or all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

Over = int | str | None
"""A strategy: "map" (one after the other), "vmap" (all at once), or k at a time; None: the default."""

DEFAULT: str = "map"
"""On a CPU "map" is 5 to 8 times faster than "vmap" (grouped convolutions). Unmeasured elsewhere."""


def check_over(name: str, over: Over) -> None:
    """Refuses what is no strategy.

    >>> check_over("over_classes", "vamp")
    Traceback (most recent call last):
        ...
    ValueError: over_classes must be 'map', 'vmap' or a number of at least 1, got 'vamp'
    """
    number = isinstance(over, int) and not isinstance(over, bool) and over >= 1
    if over not in (None, "map", "vmap") and not number:
        raise ValueError(f"{name} must be 'map', 'vmap' or a number of at least 1, got {over!r}")


def mapped(function: Callable[[Any], Any], xs: Any, over: Over = None) -> Any:
    """``function`` applied along the leading axis of a pytree, by a strategy; results are stacked.

    >>> import jax.numpy as jnp
    >>> print(mapped(lambda x: 2 * x, jnp.arange(3), 2))
    [0 2 4]
    """
    over = over or DEFAULT
    if over == "vmap":
        return jax.vmap(function)(xs)
    return lax.map(function, xs, batch_size=None if over == "map" else int(over))


def summed(function: Callable[[Any], Any], xs: Any, over: Over = None) -> Any:
    """The sum of ``function`` along the leading axis of a pytree, accumulated: nothing is stacked.

    >>> import jax.numpy as jnp
    >>> print(summed(lambda x: 2 * x, jnp.arange(5), 2))
    20
    """
    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], xs))
    # zeros_like, for under shard_map the shapes say also which devices the sum differs between.
    zeros = jax.tree.map(jnp.zeros_like, shapes)
    return mapped_and_summed(lambda x: ((), function(x)), xs, zeros, over)[1]


def mapped_and_summed(
    function: Callable[[Any], tuple[Any, Any]], xs: Any, start: Any, over: Over = None
) -> tuple[Any, Any]:
    """For ``function(x) -> (kept, added)``: what is kept, stacked, and ``start`` and all that is added.

    >>> import jax.numpy as jnp
    >>> kept, total = mapped_and_summed(lambda x: (2 * x, x**2), jnp.arange(5), jnp.int32(0), 2)
    >>> print(kept, total)
    [0 2 4 6 8] 30
    """
    over = over or DEFAULT
    count = jax.tree.leaves(xs)[0].shape[0]
    size = min({"map": 1, "vmap": count}.get(str(over)) or int(over), count)
    chunks = count // size

    def accumulate(total: Any, xs: Any) -> tuple[Any, Any]:
        if jax.tree.leaves(xs)[0].shape[0] == 1:
            # No vmap: with one element it would still make grouped convolutions.
            kept, added = function(jax.tree.map(lambda x: x[0], xs))
            kept = jax.tree.map(lambda y: y[None], kept)
        else:
            kept, each = jax.vmap(function)(xs)
            added = jax.tree.map(lambda y: y.sum(0), each)
        return jax.tree.map(jnp.add, total, added), kept

    if chunks == 1:
        total, kept = accumulate(start, jax.tree.map(lambda x: x[:size], xs))
    else:
        whole = jax.tree.map(lambda x: x[: chunks * size].reshape(chunks, size, *x.shape[1:]), xs)
        total, kept = lax.scan(accumulate, start, whole)
        kept = jax.tree.map(lambda y: y.reshape(chunks * size, *y.shape[2:]), kept)
    if count % size:
        total, more = accumulate(total, jax.tree.map(lambda x: x[chunks * size :], xs))
        kept = jax.tree.map(lambda y, z: jnp.concatenate([y, z]), kept, more)
    return kept, total


def varying_as(like: Array, tree: Any) -> Any:
    """The tree itself; under ``shard_map`` it differs between devices, in type, where ``like`` does.

    A derivative with respect to what all devices share is by JAX's rules the sum over devices. With
    respect to this it is that of each device.

    >>> import jax.numpy as jnp
    >>> print(varying_as(jnp.ones((2, 3)), {"bias": jnp.arange(2)})["bias"])
    [0 1]
    """
    # A sum with zero, which the compiler takes out: how types are asked for changes between versions.
    zero = jnp.zeros_like(like, shape=())
    return jax.tree.map(lambda x: x + zero.astype(x.dtype), tree)
