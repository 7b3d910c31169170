"""Running a function over an axis in parts: classes or seeds one by one or together, batches in micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.validation import at_least

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


class MicroBatches(NamedTuple):
    """Images at a time on both sides, at most.

    Attributes:
      real: of the real side; None for the platform's default.
      synthetic: the same for the synthetic side.
    """

    real: int | None
    synthetic: int | None

    @classmethod
    def checked(cls, real: int | None, synthetic: int | None) -> MicroBatches:
        """Raises a ``ValueError`` where a number is below 1."""
        for name, size in (("real", real), ("synthetic", synthetic)):
            if size is not None:
                at_least(f"{name}_micro_batch", size, 1)
        return cls(real, synthetic)

    def sizes(self, pair: Any, coupled: bool, *, real: int, synthetic: int) -> tuple[int, int]:
        """Images at a time, real and synthetic; the defaults where none are given.

        Where samples influence each other (``coupled``) a batch is taken whole.
        """
        if coupled:
            return len(pair.real.images), len(pair.synthetic.images)
        return self.real or real, self.synthetic or synthetic


def parts_of(samples: Any, weights: Array, most: int) -> tuple[Any, Array]:
    """Cuts a batch into parts of at most ``most`` samples, as even as possible.

    Samples of weight 0 fill the last part up, so that a loop over parts has one body. They are copies,
    because a network need not be finite at an image of zeros, and 0 * nan is nan.

    Args:
      samples: arrays ``[n, ...]``.
      weights: ``[n]``.
      most: samples in a part.

    Returns:
      The samples ``[k, m, ...]`` and their weights ``[k, m]``.

    Raises:
      ValueError: if there are no samples.

    >>> parts_of(jnp.arange(5), jnp.ones(5), 3)[1].tolist()  # 3 and 2, and one to fill up
    [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    n = len(weights)
    if n < 1:
        raise ValueError("an empty batch cannot go through a network")
    parts = -(-n // most)
    size = -(-n // parts)  # 100 samples in 7 parts of 15, not of 16
    fill = parts * size - n

    def cut(x: Array, filler: Array) -> Array:
        filled = jnp.concatenate([x, filler]) if fill else x
        return filled.reshape(parts, size, *x.shape[1:])

    samples = jax.tree.map(lambda x: cut(x, x[:fill]), samples)
    return samples, cut(weights, jnp.zeros(fill, weights.dtype))
