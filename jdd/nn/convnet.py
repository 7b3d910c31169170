"""The ConvNet of the dataset-distillation papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jdd.names import one_of
from jdd.nn.conv import Convolution, default_conv
from jdd.nn.layers import ACTIVATIONS, NORMS, POOLINGS, Conv, Dense, Norm, pool
from jdd.nn.model import Model


class _ConvNet(nn.Module):
    num_classes: int
    width: int
    depth: int
    norm: str
    activation: str
    pooling: str
    conv: Convolution

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> tuple[Array, tuple[Array, ...], Array]:
        taps = []
        # One-channel sets (28x28) are padded to 32x32 inside the first convolution.
        padding = 3 if x.shape[-1] == 1 else 1
        for i in range(self.depth):
            x = Conv(self.width, 3, padding, self.conv, name=f"conv{i}")(x)
            x = Norm(self.norm, name=f"norm{i}")(x, train)
            x = ACTIVATIONS[self.activation](x)
            taps.append(x)
            x = pool(self.pooling, x)
            padding = 1
        taps.append(x)
        embedding = x.reshape(x.shape[0], -1)
        return Dense(self.num_classes, name="classifier")(embedding), tuple(taps), embedding


def convnet(
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    width: int = 128,
    depth: int = 3,
    norm: str = "instance",
    activation: str = "relu",
    pooling: str = "avg",
    conv: Convolution | None = None,
) -> Model:
    r"""ConvNet: ``depth`` blocks of 3x3 convolution, norm, activation, 2x2 pooling; then linear.

    Weights start as PyTorch's defaults do: :math:`U(-b, b)` with
    :math:`b = 1/\sqrt{\text{fan-in}}` for kernels and biases; norms at scale 1, bias 0.

    Args:
      num_classes: number of logits, at least 2.
      image_shape: ``(H, W, channels)`` of the images. One-channel images are padded by 3 in the
        first convolution (28x28 becomes a 32x32 map), others by 1.
      width: channels of every block.
      depth: number of blocks; each pooling halves the map (rounding down).
      norm: "instance", "batch", "layer", "group" (4 groups) or "none".
      activation: "relu", "leaky_relu" (0.01), "sigmoid" or "swish".
      pooling: "avg", "max" or "none".
      conv: the convolution to use; None for the platform's default (``jdd.nn.default_conv``).

    Returns:
      A ``Model``. ``features`` gives one tap ``[n, h, w, width]`` per block, after its activation
      and before its pooling, then the map after the last pooling; the embedding is that map
      flattened in (h, w, channel) order.

    Raises:
      ValueError: if an option is unknown, or the images are too small for the depth.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021; ConvNet-3 of width 128 is the default of the field.

    >>> import jax
    >>> model = convnet(10, (32, 32, 3))
    >>> variables = model.init(jax.random.key(0))
    >>> sum(x.size for x in jax.tree.leaves(variables))
    320010
    """
    one_of("norm", norm, NORMS)
    one_of("activation", activation, ACTIVATIONS)
    one_of("pooling", pooling, POOLINGS)
    for option, value, least in (
        ("num_classes", num_classes, 2),
        ("width", width, 1),
        ("depth", depth, 1),
    ):
        if value < least:
            raise ValueError(f"{option} must be at least {least}, got {value}")
    if norm == "group" and width % 4:
        raise ValueError(f"group norm has 4 groups: width must be a multiple of 4, got {width}")
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape must be (height, width, channels), got {image_shape}")
    border = 4 if image_shape[-1] == 1 else 0
    side = min(image_shape[:2]) + border
    if pooling != "none" and side >> depth < 1:
        raise ValueError(
            f"images of {image_shape[0]}x{image_shape[1]} leave nothing to pool after {depth} "
            f"blocks: depth may be at most {side.bit_length() - 1}"
        )
    conv = conv or default_conv()
    module = _ConvNet(num_classes, width, depth, norm, activation, pooling, conv)
    usual = {"width": 128, "norm": "instance", "activation": "relu", "pooling": "avg"}
    chosen = {"width": width, "norm": norm, "activation": activation, "pooling": pooling}
    unusual = [f"{option} {value}" for option, value in chosen.items() if value != usual[option]]
    name = f"ConvNet-{depth}" + (f" ({', '.join(unusual)})" if unusual else "")
    return model_of(module, name, num_classes, image_shape, has_batch_stats=norm == "batch")


def model_of(
    module: nn.Module,
    name: str,
    num_classes: int,
    image_shape: tuple[int, int, int],
    *,
    has_batch_stats: bool,
) -> Model:
    """Wraps a linen module that returns ``(logits, taps, embedding)`` as a ``Model``."""
    height, width, channels = image_shape

    def init(key: Array) -> Any:
        return module.init(key, jnp.zeros((1, height, width, channels), jnp.float32))

    def apply(variables: Any, images: Array) -> Array:
        return _forward(variables, images)[0]

    def features(variables: Any, images: Array) -> tuple[tuple[Array, ...], Array]:
        return _forward(variables, images)[1:]

    def train(variables: Any, images: Array) -> tuple[Array, Any]:
        if not has_batch_stats:
            return apply(variables, images), variables
        (logits, _, _), moved = module.apply(variables, images, True, mutable=["batch_stats"])
        return logits, {**variables, **moved}

    def _forward(variables: Any, images: Array) -> Any:
        _check_images(images)
        return module.apply(variables, images)

    def _check_images(images: Array) -> None:
        if images.ndim != 4 or images.shape[1:] != tuple(image_shape):
            raise ValueError(
                f"{name} takes images [n, {height}, {width}, {channels}], got {images.shape}"
            )

    jitted_init: Callable[[Array], Any] = jax.jit(init)
    return Model(
        jitted_init,
        apply,
        features,
        train,
        name,
        num_classes,
        (height, width, channels),
        has_batch_stats,
    )
