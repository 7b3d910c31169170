"""Networks without shortcuts: blocks of convolution, norm, activation and pooling, then dense layers."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
from jax import Array

from jdd.network_output import Output
from jdd.nn.conv import Convolution
from jdd.nn.layers import ACTIVATIONS, Conv, Dense, Norm, pool
from jdd.nn.model import ImageShape


class Block(NamedTuple):
    """Convolution, norm, activation, pooling.

    Attributes:
      width: number of channels.
      size: height and width of the kernel.
      padding: zeros on each side.
      pooling: "avg", "max" or "none".
    """

    width: int
    size: int
    padding: int
    pooling: str


class PlainNetwork(nn.Module):
    """The blocks, then hidden dense layers with the same activation, then the classifier."""

    num_classes: int
    conv: Convolution
    blocks: tuple[Block, ...] = ()
    hidden: tuple[int, ...] = ()
    norm: str = "none"
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: Array, training: bool = False) -> Output:
        activate, taps = ACTIVATIONS[self.activation], []
        for i, block in enumerate(self.blocks):
            x = Conv(block.width, block.size, block.padding, self.conv, name=f"conv{i}")(x)
            x = activate(Norm(self.norm, name=f"norm{i}")(x, training))
            taps.append(x)
            x = pool(block.pooling, x)
        if self.blocks:
            taps.append(x)
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.hidden):
            x = activate(Dense(width, name=f"dense{i}")(x))
            taps.append(x)
        return Output(Dense(self.num_classes, name="classifier")(x), tuple(taps), x)


def first_padding(image_shape: ImageShape, size: int, default: int, smallest_map: int) -> int:
    """The padding of the first convolution, larger than the default for small images.

    The papers pad 28x28 images of one channel in the first convolution, so that its output is 32x32.
    Smaller images are padded further, until the output of the first convolution has the smallest
    size that the network accepts.

    Args:
      image_shape: ``(H, W, channels)``.
      size: height and width of the kernel.
      default: the least padding to return.
      smallest_map: the least height and width of the output of the first convolution.

    Returns:
      The number of zeros on each side.

    >>> first_padding((28, 28, 1), 3, 3, smallest_map=32)
    3
    >>> first_padding((8, 8, 1), 3, 3, smallest_map=32)
    13
    """
    missing = smallest_map + size - 1 - min(image_shape[:2])
    return max(default, -(-missing // 2))
