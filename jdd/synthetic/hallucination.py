"""Bases and hallucinators: every basis becomes several images, by small affine maps that all classes share (HaBa)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jdd.choice import register
from jdd.data.batch import Batch
from jdd.nn import default_conv
from jdd.synthetic.parametrisation import Parametrisation, Params, check_images, class_labels
from jdd.validation import at_least

KERNEL = 3
"""Side of the kernels of a hallucinator."""

_FORMULA = (
    "basis b of class c and hallucinator h give the image conv(scale[h] * (conv(bases[c, b], encoder_kernel[h], "
    "padding 0) + encoder_bias[h]) + shift[h], decoder_kernel[h], padding 2) + decoder_bias[h]; conv is the sum of "
    "products of a 3x3 kernel [row, column, in, out], not flipped, stride 1, zero padding; images are [row, column, "
    "channel]; every hallucinator applies to every class"
)


@register
def hallucinated(num_hallucinators: int = 5, *, channels: int | None = None) -> Parametrisation:
    r"""Images are bases, each a variant under every hallucinator: dec(scale * enc(basis) + shift).

    .. math:: x_{bh} = D_h * \big(s_h \odot (E_h * b + e_h) + t_h\big) + d_h

    Each class has bases of its own, and all classes share the hallucinators. A hallucinator is an affine map:
    a 3x3 convolution without padding, a scale and a shift for every position, and a transposed 3x3
    convolution back to the size of the image. There is no nonlinearity. With n bases per class and H
    hallucinators a class has n H images, of which a matching step sees those of one hallucinator, drawn for
    the whole batch, and an evaluation draws one for each image of a minibatch.

    The parameters are the groups ``bases`` and ``hallucinators``, so that each can have an optimiser
    (``methods.by_group``). Bases start at initial images. Hallucinators start at random, as PyTorch's layers
    do: they are not the identity.

    Args:
      num_hallucinators: H.
      channels: of a basis: None for those of the images, 1 for their mean.

    Raises:
      ValueError: if num_hallucinators is below 1, or channels is neither 1 nor None; from ``init``, if a side of
        the images is below 3.

    Reference: Liu, Wang, Yang, Ye, Wang, "Dataset Distillation via Factorization", NeurIPS 2022,
    https://arxiv.org/abs/2210.16774. Deviation: the authors' code takes images of 32x32 pixels in RGB alone.

    >>> five = hallucinated(5)
    >>> params = five.init(jax.random.key(0), jnp.zeros((10, 1, 32, 32, 3)))
    >>> five.decode(params, 4).images.shape, five.variants, five.num_floats(params)
    ((10, 1, 32, 32, 3), 5, 58560)
    """
    at_least("num_hallucinators", num_hallucinators, 1)
    if channels not in (None, 1):
        raise ValueError(f"channels of a basis must be 1 or None, got {channels!r}")

    def init(key: Array, images: Array) -> Params:
        check_images(images)
        height, width, of_images = images.shape[2:]
        if min(height, width) < KERNEL:
            raise ValueError(
                f"hallucinated needs images of at least {KERNEL}x{KERNEL} pixels, got {height}x{width}"
            )
        # A copy: the state is donated to each dispatch, and the images may be the caller's.
        bases = jnp.array(images) if channels is None else images.mean(-1, keepdims=True)
        of_bases = bases.shape[-1]
        keys = jax.random.split(key, num_hallucinators)
        make = jax.vmap(lambda key: random_hallucinator(key, (height, width), of_bases, of_images))
        hallucinators = jax.tree.map(lambda x: x.astype(images.dtype), make(keys))
        return {"bases": bases, "hallucinators": hallucinators}

    def decode(params: Mapping[str, Any], variant: Array | int) -> Batch:
        bases = params["bases"]
        one = jax.tree.map(lambda x: x[variant], params["hallucinators"])
        images = hallucinate(one, bases.reshape(-1, *bases.shape[2:]))
        return Batch(
            images.reshape(*bases.shape[:2], *images.shape[1:]), class_labels(*bases.shape[:2])
        )

    return Parametrisation(
        init,
        decode,
        variants=num_hallucinators,
        stored=lambda params: {"bases": params["bases"], **params["hallucinators"]},
        restored=_restored,
        preview=lambda params: params["bases"],
        formula=_FORMULA,
    )


def hallucinate(hallucinator: Mapping[str, Array], bases: Array) -> Array:
    """The images that one hallucinator makes of bases.

    Args:
      hallucinator: as `random_hallucinator` returns it.
      bases: ``[n, H, W, in]``.

    Returns:
      ``[n, H, W, out]``.

    >>> one = random_hallucinator(jax.random.key(0), (8, 6), 1, 3)
    >>> hallucinate(one, jnp.zeros((2, 8, 6, 1))).shape
    (2, 8, 6, 3)
    """
    conv = default_conv()
    # With the rank of a batch, so that no rank is promoted.
    one = {
        name: x if x.ndim == 4 else x.reshape(1, *_rank_3(x)) for name, x in hallucinator.items()
    }
    hidden = conv(bases, one["encoder_kernel"], 0) + one["encoder_bias"]
    hidden = one["scale"] * hidden + one["shift"]
    return conv(hidden, one["decoder_kernel"], KERNEL - 1) + one["decoder_bias"]


def random_hallucinator(
    key: Array, size: tuple[int, int], base_channels: int, channels: int
) -> dict[str, Array]:
    """A hallucinator with PyTorch's random convolutions, scale 1 and shift 0.

    Kernels and biases are uniform within 1 / sqrt(9 i), with the channels i of the basis for the first
    convolution, and those of the image for the second.

    Args:
      key: PRNG key.
      size: height and width of the images.
      base_channels: of a basis.
      channels: of the images, and between the two convolutions.

    Returns:
      Arrays by name: ``encoder_kernel`` ``[3, 3, in, out]``, ``encoder_bias`` ``[out]``, ``scale`` and
      ``shift`` ``[H - 2, W - 2, out]``, ``decoder_kernel`` ``[3, 3, out, out]`` (that of a convolution with
      padding 2, a flipped kernel of the transposed one), ``decoder_bias`` ``[out]``.

    >>> one = random_hallucinator(jax.random.key(0), (32, 32), 3, 3)
    >>> sum(x.size for x in one.values())
    5568
    """
    keys = jax.random.split(key, 4)
    inner = (size[0] - KERNEL + 1, size[1] - KERNEL + 1, channels)

    def uniform(key: Array, shape: tuple[int, ...], fan_in: int) -> Array:
        bound = (KERNEL**2 * fan_in) ** -0.5
        return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

    return {
        "encoder_kernel": uniform(
            keys[0], (KERNEL, KERNEL, base_channels, channels), base_channels
        ),
        "encoder_bias": uniform(keys[1], (channels,), base_channels),
        "scale": jnp.ones(inner),
        "shift": jnp.zeros(inner),
        "decoder_kernel": uniform(keys[2], (KERNEL, KERNEL, channels, channels), channels),
        "decoder_bias": uniform(keys[3], (channels,), channels),
    }


def _restored(stored: Mapping[str, Array]) -> Params:
    hallucinators = {name: x for name, x in stored.items() if name != "bases"}
    return {"bases": stored["bases"], "hallucinators": hallucinators}


def _rank_3(x: Array) -> tuple[int, ...]:
    return (1,) * (3 - x.ndim) + x.shape
