"""Differentiable Siamese Augmentation (DSA): random parameters around the ops of `jdd.augment.ops`."""

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
from jdd.validation import did_you_mean

OPS = ("color", "crop", "cutout", "flip", "scale", "rotate")
#: The paper's strategy for FashionMNIST, CIFAR-10 and CIFAR-100.
STRATEGY = "color_crop_cutout_flip_scale_rotate"
#: The paper's strategy where a mirrored image means something else: MNIST and SVHN.
STRATEGY_NO_FLIP = "color_crop_cutout_scale_rotate"


@dataclass(frozen=True)
class DSARatios:
    """Strengths of the DSA ops. The defaults are the paper's, for every data set.

    With U uniform in [0, 1) and "side" the side of the image in pixels:

    - ``prob_flip``: probability of mirroring
    - ``scale``: both factors are uniform in [1 / scale, scale]
    - ``rotate``: the angle is uniform in [-rotate, rotate], in degrees
    - ``crop_pad``: both shifts are uniform integers in [-p, p], ``p = int(side * crop_pad + 0.5)``
    - ``cutout``: side of the square, ``k = int(side * cutout + 0.5)``; its centre is a pair of uniform
      integers in [0, side] for even k, in [0, side - 1] for odd k
    - ``brightness``: ``b = (U - 0.5) brightness``
    - ``saturation``: ``s = U saturation``
    - ``contrast``: ``k = U + contrast``

    Raises ``ValueError`` for a value out of range.

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
    """The ops that a strategy names; ``"none"``, ``"None"`` and ``""`` name none.

    Raises ``ValueError`` for a name that is not ``allowed``. A repeated name is drawn twice as often.

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
    """The integer in 0 .. count - 1 that a uniform draw in [0, 1) stands for."""
    return jnp.floor(u * count).astype(jnp.int32)


def parameters(name: str, u: Array, side: int, ratios: DSARatios = DSARatios()) -> dict[str, Any]:
    """The arguments that uniform draws ``u`` ([3] or [3, N], in [0, 1)) give the op ``name``.

    >>> {k: float(v) for k, v in parameters("color", jnp.full(3, 0.75), 32).items()}
    {'b': 0.25, 's': 1.5, 'k': 1.25}
    """
    match name:
        case "color":
            brightness = (u[0] - 0.5) * ratios.brightness
            return {"b": brightness, "s": u[1] * ratios.saturation, "k": u[2] + ratios.contrast}
        case "crop":
            p = int(side * ratios.crop_pad + 0.5)
            return {"tx": integer(u[0], 2 * p + 1) - p, "ty": integer(u[1], 2 * p + 1) - p}
        case "cutout":
            k = int(side * ratios.cutout + 0.5)
            count = side + 1 - k % 2
            return {"ox": integer(u[0], count), "oy": integer(u[1], count), "size": k}
        case "flip":
            return {"flip": u[0] < ratios.prob_flip}
        case "scale":
            low, width = 1 / ratios.scale, ratios.scale - 1 / ratios.scale
            return {"sx": u[0] * width + low, "sy": u[1] * width + low}
        case _:
            return {"theta": (u[0] - 0.5) * 2 * ratios.rotate / 180 * math.pi}


@functools.partial(jax.jit, static_argnames=("strategy", "siamese", "ratios"))
def dsa(
    key: Array, images: Array, strategy: str, *, siamese: bool, ratios: DSARatios = DSARatios()
) -> Array:
    """One op, drawn uniformly from the strategy, on the whole batch (mode S, used by every paper).

    ``images`` are normalised floats [N, side, side, C]; the result has their shape and dtype. With
    ``siamese=True`` one set of parameters serves the whole batch, and it depends on the key alone: the same key
    on a real and on a synthetic batch, of whatever sizes, gives both the same transform. With ``siamese=False``
    each image has its own parameters (the op is still one per call). Fill value 0, no clipping.

    Only the drawn op runs, in ``scan`` and ``lax.map`` and also under ``vmap`` over keys, where the calls are
    looped over; the gradient with respect to the images can be taken any number of times, in reverse
    mode (for ``jax.jvp`` use `jdd.augment.ops` or `dsa_all`).

    Raises ``ValueError`` for an unknown op, or images of another shape.

    Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", 2021
    (https://arxiv.org/abs/2102.08259). Deviation: JAX's random numbers in place of torch's.

    >>> images = jnp.ones((2, 8, 8, 3))
    >>> dsa(jax.random.key(0), images, "color_crop_flip", siamese=True).shape
    (2, 8, 8, 3)
    """
    names = parse_strategy(strategy)
    if not names:
        return images
    # One call for all numbers: each call of the generator is half a second of compilation on a CPU.
    shape = _draws(images, siamese)
    u = jax.random.uniform(key, (1 + math.prod(shape),), jnp.float32)
    return any_of(names, ratios)(integer(u[0], len(names)), u[1:].reshape(shape), images)


@functools.partial(jax.jit, static_argnames=("strategy", "siamese", "ratios"))
def dsa_all(
    key: Array, images: Array, strategy: str, *, siamese: bool, ratios: DSARatios = DSARatios()
) -> Array:
    """All ops of the strategy, in its order (mode M); otherwise as `dsa`.

    Raises ``ValueError`` for an unknown op, or images of another shape.

    >>> images = jnp.ones((2, 8, 8, 1))
    >>> dsa_all(jax.random.key(0), images, "flip_color", siamese=False).shape
    (2, 8, 8, 1)
    """
    names = parse_strategy(strategy)
    u = jax.random.uniform(key, (len(names), *_draws(images, siamese)), jnp.float32)
    for i, name in enumerate(names):
        images = apply_op(name, ratios, u[i], images)
    return images


def _draws(images: Array, siamese: bool) -> tuple[int, ...]:
    return (3,) if siamese else (3, images.shape[0])


def apply_op(name: str, ratios: DSARatios, u: Array, x: Array) -> Array:
    """The op ``name`` with the arguments that uniform draws ``u`` give it (`parameters`)."""
    return getattr(ops, name)(x, **parameters(name, u, x.shape[1], ratios))


@functools.cache
def any_of(names: tuple[str, ...], ratios: DSARatios) -> Callable[[Array, Array, Array], Array]:
    """``(index, u, x) -> x``: the op of this index, with the arguments that ``u`` gives it."""
    return affine_switch([functools.partial(apply_op, name, ratios) for name in names])
