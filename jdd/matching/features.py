"""Features of every layer of both batches, streamed in micro-batches, and CAFE's losses on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd import losses
from jdd.choice import register
from jdd.data.batch import Batch
from jdd.matching.base import Context, Pair, Stage, stateless
from jdd.matching.per_class import OneOfAll
from jdd.streaming import MicroBatches, default_forward_batch, parts_of


class Features(NamedTuple):
    """A batch after every layer of a network; class-stacked behind ``per_class``.

    Attributes:
      means: for each tap, and last for the embedding, the mean over the batch ``[...]``.
      embedding: of each image, ``[n, d]``.
      weights: ``[n]``, what each image counts for; None means that all count alike.
    """

    means: tuple[Array, ...]
    embedding: Array
    weights: Array | None


@register
def features(
    *, real_micro_batch: int | None = None, synthetic_micro_batch: int | None = None
) -> Stage:
    r"""Replaces both batches by the mean of every layer's output, and by their embeddings.

    .. math:: \bar f^l = \frac1n \sum_i f^l_\theta(x_i),\qquad e_i = \psi_\theta(x_i)

    The real side carries no derivative: of its maps those of one micro-batch are in memory at a time,
    of its embeddings all of the batch (2 MB for 256 images of ConvNet-3 at 32x32; one class
    at a time inside ``each_against_all``). The synthetic side is checkpointed: its backward pass recomputes one
    micro-batch at a time. (Where samples influence each other, ``context.coupled``, a batch is taken
    whole.)

    Args:
      real_micro_batch: images at a time on the real side; None for the platform's default.
      synthetic_micro_batch: the same for the synthetic side.

    Returns:
      A stage from ``Pair(Batch, Batch)`` to ``Pair(Features, Features)``.

    Raises:
      ValueError: if a micro-batch is below 1, or (when applied) the network gives logits alone.

    Reference: CAFE (Wang et al., CVPR 2022). Deviation: its code keeps all activations of the real
    images and differentiates through them, to no effect on the synthetic ones.

    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((4, 2)), jnp.zeros(4, int))
    >>> from jdd.network_output import Output
    >>> network = lambda w, x: Output(x, (x,), x @ w)
    >>> context = Context(network, jnp.ones((2, 3)), jax.random.key(0))
    >>> [mean.shape for mean in value_of(features(), Pair(batch, batch), context).real.means]
    [(2,), (3,)]
    """
    micro_batches = MicroBatches.checked(real_micro_batch, synthetic_micro_batch)

    def apply(pair: Pair, context: Context) -> Pair:
        size = default_forward_batch()
        real_size, synthetic_size = micro_batches.sizes(
            pair, context.coupled, real=size, synthetic=size
        )

        def part(images: Array, weights: Array) -> tuple[tuple[Array, ...], Array]:
            taps, embedding = context.features(context.params, images)
            sums = tuple(jnp.tensordot(weights, tap, 1) for tap in (*taps, embedding))
            return sums, embedding

        real = _streamed(pair.real, part, real_size)
        recomputed = jax.checkpoint(part, prevent_cse=False)
        synthetic = _streamed(pair.synthetic, recomputed, synthetic_size)
        return Pair(synthetic, lax.stop_gradient(real))

    return stateless(apply)


def cafe_layer_weights(count: int) -> tuple[float, ...]:
    """CAFE's weights for any number of layers, the embedding counted as the last.

    The authors give them for ConvNet-3, where the embedding is the last of four taps once more. For
    other networks: 1 for the last three, 0.1 for those before.

    Args:
      count: taps of the network, plus one for its embedding.

    >>> cafe_layer_weights(5)
    (0.1, 0.1, 1.0, 1.0, 1.0)
    """
    deep = min(count, 3)
    return (0.1,) * (count - deep) + (1.0,) * deep


@register
def feature_alignment(weights: Sequence[float] | None = None) -> Stage:
    """The part of one class in ``losses.feature_alignment``, for ``each_against_all``.

    Args:
      weights: one for each tap of the network, and last for its embedding; None for
        `cafe_layer_weights`.

    Returns:
      A stage from ``Pair(OneOfAll, Features)`` to a scalar.

    Raises:
      ValueError: when applied, if the network has another number of taps, or outside
        ``each_against_all``.
    """

    def apply(pair: Pair, context: Context) -> Array:
        # The means are already taken: one class, a batch of one.
        synthetic, features = _seen("feature_alignment", pair)
        sides = synthetic.one, features
        syn, real = ([mean[None, None] for mean in side.means] for side in sides)
        layer_weights = cafe_layer_weights(len(syn)) if weights is None else weights
        return losses.feature_alignment(syn, real, layer_weights)

    return stateless(apply)


@register
def discrimination() -> Stage:
    """The part of one class in ``losses.discrimination``, for ``each_against_all``.

    Returns:
      A stage from ``Pair(OneOfAll, Features)`` to a scalar.

    Raises:
      ValueError: when applied, outside ``each_against_all``.
    """

    def apply(pair: Pair, context: Context) -> Array:
        synthetic, real = _seen("discrimination", pair)
        return losses.class_discrimination(
            synthetic.all.means[-1], real.embedding, synthetic.index, real.weights
        )

    return stateless(apply)


def _seen(name: str, pair: Pair) -> tuple[OneOfAll, Features]:
    """Both sides; raises a ``ValueError`` that names the right place of the stage."""
    if isinstance(pair.synthetic, OneOfAll) and isinstance(pair.real, Features):
        return pair.synthetic, pair.real
    raise ValueError(
        f"{name} sees the features of one real class and of all synthetic ones: "
        f"each_against_all(chain(..., features()), {name}(...))"
    )


def _streamed(
    batch: Batch, part: Callable[[Array, Array], tuple[tuple[Array, ...], Array]], micro_batch: int
) -> Features:
    """The features of a batch, at most ``micro_batch`` images at a time."""
    n = batch.images.shape[0]
    if n < 1:
        raise ValueError("an empty batch has no features")
    weights = (
        jnp.ones(n, jnp.result_type(batch.images, jnp.float32))
        if batch.weights is None
        else batch.weights
    )
    if n <= micro_batch:
        sums, embedding = part(batch.images, weights)
    else:
        parts = parts_of(batch.images, weights, micro_batch)

        def accumulate(total: Any, chunk: tuple[Array, Array]) -> tuple[Any, Array]:
            sums, embedding = part(*chunk)
            return jax.tree.map(jnp.add, total, sums), embedding

        shapes = jax.eval_shape(part, parts[0][0], parts[1][0])[0]
        # zeros_like, for under shard_map the shapes say also which devices the sum differs between.
        zeros = jax.tree.map(jnp.zeros_like, shapes)
        sums, embedding = lax.scan(accumulate, zeros, parts)
        embedding = embedding.reshape(-1, embedding.shape[-1])[:n]
    means = tuple(total / weights.sum() for total in sums)
    return Features(means, embedding, batch.weights)
