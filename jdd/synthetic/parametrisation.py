"""Parametrisations: parameters that an optimiser moves, decoded into labelled images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Params = Any


class Parametrisation(NamedTuple):
    """What is learned, as three pure functions.

    Attributes:
      init: ``init(images [C, n, H, W, ch]) -> params``, starting from given images.
      decode: ``decode(params, key) -> (images [C, m, H, W, ch], labels int32 [C, m])``.
      num_floats: ``num_floats(params)``, the storage budget in numbers.
    """

    init: Callable[[Array], Params]
    decode: Callable[[Params, Array], tuple[Array, Array]]
    num_floats: Callable[[Params], int]


def _init(images: Array) -> Params:
    if images.ndim != 5:
        raise ValueError(f"images must be [C, ipc, H, W, channels], got shape {images.shape}")
    # A copy: the state is donated to each dispatch, and the images may be the caller's.
    return {"images": jnp.array(images, jnp.float32)}


def _decode(params: Params, key: Array) -> tuple[Array, Array]:
    del key  # pixels have no randomness
    images = params["images"]
    num_classes, ipc = images.shape[:2]
    return images, jnp.tile(jnp.arange(num_classes, dtype=jnp.int32)[:, None], (1, ipc))


pixels = Parametrisation(
    init=_init,
    decode=_decode,
    num_floats=lambda params: sum(x.size for x in jax.tree.leaves(params)),
)
"""Every pixel is a parameter (DC, DSA, DM): decoding is the identity.

>>> params = pixels.init(jnp.zeros((10, 1, 8, 8, 1)))
>>> images, labels = pixels.decode(params, jax.random.key(0))
>>> images.shape, labels.shape, pixels.num_floats(params)
((10, 1, 8, 8, 1), (10, 1), 640)
"""
