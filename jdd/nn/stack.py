"""Blocks of convolution, norm, activation and pooling, then dense layers: all networks without shortcuts."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
from jax import Array

from jdd.nn.conv import Convolution
from jdd.nn.layers import ACTIVATIONS, Conv, Dense, Norm, pool
from jdd.nn.model import ImageShape


class Block(NamedTuple):
    """Convolution, norm, activation, pooling.

    Attributes:
      width: channels.
      size: side of the kernel.
      padding: zeros on each side.
      pooling: "avg", "max" or "none".
    """

    width: int
    size: int
    padding: int
    pooling: str


class Stack(nn.Module):
    """The blocks, then hidden dense layers with the same activation, then the classifier.

    Returns logits, taps and embedding, as ``Model.features`` describes them.
    """

    num_classes: int
    conv: Convolution
    blocks: tuple[Block, ...] = ()
    hidden: tuple[int, ...] = ()
    norm: str = "none"
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> tuple[Array, tuple[Array, ...], Array]:
        activate, taps = ACTIVATIONS[self.activation], []
        for i, block in enumerate(self.blocks):
            x = Conv(block.width, block.size, block.padding, self.conv, name=f"conv{i}")(x)
            x = activate(Norm(self.norm, name=f"norm{i}")(x, train))
            taps.append(x)
            x = pool(block.pooling, x)
        if self.blocks:
            taps.append(x)
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.hidden):
            x = activate(Dense(width, name=f"dense{i}")(x))
            taps.append(x)
        return Dense(self.num_classes, name="classifier")(x), tuple(taps), x


def first_padding(image_shape: ImageShape, size: int, usual: int, least: int) -> int:
    """The padding of a first convolution: the usual one, or what gives a map of at least this side.

    The papers pad 28x28 images of one channel to maps of 32x32 by the padding of the first
    convolution; in the same way smaller images are put in the middle of the smallest map that a
    network can take.

    >>> first_padding((28, 28, 1), 3, 3, least=32), first_padding((8, 8, 1), 3, 3, least=32)
    (3, 13)
    """
    lacking = least + size - 1 - min(image_shape[:2])
    return max(usual, -(-lacking // 2))
