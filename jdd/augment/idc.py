"""IDC's order of the DSA ops: some are always applied, one of the others is drawn."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import Array

from jdd.augment.dsa import DSARatios, any_of, apply_op, integer, parse_strategy

IDC_STRATEGY = "color_crop_cutout"
"""What IDC matches under."""


@functools.partial(jax.jit, static_argnames=("strategy", "siamese", "ratios"))
def idc_augment(
    key: Array, images: Array, strategy: str, *, siamese: bool, ratios: DSARatios = DSARatios()
) -> Array:
    """Flip and color, then one of crop, scale and rotate, then cutout; each only where it is listed.

    Flip, color and cutout are always applied, and one of the other listed ops is drawn, whatever
    their order in the strategy. (``jdd.augment.dsa`` applies one of all.) Fill value 0, no clipping.

    Args:
      key: typed PRNG key.
      images: normalised floats ``[N, H, W, C]``, of any height and width.
      strategy: ops of color, crop, cutout, flip, scale, rotate, joined by "_".
      siamese: one parameter set, which depends on the key alone, for the whole batch; else each image
        has parameters of its own (the drawn op is still one per call).
      ratios: strengths of the ops.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: for an unknown op, or images of another shape.

    Reference: the code of Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959. Deviation: JAX's
    random numbers in place of torch's.

    >>> idc_augment(jax.random.key(0), jnp.ones((2, 8, 8, 3)), "color_crop", siamese=True).shape
    (2, 8, 8, 3)
    """
    count = () if siamese else (images.shape[0],)
    # One call for all numbers: each call of the generator is half a second of compilation on a CPU.
    size = 1 + 12 * (1 if siamese else images.shape[0])
    u = jax.random.uniform(key, (size,), jnp.float32)
    return from_draws(u[0], u[1:].reshape(4, 3, *count), images, strategy, ratios=ratios)


def from_draws(
    which: Array, u: Array, images: Array, strategy: str, *, ratios: DSARatios = DSARatios()
) -> Array:
    """The augmentation that uniform numbers in [0, 1) stand for.

    Args:
      which: of crop, scale and rotate, as far as they are listed; a scalar.
      u: ``[4, 3]`` or, for each image, ``[4, 3, N]``: of flip, color, the drawn op and cutout.
      images: as in `idc_augment`.
      strategy: as in `idc_augment`.
      ratios: strengths of the ops.

    Raises:
      ValueError: for an unknown op.

    >>> identity = jnp.full((4, 3), 0.5)
    >>> float(from_draws(0.5, identity, jnp.ones((1, 8, 8, 1)), "color_crop").mean())
    1.0
    """
    names = parse_strategy(strategy)
    drawn = tuple(name for name in names if name in ("crop", "scale", "rotate"))
    if "flip" in names:
        images = apply_op("flip", ratios, u[0], images)
    if "color" in names:
        images = apply_op("color", ratios, u[1], images)
    if drawn:
        images = any_of(drawn, ratios)(integer(which, len(drawn)), u[2], images)
    if "cutout" in names:
        images = apply_op("cutout", ratios, u[3], images)
    return images
