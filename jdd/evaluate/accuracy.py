"""Accuracy of a network on a real set."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from jdd.augment import Augmentation
from jdd.data.table import ClassTable, seen_by_networks, take
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.streaming import default_forward_batch
from jdd.validation import at_least


def accuracy(
    model: Model, variables: Variables, table: ClassTable, *, micro_batch: int | None = None
) -> Array:
    """The share of images whose largest logit is that of their class.

    Args:
      model: the network; BatchNorm uses its running statistics.
      variables: the variables of the network.
      table: the images, as uint8 on the device.
      micro_batch: images that go through the network at a time; None for the platform's default.

    Returns:
      A float32 scalar between 0 and 1.

    Raises:
      ValueError: if micro_batch is below 1.

    >>> import jax
    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> from jdd.nn import convnet
    >>> split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 0, 0, 1], np.int32))
    >>> model = convnet(2, (8, 8, 1), width=4)
    >>> variables = model.init(jax.random.key(0))
    >>> value = accuracy(model, variables, class_table(split, 2, (0.5,), (0.5,)))
    >>> float(value) in (0.25, 0.75)
    True
    """
    if micro_batch is not None:
        at_least("micro_batch", micro_batch, 1)
    n = table.images.shape[0]
    size = min(micro_batch or default_forward_batch(), n)
    batches = -(-n // size)

    def correct(i: Array) -> Array:
        # The last micro-batch is moved back to end at n; images that it repeats are not counted.
        first = jnp.minimum(i * size, n - size)
        images = lax.dynamic_slice_in_dim(table.images, first, size)
        logits = model.apply(variables, seen_by_networks(images, table))
        place = first + jnp.arange(size)
        label = jnp.searchsorted(table.start, place, side="right") - 1
        return jnp.sum((jnp.argmax(logits, -1) == label) & (place >= i * size))

    count = lax.map(correct, jnp.arange(batches, dtype=jnp.int32)).sum()
    return count.astype(jnp.float32) / n


def accuracy_of_batches(
    model: Model,
    variables: Variables,
    table: ClassTable,
    transform: Callable[[Array], Array],
    *,
    batch_size: int = 128,
) -> Array:
    """The accuracy where what a network sees of an image depends on the batch it is in (HaBa's code).

    Batches are spread evenly over the table, so that each has images of all classes. Where the images
    do not fill them, some are in two batches, and count once.

    Args:
      model: the network; BatchNorm uses its running statistics.
      variables: the variables of the network.
      table: the images.
      transform: of a batch of images, ``[n, H, W, ch]``, as networks see them else.
      batch_size: images of a batch, at most; the authors test with 128.

    Returns:
      A float32 scalar between 0 and 1.

    Raises:
      ValueError: if batch_size is below 1.

    Reference: the code of Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774. Deviation: its batches are
    consecutive images of the file.

    >>> import jax
    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> from jdd.nn import convnet
    >>> split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 0, 0, 1], np.int32))
    >>> model, table = convnet(2, (8, 8, 1), width=4), class_table(split, 2, (0.5,), (0.5,))
    >>> value = accuracy_of_batches(model, model.init(jax.random.key(0)), table, lambda x: 2 * x)
    >>> float(value) in (0.25, 0.75)
    True
    """
    n = table.images.shape[0]
    batches = -(-n // at_least("batch_size", batch_size, 1))
    size = -(-n // batches)

    def correct(i: Array) -> Array:
        place = i + batches * jnp.arange(size)
        images = transform(take(table, place % n))
        label = jnp.searchsorted(table.start, place % n, side="right") - 1
        predicted = jnp.argmax(model.apply(variables, images), -1)
        return jnp.sum((predicted == label) & (place < n))

    count = lax.map(correct, jnp.arange(batches, dtype=jnp.int32)).sum()
    return count.astype(jnp.float32) / n


def accuracy_under(
    augment: Augmentation, model: Model, variables: Variables, table: ClassTable
) -> Array:
    """The accuracy of a network that was trained under an augmentation, which may change test images too.

    Args:
      augment: of the training.
      model: the network.
      variables: of the network.
      table: the images.

    Returns:
      That of `accuracy_of_batches` where the augmentation has ``of_tests``, else of `accuracy`.
    """
    if augment.of_tests is None:
        return accuracy(model, variables, table)
    return accuracy_of_batches(model, variables, table, augment.of_tests)


def class_accuracies(
    model: Model,
    variables: Variables,
    table: ClassTable,
    indices: Array,
    weights: Array,
    *,
    micro_batch: int | None = None,
) -> Array:
    """The accuracy on some images of each class, for example drawn by ``data.draw_indices``.

    Args:
      model: the network; BatchNorm uses its running statistics.
      variables: the variables of the network.
      table: the images, as uint8 on the device.
      indices: int32 ``[C, n]``, for each class places of its images in the table.
      weights: float32 ``[C, n]``, weights of these images; 0 for places without one.
      micro_batch: images that go through the network at a time; None for the platform's default.

    Returns:
      float32 ``[C]``, between 0 and 1; NaN for a class whose weights are all 0.

    Raises:
      ValueError: if micro_batch is below 1.

    >>> import jax
    >>> import numpy as np
    >>> from jdd.data import Split, class_table, draw_indices
    >>> from jdd.nn import convnet
    >>> split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 0, 0, 1], np.int32))
    >>> table, model = class_table(split, 2, (0.5,), (0.5,)), convnet(2, (8, 8, 1), width=4)
    >>> drawn = draw_indices(jax.random.key(1), table, 3)
    >>> accuracies = class_accuracies(model, model.init(jax.random.key(0)), table, *drawn)
    >>> sorted(accuracies.tolist())
    [0.0, 1.0]
    """
    if micro_batch is not None:
        at_least("micro_batch", micro_batch, 1)
    classes, n = indices.shape
    size = min(micro_batch or default_forward_batch(), classes * n)
    chunks = -(-classes * n // size)
    filled = jnp.resize(indices, (chunks, size))

    def predict(chosen: Array) -> Array:
        return jnp.argmax(model.apply(variables, take(table, chosen)), -1)

    predicted = lax.map(predict, filled).reshape(-1)[: classes * n].reshape(classes, n)
    correct = predicted == jnp.arange(classes)[:, None]
    return (correct * weights).sum(1) / weights.sum(1)
