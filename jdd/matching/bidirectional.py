"""Gradients and embeddings of the same batches from one pass, and stages that see one of the two."""

from __future__ import annotations

from typing import Any, NamedTuple

from jax import lax

from jdd import losses
from jdd.choice import register
from jdd.data.batch import Batch
from jdd.matching.base import Context, Pair, Stage, check_function, check_stages, stateless
from jdd.matching.embeddings import Embedded
from jdd.matching.gradients import Loss, default_micro_batch, streamed_pass
from jdd.streaming import MicroBatches, varying_as


class Bidirectional(NamedTuple):
    """A batch after one pass through the network, forward and backward.

    Attributes:
      gradients: of the mean loss, a pytree like the parameters.
      embeddings: of each image.
    """

    gradients: Any
    embeddings: Embedded


@register
def gradients_and_embeddings(
    *,
    loss: Loss = losses.cross_entropy,
    real_micro_batch: int | None = None,
    synthetic_micro_batch: int | None = None,
) -> Stage:
    r"""Replaces both batches by their gradient, as `gradients` does, and their embeddings, from one pass.

    .. math:: g = \nabla_\theta \frac{\sum_i w_i\, \ell(f_\theta(x_i), y_i)}{\sum_i w_i},\qquad
              e_i = \psi_\theta(x_i)

    ``add(chain(gradients(), ...), chain(embeddings(), ...))`` gives the same value, but its derivative
    goes through the network a second time: the compiler merges the forward passes of two first
    derivatives, not of second ones. Streaming and checkpoints are those of `gradients`.

    Args:
      loss: ``loss(logits [n, K], labels) -> [n]``.
      real_micro_batch: images at a time on the real side; None for the platform's default.
      synthetic_micro_batch: the same for the synthetic side.

    Returns:
      A stage from ``Pair(Batch, Batch)`` to ``Pair(Bidirectional, Bidirectional)``.

    Raises:
      ValueError: if a micro-batch is below 1, or (when applied) a batch is empty or the network gives logits
        alone.

    Reference: DREAM+ (Liu et al., https://arxiv.org/abs/2310.15052); the streaming is ours.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> from jdd.network_output import Output
    >>> batch = Batch(jnp.ones((4, 2)), jnp.zeros(4, int))
    >>> context = Context(lambda w, x: Output(x @ w, (), x), jnp.zeros((2, 2)), jax.random.key(0))
    >>> both = value_of(gradients_and_embeddings(), Pair(batch, batch), context).real
    >>> both.gradients.shape, both.embeddings.values.shape
    ((2, 2), (4, 2))
    """
    check_function("gradients_and_embeddings", loss)
    micro_batches = MicroBatches.checked(real_micro_batch, synthetic_micro_batch)

    def apply(pair: Pair, context: Context) -> Pair:
        real_size, synthetic_size = micro_batches.sizes(
            pair,
            context.coupled,
            real=default_micro_batch("real"),
            synthetic=default_micro_batch("synthetic"),
        )

        def side(batch: Batch, micro_batch: int) -> Bidirectional:
            # Under shard_map each device has its own classes: a gradient of its own, not their sum.
            params = varying_as(batch.images, context.params)
            (_, gradient), embedding = streamed_pass(
                context.logits_and_embedding, params, batch, loss, micro_batch
            )
            return Bidirectional(gradient, Embedded(embedding, batch.weights))

        synthetic = side(pair.synthetic, synthetic_size)
        return Pair(synthetic, lax.stop_gradient(side(pair.real, real_size)))

    return stateless(apply)


@register
def on_gradients(stage: Stage) -> Stage:
    """Applies a stage to the gradients of a pair of `Bidirectional`.

    Args:
      stage: on a pair of gradients, for example ``squared_error()``.

    Raises:
      ValueError: if it is no stage, or (when applied) the pair is another.

    >>> from jdd.matching import layerwise_cosine
    >>> on_gradients(layerwise_cosine())
    on_gradients(layerwise_cosine())
    """
    return _on("on_gradients", stage, lambda side: side.gradients)


@register
def on_embeddings(stage: Stage) -> Stage:
    """Applies a stage to the embeddings of a pair of `Bidirectional`.

    Args:
      stage: on a pair of `Embedded`, for example ``chain(batch_mean(), squared_error())``.

    Raises:
      ValueError: if it is no stage, or (when applied) the pair is another.

    >>> from jdd.matching import batch_mean
    >>> on_embeddings(batch_mean())
    on_embeddings(batch_mean())
    """
    return _on("on_embeddings", stage, lambda side: side.embeddings)


def _on(name: str, stage: Stage, part: Any) -> Stage:
    check_stages(name, stage)

    def apply(pair: Pair, state: Any, context: Context) -> tuple[Any, Any]:
        if not all(isinstance(side, Bidirectional) for side in pair):
            raise ValueError(
                f"{name} sees what gradients_and_embeddings() returns, got {type(pair.real).__name__}"
            )
        return stage.apply(Pair(part(pair.synthetic), part(pair.real)), state, context)

    return Stage(stage.init, apply)
