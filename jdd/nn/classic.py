"""MLP, LeNet, AlexNet and VGG11, as in the evaluations of the dataset-distillation papers."""

from __future__ import annotations

from jdd.nn.conv import Convolution, chosen_conv, default_conv
from jdd.nn.layers import NORMS
from jdd.nn.model import ImageShape, Model, check_task, model_of, variant_name
from jdd.nn.plain import Block, PlainNetwork, first_padding
from jdd.validation import one_of


def mlp(num_classes: int, image_shape: ImageShape) -> Model:
    """MLP: two hidden layers of 128 with ReLU.

    Args:
      num_classes: number of logits, at least 2.
      image_shape: ``(H, W, channels)`` of the images.

    Returns:
      A ``Model``. ``features`` gives a tap ``[n, 128]`` after each hidden layer; the embedding is
      the last of them.

    Raises:
      ValueError: if there are fewer than 2 classes, or image_shape is not a shape.

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021
    (https://arxiv.org/abs/2006.05929). The paper learns images on
    an MLP with a learning rate of 0.01, a tenth of the one for other networks.

    >>> import jax
    >>> variables = jax.eval_shape(mlp(10, (28, 28, 1)).init, jax.random.key(0))
    >>> sum(x.size for x in jax.tree.leaves(variables))
    118282
    """
    check_task(num_classes, image_shape)
    module = PlainNetwork(num_classes, default_conv(), hidden=(128, 128))
    return model_of(module, "MLP", num_classes, image_shape)


def lenet(num_classes: int, image_shape: ImageShape, *, conv: Convolution | None = None) -> Model:
    """LeNet: two blocks of 5x5 convolution (6, 16), ReLU, max pooling; dense layers of 120, 84.

    Args:
      num_classes: number of logits, at least 2.
      image_shape: ``(H, W, channels)`` of the images. The first convolution pads one-channel images
        by 2, others by 0.
      conv: the convolution; None for the default of the platform (``jdd.nn.default_conv``).

    Returns:
      A ``Model``. ``features`` gives a tap after the activation of each block, the map after the
      last pooling, and a tap after each hidden dense layer; the embedding is the last, ``[n, 84]``.

    Raises:
      ValueError: if there are fewer than 2 classes, or image_shape is not a shape.

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021
    (https://arxiv.org/abs/2006.05929). Deviation: the original
    accepts 28x28x1 and 32x32x3 only. Here smaller images are padded further, until the first
    convolution returns at least 12x12.

    >>> import jax
    >>> variables = jax.eval_shape(lenet(10, (28, 28, 1)).init, jax.random.key(0))
    >>> sum(x.size for x in jax.tree.leaves(variables))
    61706
    """
    check_task(num_classes, image_shape)
    padding = first_padding(image_shape, 5, 2 if image_shape[-1] == 1 else 0, smallest_map=12)
    blocks = (Block(6, 5, padding, "max"), Block(16, 5, 0, "max"))
    module = PlainNetwork(num_classes, chosen_conv(conv), blocks, (120, 84))
    return model_of(module, "LeNet", num_classes, image_shape)


def alexnet(
    num_classes: int,
    image_shape: ImageShape,
    *,
    norm: str = "none",
    conv: Convolution | None = None,
) -> Model:
    """AlexNet: 5x5 convolutions 128, 192, then 3x3 of 256, 192, 192; max pooling after 1, 2 and 5.

    Args:
      num_classes: number of logits, at least 2.
      image_shape: ``(H, W, channels)`` of the images. The first convolution pads one-channel images
        by 4, others by 2.
      norm: between convolution and ReLU: "none" as in the papers, "batch" for their AlexNetBN,
        "instance", "layer" or "group".
      conv: the convolution; None for the default of the platform (``jdd.nn.default_conv``).

    Returns:
      A ``Model``. ``features`` gives a tap after the ReLU of each convolution (before its pooling),
      then the map after the last pooling; the embedding is that map, flattened.

    Raises:
      ValueError: if the norm is unknown, there are fewer than 2 classes, or image_shape is not a
        shape.

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021
    (https://arxiv.org/abs/2006.05929); with BatchNorm, Zhao, Bilen, "Dataset Condensation
    with Distribution Matching", WACV 2023 (https://arxiv.org/abs/2110.04181).
    Deviation: images that are too small for three poolings are padded further in the first
    convolution.

    >>> import jax
    >>> variables = jax.eval_shape(alexnet(10, (32, 32, 3)).init, jax.random.key(0))
    >>> sum(x.size for x in jax.tree.leaves(variables))
    1872202
    """
    one_of("norm", norm, NORMS)
    check_task(num_classes, image_shape)
    padding = first_padding(image_shape, 5, 4 if image_shape[-1] == 1 else 2, smallest_map=8)
    blocks = (
        Block(128, 5, padding, "max"),
        Block(192, 5, 2, "max"),
        Block(256, 3, 1, "none"),
        Block(192, 3, 1, "none"),
        Block(192, 3, 1, "max"),
    )
    module = PlainNetwork(num_classes, chosen_conv(conv), blocks, (), norm)
    name = variant_name("AlexNet", {"norm": norm}, {"norm": "none"})
    return model_of(module, name, num_classes, image_shape, has_batch_stats=norm == "batch")


def vgg11(
    num_classes: int,
    image_shape: ImageShape,
    *,
    norm: str = "instance",
    conv: Convolution | None = None,
) -> Model:
    """VGG11: 3x3 convolutions 64 M 128 M 256 256 M 512 512 M 512 512 M, then linear.

    M is 2x2 max pooling; every convolution is followed by the norm and ReLU.

    Args:
      num_classes: number of logits, at least 2.
      image_shape: ``(H, W, channels)`` of the images. The first convolution pads one-channel images
        by 3 (28x28 becomes a 32x32 map), others by 1.
      norm: "instance" as in the papers, "batch" for their VGG11BN, "layer", "group" or "none".
      conv: the convolution; None for the default of the platform (``jdd.nn.default_conv``).

    Returns:
      A ``Model``. ``features`` gives a tap after the ReLU of each of the 8 convolutions (before its
      pooling), then the map after the last pooling; the embedding is that map, flattened.

    Raises:
      ValueError: if the norm is unknown, there are fewer than 2 classes, or image_shape is not a
        shape.

    Reference: Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021
    (https://arxiv.org/abs/2006.05929); with BatchNorm, Zhao, Bilen, "Dataset Condensation
    with Distribution Matching", WACV 2023 (https://arxiv.org/abs/2110.04181).
    Deviation: the original accepts maps of 32x32 only. Here images that are too small for five
    poolings are padded further in the first convolution.

    >>> import jax
    >>> variables = jax.eval_shape(vgg11(10, (32, 32, 3)).init, jax.random.key(0))
    >>> sum(x.size for x in jax.tree.leaves(variables))
    9231114
    """
    one_of("norm", norm, NORMS)
    check_task(num_classes, image_shape)
    padding = first_padding(image_shape, 3, 3 if image_shape[-1] == 1 else 1, smallest_map=32)
    widths = (64, 128, 256, 256, 512, 512, 512, 512)
    poolings = ("max", "max", "none", "max", "none", "max", "none", "max")
    blocks = tuple(
        Block(width, 3, 1 if i else padding, pooling)
        for i, (width, pooling) in enumerate(zip(widths, poolings, strict=True))
    )
    module = PlainNetwork(num_classes, chosen_conv(conv), blocks, (), norm)
    name = variant_name("VGG11", {"norm": norm}, {"norm": "instance"})
    return model_of(module, name, num_classes, image_shape, has_batch_stats=norm == "batch")
