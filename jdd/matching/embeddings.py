"""Embeddings of both batches, streamed in micro-batches, and their means."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax import Array, lax

from jdd import losses
from jdd.choice import register
from jdd.data.batch import Batch
from jdd.matching.base import Context, Pair, Stage, stateless
from jdd.streaming import MicroBatches, default_forward_batch, in_parts


class Embedded(NamedTuple):
    """A batch after the network.

    Attributes:
      values: ``[n, d]``.
      weights: ``[n]``, what each sample counts for in a mean; None means that all count alike.
    """

    values: Array
    weights: Array | None


@register
def embeddings(
    *, real_micro_batch: int | None = None, synthetic_micro_batch: int | None = None
) -> Stage:
    r"""Replaces both batches by what enters the network's classifier.

    .. math:: e_i = \psi_\theta(x_i) \in \mathbb{R}^d

    The real side carries no derivative and is computed a micro-batch at a time. The synthetic side
    is checkpointed: its backward pass recomputes one micro-batch at a time. (Where samples influence
    each other, ``context.coupled``, a batch is taken whole.)

    Args:
      real_micro_batch: images at a time on the real side; None for the platform's default.
      synthetic_micro_batch: the same for the synthetic side.

    Returns:
      A stage from ``Pair(Batch, Batch)`` to ``Pair(Embedded, Embedded)``.

    Raises:
      ValueError: if a micro-batch is below 1, or (when applied) the network gives logits alone.

    Reference: Zhao, Bilen, "Dataset Condensation with Distribution Matching", WACV 2023.

    >>> import jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((4, 2)), jnp.zeros(4, int))
    >>> from jdd.network_output import Output
    >>> network = lambda w, x: Output(x, (), x @ w)
    >>> context = Context(network, jnp.ones((2, 3)), jax.random.key(0))
    >>> value_of(embeddings(), Pair(batch, batch), context).real.values.shape
    (4, 3)
    """
    micro_batches = MicroBatches.checked(real_micro_batch, synthetic_micro_batch)

    def apply(pair: Pair, context: Context) -> Pair:
        def embed(images: Array) -> Array:
            return context.features(context.params, images)[1]

        def side(batch: Batch, function: Any, micro_batch: int) -> Embedded:
            return Embedded(in_parts(function, batch.images, micro_batch), batch.weights)

        size = default_forward_batch()
        real_size, synthetic_size = micro_batches.sizes(
            pair, context.coupled, real=size, synthetic=size
        )
        real = side(pair.real, embed, real_size)
        recomputed = jax.checkpoint(embed, prevent_cse=False)
        synthetic = side(pair.synthetic, recomputed, synthetic_size)
        return Pair(synthetic, lax.stop_gradient(real))

    return stateless(apply)


@register
def joint_embeddings() -> Stage:
    """The embeddings of all classes from one pass over each side, for networks with BatchNorm.

    Every side is one batch, whose statistics normalise it (``methods.batch_statistics``): nothing is
    streamed, and the whole real batch is in memory.

    Returns:
      A stage from a class-stacked ``Pair(Batch, Batch)`` to ``Pair(Embedded, Embedded)`` with values
      ``[C, n, d]``.

    Raises:
      ValueError: when applied, if the network gives logits alone.

    Reference: the code of DM (Zhao, Bilen, WACV 2023) for networks with BatchNorm.

    >>> import jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((3, 4, 2)), jnp.zeros((3, 4), int))
    >>> from jdd.network_output import Output
    >>> network = lambda w, x: Output(x, (), (x - x.mean(0)) @ w)
    >>> context = Context(network, jnp.ones((2, 5)), jax.random.key(0))
    >>> value_of(joint_embeddings(), Pair(batch, batch), context).real.values.shape
    (3, 4, 5)
    """

    def apply(pair: Pair, context: Context) -> Pair:
        def side(batch: Batch) -> Embedded:
            classes, n = batch.images.shape[:2]
            flat = batch.images.reshape(-1, *batch.images.shape[2:])
            embedding = context.features(context.params, flat)[1]
            return Embedded(embedding.reshape(classes, n, -1), batch.weights)

        return Pair(side(pair.synthetic), lax.stop_gradient(side(pair.real)))

    return stateless(apply)


@register
def batch_mean() -> Stage:
    """Replaces both sides of a pair of `Embedded` by their weighted means ``[d]``.

    >>> import jax.numpy as jnp
    >>> from jdd.matching import Context, Pair, value_of
    >>> side = Embedded(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([1.0, 0.0]))
    >>> context = Context(lambda p, x: x, {}, jax.random.key(0))
    >>> print(value_of(batch_mean(), Pair(side, side._replace(weights=None)), context))
    Pair(synthetic=Array([1., 2.], dtype=float32), real=Array([2., 3.], dtype=float32))
    """

    def mean(side: Embedded) -> Array:
        if side.weights is None:
            return side.values.mean(0)
        return side.weights @ side.values / side.weights.sum()

    return stateless(lambda pair, context: Pair(mean(pair.synthetic), mean(pair.real)))


@register
def mean_embedding() -> Stage:
    """``losses.mean_embedding`` as a stage on a class-stacked pair of `Embedded`.

    Weights play no part: every class must have as many real images as are drawn.
    """
    return stateless(
        lambda pair, context: losses.mean_embedding(pair.synthetic.values, pair.real.values)
    )
