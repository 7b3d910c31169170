"""The ConvNet of the dataset-distillation papers."""

from __future__ import annotations

from jdd.nn.conv import Convolution, chosen_conv
from jdd.nn.layers import ACTIVATIONS, NORMS, POOLINGS
from jdd.nn.model import ImageShape, Model, check_task, model_of, variant_name
from jdd.nn.plain import Block, PlainNetwork
from jdd.validation import at_least, one_of


def convnet(
    num_classes: int,
    image_shape: ImageShape,
    *,
    width: int = 128,
    depth: int = 3,
    norm: str = "instance",
    activation: str = "relu",
    pooling: str = "avg",
    conv: Convolution | None = None,
) -> Model:
    r"""ConvNet: ``depth`` blocks of 3x3 convolution, norm, activation, 2x2 pooling; then a classifier.

    Kernels and biases are initialised as in PyTorch: :math:`U(-b, b)` with
    :math:`b = 1/\sqrt{\text{fan-in}}`. Norms start at scale 1 and bias 0.

    Args:
      num_classes: number of logits, at least 2.
      image_shape: ``(H, W, channels)`` of the images. One-channel images are padded by 3 in the
        first convolution (28x28 becomes a 32x32 map), others by 1.
      width: channels of every block.
      depth: number of blocks; each pooling halves the map (rounding down).
      norm: "instance", "batch", "layer", "group" (4 groups) or "none".
      activation: "relu", "leaky_relu" (0.01), "sigmoid" or "swish".
      pooling: "avg", "max" or "none".
      conv: the convolution; None for the default of the platform (``jdd.nn.default_conv``).

    Returns:
      A ``Model``. ``features`` gives one tap ``[n, h, w, width]`` per block, after its activation
      and before its pooling, then the map after the last pooling; the embedding is that map
      flattened in (h, w, channel) order.

    Raises:
      ValueError: if an option is unknown, or the images are too small for the depth.

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021
    (https://arxiv.org/abs/2006.05929). ConvNet-3 of width 128
    is the default of the field.

    >>> import jax
    >>> model = convnet(10, (32, 32, 3))
    >>> variables = model.init(jax.random.key(0))
    >>> sum(x.size for x in jax.tree.leaves(variables))
    320010
    """
    one_of("norm", norm, NORMS)
    one_of("activation", activation, ACTIVATIONS)
    one_of("pooling", pooling, POOLINGS)
    check_task(num_classes, image_shape)
    for option, value in (("width", width), ("depth", depth)):
        at_least(option, value, 1)
    if norm == "group" and width % 4:
        raise ValueError(f"group norm has 4 groups: width must be a multiple of 4, got {width}")
    padding = 3 if image_shape[-1] == 1 else 1
    side = min(image_shape[:2]) + 2 * padding - 2
    if pooling != "none" and side >> depth < 1:
        raise ValueError(
            f"depth may be at most {side.bit_length() - 1} for images of "
            f"{image_shape[0]}x{image_shape[1]} (each block halves them), got {depth}"
        )
    blocks = tuple(Block(width, 3, 1 if i else padding, pooling) for i in range(depth))
    module = PlainNetwork(num_classes, chosen_conv(conv), blocks, (), norm, activation)
    options = {"width": width, "norm": norm, "activation": activation, "pooling": pooling}
    defaults = {"width": 128, "norm": "instance", "activation": "relu", "pooling": "avg"}
    name = variant_name(f"ConvNet-{depth}", options, defaults)
    return model_of(module, name, num_classes, image_shape, has_batch_stats=norm == "batch")
