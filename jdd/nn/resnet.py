"""ResNet18, as in the evaluations of the dataset-distillation papers."""

from __future__ import annotations

import flax.linen as nn
import jax
from jax import Array

from jdd.network_output import Output
from jdd.nn.conv import Convolution, chosen_conv
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
    def __call__(self, x: Array, training: bool = False) -> Output:
        x = self._conv("block0_conv", x, 64, 3)
        x = jax.nn.relu(self._norm("block0_norm", x, training))
        taps = [x]
        for i in range(8):
            width, is_halving = 64 * 2 ** (i // 2), i in (2, 4, 6)
            x = self._block(f"block{i + 1}", x, width, is_halving, training)
            taps.append(x)
        if self.downsampling == "stride":
            x = x.mean((1, 2), keepdims=True)
        taps.append(x)
        embedding = x.reshape(x.shape[0], -1)
        logits = Dense(self.num_classes, name="classifier")(embedding)
        return Output(logits, tuple(taps), embedding)

    def _block(self, name: str, x: Array, width: int, is_halving: bool, training: bool) -> Array:
        has_pooling = is_halving and self.downsampling == "avg_pool"
        stride = 2 if is_halving and not has_pooling else 1
        out = self._conv(f"{name}_conv1", x, width, 3, stride)
        out = jax.nn.relu(self._norm(f"{name}_norm1", out, training))
        out = average_pool(out) if has_pooling else out
        out = self._norm(f"{name}_norm2", self._conv(f"{name}_conv2", out, width, 3), training)
        if is_halving:
            x = self._conv(f"{name}_shortcut_conv", x, width, 1, stride)
            x = average_pool(x) if has_pooling else x
            x = self._norm(f"{name}_shortcut_norm", x, training)
        return jax.nn.relu(out + x)

    def _conv(self, name: str, x: Array, width: int, size: int, stride: int = 1) -> Array:
        return Conv(width, size, size // 2, self.conv, stride, use_bias=False, name=name)(x)

    def _norm(self, name: str, x: Array, training: bool) -> Array:
        return Norm(self.norm, name=name)(x, training)


def resnet18(
    num_classes: int,
    image_shape: ImageShape,
    *,
    norm: str = "instance",
    downsampling: str = "stride",
    conv: Convolution | None = None,
) -> Model:
    """ResNet18 for small images: a 3x3 convolution of 64, then 2 blocks each of 64, 128, 256, 512.

    A block computes ReLU(f(x) + g(x)). f is convolution, norm, ReLU, convolution, norm. g is the
    identity, or a 1x1 convolution and norm in the blocks that double the width and halve the map.
    Convolutions have no bias.

    Args:
      num_classes: number of logits, at least 2.
      image_shape: ``(H, W, channels)`` of the images.
      norm: "instance" as in the papers, "batch" for their ResNet18BN, "layer", "group" or "none".
      downsampling: how a block halves the map. "stride": convolutions of stride 2, and the mean over
        the last map is the input of the classifier. "avg_pool", the papers' ResNet18_AP: 2x2
        average pooling before the second convolution and after the 1x1 convolution, and the whole
        last map is the input of the classifier.
      conv: the convolution; None for the default of the platform (``jdd.nn.default_conv``).

    Returns:
      A ``Model``. ``features`` gives a tap after the first convolution's ReLU and after that of
      each of the 8 blocks, then the input of the classifier (a map [n, 1, 1, 512] with "stride"); the
      embedding is that map, flattened.

    Raises:
      ValueError: if an option is unknown, or the images are too small for the three poolings of
        "avg_pool".

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021
    (https://arxiv.org/abs/2006.05929); with BatchNorm, Zhao, Bilen, "Dataset Condensation
    with Distribution Matching", WACV 2023 (https://arxiv.org/abs/2110.04181).
    Deviation: the original averages over 4x4, which is the whole last map for images of 28x28 and
    32x32. Here the average is over the whole map for images of any size.

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
    module = _ResNet18(num_classes, norm, downsampling, chosen_conv(conv))
    options = {"norm": norm, "downsampling": downsampling}
    name = variant_name("ResNet18", options, {"norm": "instance", "downsampling": "stride"})
    return model_of(module, name, num_classes, image_shape, has_batch_stats=norm == "batch")
