"""Parametrisations: parameters that an optimiser moves, decoded into labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jdd.choice import Choice, register
from jdd.data.batch import Batch
from jdd.validation import at_least, one_of

Params = Any

Space = Literal["normalised", "raw01"]
"""Of decoded images. "normalised": ``(pixel - mean) / std``, what networks see; "raw01": pixels in [0, 1]."""

SPACES = ("normalised", "raw01")


def _same(params: Params) -> Any:
    return params


def _count_floats(params: Params) -> int:
    return sum(x.size for x in jax.tree.leaves(params))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Parametrisation(Choice):
    """What is learned, and how it becomes images.

    Attributes:
      init: ``init(key, images) -> params`` from images ``[C, ipc * tiles, H, W, ch]`` in `space`.
      decode: ``decode(params, variant) -> Batch``, class-stacked: images ``[C, n, H, W, ch]`` in
        `space`, labels ``[C, n]`` (or probabilities ``[C, n, K]``). The variant is an index, which may be
        traced.
      variants: how many variants each decoded image has. Matching uses one for a batch, evaluation
        draws one per image and minibatch.
      space: of decoded images; the library converts "raw01" with the table's mean and std.
      tiles: initial images that one stored image is made of.
      stored: ``stored(params) -> {name: array}``, what a file holds; `restored` is the inverse.
      restored: ``restored({name: array}) -> params``.
      num_floats: ``num_floats(params)``, the storage budget in numbers.
      project: ``project(params) -> params`` back to what is allowed, such as pixels in [0, 1]; None
        for no limit.
      projected: when that happens: after every "update", or once per "network", before its first
        update.
      preview: ``preview(params) -> [C, n, H, W, ch]`` in `space`, with the channels of decoded images or one: what
        pictures show before the variants of each image; None for nothing.
      formula: how the arrays of `stored` become images, in words, for those who read them without this
        library; empty for the first line of the factory's docstring.
    """

    init: Callable[[Array, Array], Params]
    decode: Callable[[Params, Array | int], Batch]
    variants: int = 1
    space: Space = "normalised"
    tiles: int = 1
    stored: Callable[[Params], dict[str, Array]] = _same
    restored: Callable[[dict[str, Array]], Params] = _same
    num_floats: Callable[[Params], int] = _count_floats
    project: Callable[[Params], Params] | None = None
    projected: Literal["update", "network"] = "update"
    preview: Callable[[Params], Array] | None = None
    formula: str = ""

    def __post_init__(self) -> None:
        one_of("space", self.space, SPACES)
        one_of("projected", self.projected, ("update", "network"))
        for name in ("variants", "tiles"):
            at_least(name, getattr(self, name), 1)


class Statistics(NamedTuple):
    """Mean and std of each channel, on the [0, 1] scale: what leads from one space to the other."""

    mean: Array
    std: Array


def class_labels(num_classes: int, n: int) -> Array:
    """Labels ``[C, n]`` of class-stacked images."""
    return jnp.tile(jnp.arange(num_classes, dtype=jnp.int32)[:, None], (1, n))


def into_space(space: Space, images: Array, statistics: Statistics) -> Array:
    """Normalised images in the space of a parametrisation."""
    if space == "normalised":
        return images
    mean, std = _per_channel(statistics, images.ndim)
    return images * std + mean


def from_space(space: Space, images: Any, statistics: Statistics) -> Any:
    """Decoded images in the space that networks see."""
    if space == "normalised":
        return images
    mean, std = _per_channel(statistics, images.ndim)
    return (images - mean) / std


def _per_channel(statistics: Statistics, rank: int) -> Statistics:
    """Statistics of the rank of the images, so that no rank is promoted."""
    return Statistics(*(x.reshape((1,) * (rank - 1) + (-1,)) for x in statistics))


def one_variant(
    parametrisation: Parametrisation, params: Params, key: Array, statistics: Statistics
) -> Batch:
    """The set with one variant, drawn at random, of all images; as networks see it.

    Returns:
      A class-stacked batch, images ``[C, n, H, W, ch]``.
    """
    count = parametrisation.variants
    variant = 0 if count == 1 else jax.random.randint(key, (), 0, count)
    return seen_variant(parametrisation, params, statistics, variant)


def seen_variant(
    parametrisation: Parametrisation, params: Params, statistics: Statistics, variant: Array | int
) -> Batch:
    """The set with one variant of all images; as networks see it.

    Returns:
      A class-stacked batch, images ``[C, n, H, W, ch]``.
    """
    batch = parametrisation.decode(params, variant)
    return batch._replace(images=from_space(parametrisation.space, batch.images, statistics))


def all_variants(parametrisation: Parametrisation, params: Params, statistics: Statistics) -> Batch:
    """The whole set as networks see it, with every variant.

    Returns:
      A class-stacked batch, images ``[C, n, V, H, W, ch]``.
    """
    batches = [parametrisation.decode(params, v) for v in range(parametrisation.variants)]
    images = jnp.stack([batch.images for batch in batches], axis=2)
    return batches[0]._replace(images=from_space(parametrisation.space, images, statistics))


def flat(batch: Batch) -> Batch:
    """A class-stacked batch with classes and images on one axis, class-major."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)


def equivalent_ipc(num_floats: int, num_classes: int, image_shape: tuple[int, int, int]) -> float:
    """How many images per class take as many numbers.

    Args:
      num_floats: the storage budget of a set, ``Parametrisation.num_floats(params)``.
      num_classes: of the set.
      image_shape: ``(H, W, channels)`` of its images.

    >>> round(equivalent_ipc(58_560, 10, (32, 32, 3)), 3)
    1.906
    """
    height, width, channels = image_shape
    return num_floats / (num_classes * height * width * channels)


def check_images(images: Array) -> None:
    """Raises a ``ValueError`` where images are not class-stacked, ``[C, n, H, W, ch]``."""
    if images.ndim != 5:
        raise ValueError(f"images must be [C, ipc, H, W, channels], got shape {images.shape}")


def _init_pixels(key: Array, images: Array) -> Params:
    del key
    check_images(images)
    # A copy: the state is donated to each dispatch, and the images may be the caller's.
    return {"images": jnp.array(images)}


def _decode_pixels(params: Mapping[str, Array], variant: Array | int) -> Batch:
    del variant
    images = params["images"]
    return Batch(images, class_labels(*images.shape[:2]))


def _pixels() -> Parametrisation:
    return Parametrisation(_init_pixels, _decode_pixels)


pixels = register(_pixels, "pixels")()
"""Every pixel is a parameter (DC, DSA, DM): decoding is the identity.

>>> params = pixels.init(jax.random.key(0), jnp.zeros((10, 1, 8, 8, 1)))
>>> batch = pixels.decode(params, 0)
>>> batch.images.shape, batch.labels.shape, pixels.num_floats(params)
((10, 1, 8, 8, 1), (10, 1), 640)
"""
