"""Two parametrisations as a user writes them: several images from one, and random variants of each image."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

import jdd
from jdd.data import Batch
from jdd.synthetic import Parametrisation, class_labels


@jdd.register
def mosaic(factor: int = 2) -> Parametrisation:
    """Each stored image is a grid of factor x factor tiles; a tile enlarged by repetition is an image.

    >>> params = mosaic(2).init(jax.random.key(0), jnp.zeros((3, 8, 4, 4, 1)))
    >>> params["images"].shape, mosaic(2).decode(params, 0).images.shape
    ((3, 2, 4, 4, 1), (3, 8, 4, 4, 1))
    """
    f = factor

    def init(key: Array, images: Array) -> dict[str, Array]:
        del key
        classes, n, height, width, channels = images.shape
        if n % f**2 or height % f or width % f:
            raise ValueError(
                f"mosaic({f}) needs a multiple of {f**2} images whose sides are multiples of {f}, "
                f"got {n} of {height}x{width}"
            )
        h, w = height // f, width // f
        tiles = images.reshape(classes, n // f**2, f, f, h, f, w, f, channels).mean((5, 7))
        # [C, ipc, row, column, h, w, ch] -> rows beside h, columns beside w
        grid = jnp.moveaxis(tiles, 3, 4)
        return {"images": grid.reshape(classes, n // f**2, height, width, channels)}

    def decode(params: dict[str, Array], variant: Array | int) -> Batch:
        del variant
        images = params["images"]
        classes, ipc, height, width, channels = images.shape
        grid = images.reshape(classes, ipc, f, height // f, f, width // f, channels)
        tiles = jnp.moveaxis(grid, 4, 3)
        tiles = tiles.reshape(classes, ipc * f**2, height // f, width // f, channels)
        enlarged = jnp.repeat(jnp.repeat(tiles, f, axis=2), f, axis=3)
        return Batch(enlarged, class_labels(classes, ipc * f**2))

    return Parametrisation(
        init,
        decode,
        space="raw01",
        tiles=f**2,
        project=lambda params: {"images": jnp.clip(params["images"], 0.0, 1.0)},
        projected="network",
    )


@jdd.register
def tinted(variants: int = 3) -> Parametrisation:
    """Each variant of an image is the image times one plus a tint, one number per channel.

    >>> params = tinted(3).init(jax.random.key(0), jnp.ones((2, 1, 4, 4, 1)))
    >>> params["tints"].shape, tinted(3).decode(params, 2).images.shape
    ((3, 1), (2, 1, 4, 4, 1))
    """

    def init(key: Array, images: Array) -> dict[str, Array]:
        tints = 0.1 * jax.random.normal(key, (variants, images.shape[-1]), jnp.float32)
        return {"images": jnp.array(images), "tints": tints}

    def decode(params: dict[str, Array], variant: Array | int) -> Batch:
        images = params["images"]
        tint = params["tints"][variant].reshape(1, 1, 1, 1, -1)
        return Batch(images * (1.0 + tint), class_labels(*images.shape[:2]))

    return Parametrisation(init, decode, variants=variants)
