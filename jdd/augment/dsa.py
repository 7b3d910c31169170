"""Differentiable Siamese Augmentation (DSA): the ops of `jdd.augment.ops` with random parameters."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jdd.augment import ops
from jdd.augment.affine_switch import affine_switch
from jdd.augment.ops import check_images
from jdd.validation import did_you_mean

OPS = ("color", "crop", "cutout", "flip", "scale", "rotate")
#: The paper's strategy for FashionMNIST, CIFAR-10 and CIFAR-100.
STRATEGY = "color_crop_cutout_flip_scale_rotate"
#: The paper's strategy where a mirrored image means something else: MNIST and SVHN.
STRATEGY_NO_FLIP = "color_crop_cutout_scale_rotate"


@dataclass(frozen=True)
class DSARatios:
    """Strengths of the DSA ops. The defaults are the paper's, for every data set.

    U is uniform in [0, 1), and "extent" is the height or the width of the image in pixels.

    Attributes:
      prob_flip: probability of mirroring, from 0 to 1.
      scale: the factor of each axis is uniform in [1 / scale, scale]; at least 1.
      rotate: the angle is uniform in [-rotate, rotate], in degrees; from 0 to 180.
      crop_pad: the shift along each axis is a uniform integer in [-p, p], with
        ``p = int(extent * crop_pad + 0.5)``; from 0 to 1.
      cutout: the hole extends over ``k = int(extent * cutout + 0.5)`` pixels of each axis, from 0 to 1.
        Its centre is a uniform integer in [0, extent] for even k, in [0, extent - 1] for odd k.
      brightness: ``b = (U - 0.5) brightness``; at least 0.
      saturation: ``s = U saturation``; at least 0.
      contrast: ``k = U + contrast``; at least 0.

    Raises:
      ValueError: if a value is out of range.

    >>> DSARatios(rotate=30.0).rotate
    30.0
    """

    prob_flip: float = 0.5
    scale: float = 1.2
    rotate: float = 15.0
    crop_pad: float = 0.125
    cutout: float = 0.5
    brightness: float = 1.0
    saturation: float = 2.0
    contrast: float = 0.5

    def __post_init__(self) -> None:
        limits = {
            "prob_flip": (0, 1),
            "scale": (1, math.inf),
            "rotate": (0, 180),
            "crop_pad": (0, 1),
            "cutout": (0, 1),
            "brightness": (0, math.inf),
            "saturation": (0, math.inf),
            "contrast": (0, math.inf),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high or math.isinf(value):
                upper = f"at most {high}" if math.isfinite(high) else "finite"
                raise ValueError(f"{name} must be at least {low} and {upper}, got {value}")


def parse_strategy(strategy: str, allowed: tuple[str, ...] = OPS) -> tuple[str, ...]:
    """The ops that a strategy names.

    Args:
      strategy: names joined by "_"; "none", "None" and "" name no op. An op that is listed twice is
        drawn twice as often.
      allowed: names that may occur.

    Returns:
      The names, in their order.

    Raises:
      ValueError: if a name is not allowed.

    >>> parse_strategy("color_crop")
    ('color', 'crop')
    """
    if strategy in ("", "none", "None"):
        return ()
    names = tuple(strategy.split("_"))
    for name in names:
        if name not in allowed:
            raise ValueError(
                f"unknown op {name!r} in strategy {strategy!r}{did_you_mean(name, allowed)} "
                f'(allowed: {", ".join(allowed)}, joined by "_", or "none")'
            )
    return names


def integer(u: Array, count: int) -> Array:
    """A uniform integer from a uniform number.

    Args:
      u: in [0, 1).
      count: how many integers there are.

    Returns:
      int32, from 0 to count - 1.

    >>> integer(jnp.array([0.0, 0.5, 0.99]), 4).tolist()
    [0, 2, 3]
    """
    return jnp.floor(u * count).astype(jnp.int32)


def parameters(
    name: str, u: Array, size: int | tuple[int, int], ratios: DSARatios = DSARatios()
) -> dict[str, Any]:
    """The arguments of an op, from uniform numbers.

    Args:
      name: of the op.
      u: ``[3]``, or ``[3, N]`` for one value per image, in [0, 1).
      size: height and width of the images, or the side of square ones.
      ratios: strengths of the ops.

    Returns:
      The keyword arguments of the function of this name in `jdd.augment.ops`.

    >>> {k: float(v) for k, v in parameters("color", jnp.full(3, 0.75), 32).items()}
    {'b': 0.25, 's': 1.5, 'k': 1.25}
    >>> {k: int(v) for k, v in parameters("crop", jnp.zeros(3), (32, 64)).items()}
    {'tx': -4, 'ty': -8}
    """
    height, width = size if isinstance(size, tuple) else (size, size)
    match name:
        case "color":
            brightness = (u[0] - 0.5) * ratios.brightness
            return {"b": brightness, "s": u[1] * ratios.saturation, "k": u[2] + ratios.contrast}
        case "crop":
            p, q = (int(extent * ratios.crop_pad + 0.5) for extent in (height, width))
            return {"tx": integer(u[0], 2 * p + 1) - p, "ty": integer(u[1], 2 * q + 1) - q}
        case "cutout":
            p, q = (int(extent * ratios.cutout + 0.5) for extent in (height, width))
            ox, oy = integer(u[0], height + 1 - p % 2), integer(u[1], width + 1 - q % 2)
            return {"ox": ox, "oy": oy, "size": (p, q)}
        case "flip":
            return {"flip": u[0] < ratios.prob_flip}
        case "scale":
            low, span = 1 / ratios.scale, ratios.scale - 1 / ratios.scale
            return {"sx": u[0] * span + low, "sy": u[1] * span + low}
        case _:
            return {"theta": (u[0] - 0.5) * 2 * ratios.rotate / 180 * math.pi}


@functools.partial(jax.jit, static_argnames=("strategy", "siamese", "ratios"))
def dsa(
    key: Array, images: Array, strategy: str, *, siamese: bool, ratios: DSARatios = DSARatios()
) -> Array:
    """Applies one op, drawn uniformly from the strategy, to the whole batch (mode S, as in all papers).

    Only the drawn op runs: in ``scan`` and ``lax.map``, and also under ``vmap`` over keys, which becomes
    a loop. The gradient with respect to the images can be taken any number of times, in reverse mode. For
    ``jax.jvp`` use `jdd.augment.ops` or `dsa_all`. Pixels from outside the image are 0; values are not
    clipped.

    Args:
      key: typed PRNG key.
      images: normalised floats ``[N, H, W, C]``, of any height and width.
      strategy: ops joined by "_"; static.
      siamese: whether the whole batch shares one set of parameters, which depends on the key alone: two
        batches of any sizes then get the same transform from the same key. Otherwise every image has
        its own parameters, of the same op; static.
      ratios: strengths of the ops; static.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: if the strategy names an unknown op, or the images are of another form.

    Reference: Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021,
    https://arxiv.org/abs/2102.08259. Deviations: JAX's random numbers in place of torch's; images that are
    not square turn without distortion (`jdd.augment.ops`).

    >>> images = jnp.ones((2, 8, 12, 3))
    >>> dsa(jax.random.key(0), images, "color_crop_flip", siamese=True).shape
    (2, 8, 12, 3)
    """
    names = parse_strategy(strategy)
    if not names:
        return images
    check_images(images)
    # One call for all numbers: each call of the generator is half a second of compilation on a CPU.
    shape = _draws(images, siamese)
    u = jax.random.uniform(key, (1 + math.prod(shape),), jnp.float32)
    return any_of(names, ratios)(integer(u[0], len(names)), u[1:].reshape(shape), images)


@functools.partial(jax.jit, static_argnames=("strategy", "siamese", "ratios"))
def dsa_all(
    key: Array, images: Array, strategy: str, *, siamese: bool, ratios: DSARatios = DSARatios()
) -> Array:
    """Applies all ops of the strategy, in its order (mode M).

    Args:
      key: typed PRNG key.
      images: normalised floats ``[N, H, W, C]``, of any height and width.
      strategy: ops joined by "_"; static.
      siamese: as in `dsa`; static.
      ratios: strengths of the ops; static.

    Returns:
      Images of the same shape and dtype.

    Raises:
      ValueError: if the strategy names an unknown op, or the images are of another form.

    Reference: as `dsa`.

    >>> images = jnp.ones((2, 8, 12, 1))
    >>> dsa_all(jax.random.key(0), images, "flip_color", siamese=False).shape
    (2, 8, 12, 1)
    """
    names = parse_strategy(strategy)
    if not names:
        return images
    check_images(images)
    u = jax.random.uniform(key, (len(names), *_draws(images, siamese)), jnp.float32)
    for i, name in enumerate(names):
        images = apply_op(name, ratios, u[i], images)
    return images


def _draws(images: Array, siamese: bool) -> tuple[int, ...]:
    return (3,) if siamese else (3, images.shape[0])


def apply_op(name: str, ratios: DSARatios, u: Array, x: Array) -> Array:
    """The op ``name`` with the arguments that uniform draws ``u`` give it (`parameters`)."""
    return getattr(ops, name)(x, **parameters(name, u, (x.shape[1], x.shape[2]), ratios))


@functools.cache
def any_of(names: tuple[str, ...], ratios: DSARatios) -> Callable[[Array, Array, Array], Array]:
    """``(index, u, x) -> x``: the op of this index, with the arguments that ``u`` gives it."""
    return affine_switch([functools.partial(apply_op, name, ratios) for name in names])
