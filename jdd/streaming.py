"""Loops over an axis: classes or networks one by one or several at a time, and batches in micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.validation import at_least

Over = int | str | None
"""How a loop runs: "map" (one after the other), "vmap" (all at once), or k at a time; None for `DEFAULT`."""

DEFAULT: str = "map"
"""The loop that needs the least memory. Which is fastest depends on the machine:
`experiments/benchmarks/dsa_iteration.py --over-classes` measures each."""


def check_over(name: str, over: Over) -> None:
    """Refuses a value that is not of type `Over`.

    Args:
      name: of the argument, for the message.
      over: its value.

    Raises:
      ValueError: if it is neither "map", "vmap", None nor a whole number of at least 1.

    >>> check_over("over_classes", "vamp")
    Traceback (most recent call last):
        ...
    ValueError: over_classes must be 'map', 'vmap' or a number of at least 1, got 'vamp'
    """
    number = isinstance(over, int) and not isinstance(over, bool) and over >= 1
    if over not in (None, "map", "vmap") and not number:
        raise ValueError(f"{name} must be 'map', 'vmap' or a number of at least 1, got {over!r}")


def mapped(function: Callable[[Any], Any], xs: Any, over: Over = None) -> Any:
    """Applies a function along the leading axis of a pytree and stacks the results.

    Args:
      function: from one slice to a pytree of arrays.
      xs: pytree of arrays with a common leading axis.
      over: how the loop runs.

    Returns:
      What the function returns, with that leading axis.

    >>> import jax.numpy as jnp
    >>> print(mapped(lambda x: 2 * x, jnp.arange(3), 2))
    [0 2 4]
    """
    over = over or DEFAULT
    if over == "vmap":
        return jax.vmap(function)(xs)
    return lax.map(function, xs, batch_size=None if over == "map" else int(over))


def summed(function: Callable[[Any], Any], xs: Any, over: Over = None) -> Any:
    """Sums a function along the leading axis of a pytree, without stacking its results.

    Args:
      function: from one slice to a pytree of arrays.
      xs: pytree of arrays with a common leading axis.
      over: how the loop runs.

    Returns:
      What the function returns, summed.

    >>> import jax.numpy as jnp
    >>> print(summed(lambda x: 2 * x, jnp.arange(5), 2))
    20
    """
    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], xs))
    # zeros_like keeps the type, which under shard_map includes the axes along which devices differ.
    zeros = jax.tree.map(jnp.zeros_like, shapes)
    return mapped_and_summed(lambda x: ((), function(x)), xs, zeros, over)[1]


def mapped_and_summed(
    function: Callable[[Any], tuple[Any, Any]], xs: Any, start: Any, over: Over = None
) -> tuple[Any, Any]:
    """Applies a function along the leading axis of a pytree, stacks one part of its results and sums the other.

    Args:
      function: from one slice to a pair of pytrees (to stack, to sum).
      xs: pytree of arrays with a common leading axis.
      start: where the sum starts.
      over: how the loop runs.

    Returns:
      The stacked pytree, and ``start`` plus the sum.

    >>> import jax.numpy as jnp
    >>> kept, total = mapped_and_summed(lambda x: (2 * x, x**2), jnp.arange(5), jnp.array(0), 2)
    >>> print(kept, total)
    [0 2 4 6 8] 30
    """
    over = over or DEFAULT
    count = jax.tree.leaves(xs)[0].shape[0]
    size = min({"map": 1, "vmap": count}.get(str(over)) or int(over), count)
    chunks = count // size

    def accumulate(total: Any, xs: Any) -> tuple[Any, Any]:
        if jax.tree.leaves(xs)[0].shape[0] == 1:
            # Even over one element, vmap would make grouped convolutions.
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
    """Marks a pytree as different on each device, wherever ``like`` is; its values stay.

    Under ``shard_map``, a derivative with respect to a value that all devices share is the sum over
    devices. With respect to the result of this function it is that of each device.

    Args:
      like: an array that differs between devices, or not.
      tree: pytree of arrays.

    Returns:
      The pytree, of a type that varies over the same mesh axes as ``like``.

    >>> import jax.numpy as jnp
    >>> print(varying_as(jnp.ones((2, 3)), {"bias": jnp.arange(2)})["bias"])
    [0 1]
    """
    # The compiler removes this sum with zero. JAX's functions for such types change between versions.
    zero = jnp.zeros_like(like, shape=())
    return jax.tree.map(lambda x: x + zero.astype(x.dtype), tree)


def default_forward_batch() -> int:
    """Images that go through a network at a time where no gradient is taken: few on a CPU, many elsewhere.

    >>> default_forward_batch() in (32, 1024)
    True
    """
    return 32 if jax.default_backend() == "cpu" else 1024


class MicroBatches(NamedTuple):
    """The most images that go through a network at a time.

    Attributes:
      real: of the real batch; None for the platform's default.
      synthetic: of the synthetic batch; None for the platform's default.

    >>> MicroBatches.checked(32, None)
    MicroBatches(real=32, synthetic=None)
    """

    real: int | None
    synthetic: int | None

    @classmethod
    def checked(cls, real: int | None, synthetic: int | None) -> MicroBatches:
        """The two sizes, checked.

        Args:
          real: as the attribute.
          synthetic: as the attribute.

        Returns:
          The record.

        Raises:
          ValueError: if a size is no whole number of at least 1.
        """
        for name, size in (("real", real), ("synthetic", synthetic)):
            if size is not None:
                at_least(f"{name}_micro_batch", size, 1)
        return cls(real, synthetic)

    def sizes(self, pair: Any, coupled: bool, *, real: int, synthetic: int) -> tuple[int, int]:
        """The sizes for a pair of batches.

        Args:
          pair: the batches; ``pair.real.images`` and ``pair.synthetic.images`` are ``[n, ...]``.
          coupled: whether samples influence each other (BatchNorm): batches then stay whole.
          real: the default for the real batch.
          synthetic: the default for the synthetic batch.

        Returns:
          Images at a time, of the real and of the synthetic batch.
        """
        if coupled:
            return len(pair.real.images), len(pair.synthetic.images)
        return self.real or real, self.synthetic or synthetic


def parts_of(samples: Any, weights: Array, most: int) -> tuple[Any, Array]:
    """Cuts a batch into parts of equal size.

    The last part is filled up with samples of weight 0. They are copies of the first samples, because a
    network need not be finite for an image of zeros, and 0 * nan is nan.

    Args:
      samples: pytree of arrays ``[n, ...]``.
      weights: ``[n]``.
      most: the most samples in a part.

    Returns:
      The samples ``[k, m, ...]`` and their weights ``[k, m]``, with k and then m as small as possible.

    Raises:
      ValueError: if there are no samples.

    >>> parts_of(jnp.arange(5), jnp.ones(5), 3)[1].tolist()  # 3, and 2 with one copy
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


def in_parts(function: Callable[[Array], Any], samples: Array, most: int) -> Any:
    """A function of all samples, of at most so many at a time.

    Args:
      function: from ``[m, ...]`` to a pytree of arrays with one row for each sample.
      samples: ``[n, ...]``.
      most: samples at a time.

    Returns:
      What the function returns, with n rows.

    Raises:
      ValueError: if there are no samples.

    >>> in_parts(lambda x: 2 * x, jnp.arange(5.0), 2).tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    n = samples.shape[0]
    if 1 <= n <= most:
        return function(samples)
    results = lax.map(function, parts_of(samples, jnp.ones(n, samples.dtype), most)[0])
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:n], results)
