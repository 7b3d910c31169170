"""Real images on the device once, uint8 sorted by class; batches are drawn and gathered in jit."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jdd.data.normalisation import normalise
from jdd.data.split import Split
from jdd.validation import at_least

# Ranked values held at once by draw_indices: 1 MiB, 43 classes of 6000 images.
_CHUNK = 2**18


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["images", "start", "count", "mean", "std"],
    meta_fields=["largest", "smallest"],
)
@dataclasses.dataclass(frozen=True)
class ClassTable:
    """All images of a split, sorted by class: class c is `images[start[c] : start[c] + count[c]]`.

    A frozen pytree: pass it to jitted functions as an argument (a closure would make the images a
    constant of the program).

    Attributes:
      images: uint8 [N, H, W, ch]; or floats, which are already in the space that networks see
        (whitened by ZCA, for example).
      start, count: int32 [C].
      mean, std: float32 [ch], on the [0, 1] scale.
      largest, smallest: images in the largest and the smallest class; static, since shapes of
        drawing and the check of IPC depend on them.
    """

    images: jax.Array
    start: jax.Array
    count: jax.Array
    mean: jax.Array
    std: jax.Array
    largest: int
    smallest: int

    @property
    def num_classes(self) -> int:
        return self.start.shape[0]


def class_table(
    split: Split, num_classes: int, mean: Sequence[float], std: Sequence[float]
) -> ClassTable:
    """The class table of a split; within a class the images keep their order.

    Raises:
      ValueError: for a label outside 0..num_classes-1, an empty split, or statistics that are not
        one finite number per channel, with a positive std.

    Example:
      >>> split = Split(np.zeros((3, 8, 8, 1), np.uint8), np.array([1, 0, 1], np.int32))
      >>> table = class_table(split, 2, (0.5,), (0.25,))
      >>> table.start.tolist(), table.count.tolist()
      ([0, 1], [1, 2])
    """
    if not len(split):
        raise ValueError("a class table needs at least one image")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"labels run from {low} to {high}, allowed are 0 to {num_classes - 1}")
    channels = split.images.shape[3]
    if len(mean) != channels or len(std) != channels:
        raise ValueError(f"mean and std need {channels} numbers each, got {len(mean)}, {len(std)}")
    if not (np.isfinite([*mean, *std]).all() and min(std) > 0):
        raise ValueError(f"mean must be finite and std positive, got {(*mean,)}, {(*std,)}")
    count = np.bincount(split.labels, minlength=num_classes).astype(np.int32)
    start = (np.cumsum(count) - count).astype(np.int32)
    order = np.argsort(split.labels, kind="stable")
    return ClassTable(
        images=jnp.asarray(split.images[order]),
        start=jnp.asarray(start),
        count=jnp.asarray(count),
        mean=jnp.asarray(mean, jnp.float32),
        std=jnp.asarray(std, jnp.float32),
        largest=int(count.max()),
        smallest=int(count.min()),
    )


def draw_indices(key: jax.Array, table: ClassTable, n: int) -> tuple[jax.Array, jax.Array]:
    """n images of every class, uniformly without replacement, in random order.

    Every image of a class gets a random number and the n largest win. A class with fewer than n
    images gives all of them; the places beyond have weight 0 (and the index of an arbitrary image).

    Args:
      key: typed PRNG key.
      table: the images, C classes.
      n: images per class; static.

    Returns:
      indices int32 [C, n] into `table.images`, weights float32 [C, n] in {0, 1}.

    Raises:
      ValueError: for n below 1.

    Example:
      >>> split = Split(np.zeros((3, 8, 8, 1), np.uint8), np.array([1, 0, 1], np.int32))
      >>> table = class_table(split, 2, (0.5,), (0.25,))
      >>> indices, weights = draw_indices(jax.random.key(0), table, 2)
      >>> sorted(indices[1].tolist()), weights.tolist()
      ([1, 2], [[1.0, 0.0], [1.0, 1.0]])
    """
    at_least("n", n, 1)
    width = max(table.largest, n)
    last = table.images.shape[0] - 1

    # top_k of random floats, not a full sort: docs/performance-choices.md, section "Drawing real images".
    # top_k has a fast path for floats, not for integers; Floyd's algorithm is quicker on a CPU, but its n
    # sequential steps are launches on a GPU.
    def draw(key: jax.Array, start: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
        bits = jax.random.bits(key, (width,), jnp.uint32)
        # 30 random bits as a positive normal float: ordered alike, fewer ties than uniform() has
        rank = jax.lax.bitcast_convert_type((bits >> 2) + jnp.uint32(0x00800000), jnp.float32)
        _, local = jax.lax.top_k(jnp.where(jnp.arange(width) < count, rank, -1.0), n)
        valid = jnp.arange(n) < count
        index = jnp.minimum(start + jnp.where(valid, local, 0), last)
        return index.astype(jnp.int32), valid.astype(jnp.float32)

    classes = table.num_classes
    keys = jax.random.split(key, classes)
    chunk = min(classes, max(1, _CHUNK // width))  # so that memory does not grow with the classes
    return jax.lax.map(lambda a: draw(*a), (keys, table.start, table.count), batch_size=chunk)


def take(table: ClassTable, indices: jax.Array) -> jax.Array:
    """Images at `indices` in the space that networks see.

    Bytes are gathered as uint8, then (x / 255 - mean) / std; a table of floats is gathered as it is.

    Args:
      table: the images.
      indices: int32 of any shape, into `table.images`.

    Returns:
      float32 [*indices.shape, H, W, ch], in normalised space.

    Example:
      >>> split = Split(np.full((1, 2, 2, 1), 255, np.uint8), np.array([0], np.int32))
      >>> table = class_table(split, 1, (0.5,), (0.25,))
      >>> take(table, jnp.array([[0, 0]])).shape, float(take(table, jnp.array(0)).mean())
      ((1, 2, 2, 2, 1), 2.0)
    """
    return seen_by_networks(table.images[indices], table)


def seen_by_networks(images: jax.Array, table: ClassTable) -> jax.Array:
    """Stored images of a table as networks see them: bytes are normalised, floats stay."""
    if jnp.issubdtype(table.images.dtype, jnp.floating):
        return images
    return normalise(images, table.mean, table.std)
