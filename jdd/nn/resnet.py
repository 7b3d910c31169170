"""ResNet18, as the dataset-distillation papers evaluate on it."""

from __future__ import annotations

import flax.linen as nn
import jax
from jax import Array

from jdd.nn.conv import Convolution, default_conv
from jdd.nn.layers import NORMS, Conv, Dense, Norm, average_pool
from jdd.nn.model import ImageShape, Model, check_task, model_of, variant_name
from jdd.validation import one_of

DOWNSAMPLINGS = ("stride", "avg_pool")


class _ResNet18(nn.Module):
    num_classes: int
    norm: str
    downsampling: str
    conv: Convolution

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> tuple[Array, tuple[Array, ...], Array]:
        x = self._conv("block0_conv", x, 64, 3)
        x = jax.nn.relu(self._norm("block0_norm", x, train))
        taps = [x]
        for i in range(8):
            width, halved = 64 * 2 ** (i // 2), i in (2, 4, 6)
            x = self._block(f"block{i + 1}", x, width, halved, train)
            taps.append(x)
        if self.downsampling == "stride":
            x = x.mean((1, 2), keepdims=True)
        taps.append(x)
        embedding = x.reshape(x.shape[0], -1)
        return Dense(self.num_classes, name="classifier")(embedding), tuple(taps), embedding

    def _block(self, name: str, x: Array, width: int, halved: bool, train: bool) -> Array:
        pooled = halved and self.downsampling == "avg_pool"
        stride = 2 if halved and not pooled else 1
        out = self._conv(f"{name}_conv1", x, width, 3, stride)
        out = jax.nn.relu(self._norm(f"{name}_norm1", out, train))
        out = average_pool(out) if pooled else out
        out = self._norm(f"{name}_norm2", self._conv(f"{name}_conv2", out, width, 3), train)
        if halved:
            x = self._conv(f"{name}_shortcut_conv", x, width, 1, stride)
            x = average_pool(x) if pooled else x
            x = self._norm(f"{name}_shortcut_norm", x, train)
        return jax.nn.relu(out + x)

    def _conv(self, name: str, x: Array, width: int, size: int, stride: int = 1) -> Array:
        return Conv(width, size, size // 2, self.conv, stride, use_bias=False, name=name)(x)

    def _norm(self, name: str, x: Array, train: bool) -> Array:
        return Norm(self.norm, name=name)(x, train)


def resnet18(
    num_classes: int,
    image_shape: ImageShape,
    *,
    norm: str = "instance",
    downsampling: str = "stride",
    conv: Convolution | None = None,
) -> Model:
    """ResNet18 for small images: a 3x3 convolution of 64, then 2 blocks each of 64, 128, 256, 512.

    A block is convolution, norm, ReLU, convolution, norm, added to its input (to a 1x1 convolution
    and norm of it where the width doubles and the map halves), ReLU. Convolutions have no bias.

    Args:
      num_classes: number of logits, at least 2.
      image_shape: ``(H, W, channels)`` of the images.
      norm: "instance" as in the papers, "batch" for their ResNet18BN, "layer", "group" or "none".
      downsampling: how a map halves. "stride": by convolutions of stride 2, and what enters the
        classifier is the mean over the last map. "avg_pool", the papers' ResNet18_AP: by 2x2
        average pooling, in front of the second convolution and behind the 1x1 convolution, and the
        whole last map enters the classifier.
      conv: the convolution to use; None for the platform's default (``jdd.nn.default_conv``).

    Returns:
      A ``Model``. ``features`` gives a tap after the first convolution's ReLU and after that of
      each of the 8 blocks, then the map that enters the classifier ([n, 1, 1, 512] with "stride");
      the embedding is that map, flattened.

    Raises:
      ValueError: if an option is unknown, or the images are too small to be pooled three times.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021. Deviation: the original averages over 4x4, which is all
    of the last map for 28x28 and 32x32; here it is all of it whatever the images.

    >>> variables = jax.eval_shape(resnet18(10, (32, 32, 3)).init, jax.random.key(0))
    >>> sum(x.size for x in jax.tree.leaves(variables))
    11173962
    """
    one_of("norm", norm, NORMS)
    one_of("downsampling", downsampling, DOWNSAMPLINGS)
    check_task(num_classes, image_shape)
    if downsampling == "avg_pool" and min(image_shape[:2]) < 8:
        raise ValueError(
            f"downsampling avg_pool needs images of at least 8x8, got {image_shape[0]}x{image_shape[1]}"
        )
    module = _ResNet18(num_classes, norm, downsampling, conv or default_conv())
    chosen = {"norm": norm, "downsampling": downsampling}
    name = variant_name("ResNet18", chosen, {"norm": "instance", "downsampling": "stride"})
    return model_of(module, name, num_classes, image_shape, has_batch_stats=norm == "batch")
