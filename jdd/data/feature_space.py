"""Feature spaces: where the distance between two real images is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.choice import Choice, register
from jdd.data.sampler import View
from jdd.data.table import ClassTable, take
from jdd.nn import network

Embed = Callable[[Array], Array]
"""``embed(images [n, H, W, ch]) -> [n, d]``."""

COUPLED_CHUNK = 256
"""Images of one pass where BatchNorm uses the statistics of the batch."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FeatureSpace(Choice):
    """The features by which images are compared.

    Attributes:
      bind: ``bind(key, table, view) -> embed``, once for each clustering.
    """

    bind: Callable[[Array, ClassTable, View], Embed]


@register
def network_features() -> FeatureSpace:
    """The embedding of the current network: what enters its classifier.

    Reference: DREAM (Liu et al., ICCV 2023, https://arxiv.org/abs/2302.14416).

    >>> network_features()
    network_features()
    """

    def bind(key: Array, table: ClassTable, view: View) -> Embed:
        del key, table

        def embed(images: Array) -> Array:
            embedding = view.network(view.params, images).embedding
            if embedding is None:
                raise ValueError(
                    "network_features needs the embedding of the network, which returns logits alone: "
                    "choose pixel_features"
                )
            return embedding

        return embed

    return FeatureSpace(bind)


@register
def random_network_features(name: str = "convnet", **options: Any) -> FeatureSpace:
    """The embedding of a random network, a new one for each clustering.

    Args:
      name: of the network, as in ``nn.network``.
      **options: of the architecture, such as its width.

    Raises:
      ValueError: if there is no such network or option.

    >>> random_network_features("convnet", width=32), random_network_features("mlp")
    (random_network_features(width=32), random_network_features('mlp'))
    """
    architecture = network(name, **options)

    def bind(key: Array, table: ClassTable, view: View) -> Embed:
        del view
        model = architecture.model(table.num_classes, _image_shape(table))
        variables = model.init(key)
        return lambda images: model.features(variables, images)[1]

    return FeatureSpace(bind)


@register
def pixel_features() -> FeatureSpace:
    """The pixels themselves.

    >>> pixel_features()
    pixel_features()
    """
    return FeatureSpace(lambda key, table, view: lambda images: images.reshape(len(images), -1))


def default_chunk() -> int:
    """Images at a time: small on a CPU, where activations then stay in cache; large elsewhere.

    Figures: docs/performance-choices.md, section "Representative images". A GPU is unmeasured.
    """
    return 16 if jax.default_backend() == "cpu" else 1024


def stored_images(table: ClassTable, indices: Array) -> Array:
    """Images of a table without normalisation: bytes on the [0, 1] scale, floats as they are."""
    images = table.images[indices]
    is_float = jnp.issubdtype(images.dtype, jnp.floating)
    return images if is_float else images.astype(jnp.float32) / 255


def embedded(
    embed: Embed, table: ClassTable, indices: Array, *, normalise: bool, chunk: int
) -> Array:
    """The features of some images, a chunk at a time, so that the activations of one chunk are in memory.

    Every chunk has the same number of images and no filler, because in a network with BatchNorm the
    images of a chunk influence each other: the last chunk overlaps the one before it.

    Args:
      embed: of a feature space.
      table: the real set.
      indices: int32 ``[n]``, into the table.
      normalise: whether images are normalised first.
      chunk: images at a time.

    Returns:
      float ``[n, d]``.
    """
    n = len(indices)
    size = min(chunk, n)
    parts = -(-n // size)

    def part(start: Array) -> Array:
        rows = lax.dynamic_slice_in_dim(indices, start, size)
        return embed(take(table, rows) if normalise else stored_images(table, rows))

    features = lax.map(part, jnp.minimum(jnp.arange(parts) * size, n - size))
    before = features[:-1].reshape((parts - 1) * size, features.shape[-1])
    return jnp.concatenate([before, features[-1, parts * size - n :]])


def _image_shape(table: ClassTable) -> tuple[int, int, int]:
    _, height, width, channels = table.images.shape
    return height, width, channels
