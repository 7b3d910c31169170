"""Gradients of the classification loss, streamed in micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd import losses
from jdd.choice import register, register_function
from jdd.data.batch import Batch
from jdd.matching.base import Context, Pair, Stage, check_function, stateless
from jdd.streaming import MicroBatches, parts_of, varying_as

Loss = Callable[[Array, Array], Array]

register_function("losses.cross_entropy", losses.cross_entropy)


@register
def gradients(
    *,
    loss: Loss = losses.cross_entropy,
    real_micro_batch: int | None = None,
    synthetic_micro_batch: int | None = None,
) -> Stage:
    r"""Replaces both batches by the gradient of their mean loss w.r.t. the network's parameters.

    .. math:: g = \nabla_\theta \frac{\sum_i w_i\, \ell(f_\theta(x_i), y_i)}{\sum_i w_i}

    The mean is a sum over samples, so it is accumulated over micro-batches: exact for every network
    whose samples do not influence each other (BatchNorm with frozen statistics included; where they
    do, ``context.coupled``, a batch is taken whole). The real side carries no derivative. The
    synthetic side is checkpointed: its backward pass recomputes one micro-batch at a time, so memory
    is constant in IPC, real batch and classes.

    Args:
      loss: ``loss(logits [n, K], labels) -> [n]``.
      real_micro_batch: images at a time on the real side; None for the platform's default.
      synthetic_micro_batch: the same for the synthetic side.

    Returns:
      A stage from ``Pair(Batch, Batch)`` to a pair of pytrees like ``context.params``.

    Raises:
      ValueError: if a micro-batch is below 1 or the loss no function, or (when applied) a batch is empty or the
        loss is not one number for each image.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021; the streaming is ours.

    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((4, 2)), jnp.zeros(4, int))
    >>> context = Context(lambda w, x: x @ w, jnp.zeros((2, 2)), jax.random.key(0))
    >>> print(value_of(gradients(), Pair(batch, batch), context).real)
    [[-0.5  0.5]
     [-0.5  0.5]]
    """
    check_function("gradients", loss)
    micro_batches = MicroBatches.checked(real_micro_batch, synthetic_micro_batch)

    def apply(pair: Pair, context: Context) -> Pair:
        real_size, synthetic_size = micro_batches.sizes(
            pair,
            context.coupled,
            real=default_micro_batch("real"),
            synthetic=default_micro_batch("synthetic"),
        )

        def gradient(batch: Batch, micro_batch: int) -> Any:
            # Under shard_map each device has its own classes: a gradient of its own, not their sum.
            params = varying_as(batch.images, context.params)
            return streamed_gradient(context.apply, params, batch, loss, micro_batch)

        syn, real = gradient(pair.synthetic, synthetic_size), gradient(pair.real, real_size)
        return Pair(syn, lax.stop_gradient(real))

    return stateless(apply)


def default_micro_batch(side: str) -> int:
    """Images at a time: small on a CPU, where activations then stay in cache; large elsewhere.

    Figures: docs/performance-choices.md, section "Winograd on a CPU". A GPU is unmeasured.
    """
    if jax.default_backend() == "cpu":
        return 16 if side == "real" else 10
    return 256


def streamed_gradient(
    apply: Callable[[Any, Array], Array], params: Any, batch: Batch, loss: Loss, micro_batch: int
) -> Any:
    """The gradient of the weighted mean loss of a batch, ``micro_batch`` images at a time."""
    return streamed_value_and_gradient(apply, params, batch, loss, micro_batch)[1]


def streamed_value_and_gradient(
    apply: Callable[[Any, Array], Array], params: Any, batch: Batch, loss: Loss, micro_batch: int
) -> tuple[Array, Any]:
    """The weighted mean loss of a batch and its gradient, at most ``micro_batch`` images at a time."""

    def network(params: Any, images: Array) -> tuple[Array, tuple[()]]:
        return apply(params, images), ()

    return streamed_pass(network, params, batch, loss, micro_batch)[0]


def streamed_pass(
    network: Callable[[Any, Array], tuple[Array, Any]],
    params: Any,
    batch: Batch,
    loss: Loss,
    micro_batch: int,
) -> tuple[tuple[Array, Any], Any]:
    """The weighted mean loss of a batch, its gradient, and what else the network returns of each image.

    Args:
      network: ``network(params, images) -> (logits, more)``; more has one row for each image.
      params: that the gradient is taken with respect to.
      batch: of one class.
      loss: ``loss(logits [n, K], labels) -> [n]``.
      micro_batch: images at a time, at most.

    Returns:
      ``((value, gradient), more)``.

    Raises:
      ValueError: if the batch is empty, or the loss is not one number for each image.
    """
    n = batch.images.shape[0]
    if n < 1:
        raise ValueError("cannot take the gradient of an empty batch")
    weights = (
        jnp.ones(n, jnp.result_type(batch.images, jnp.float32))
        if batch.weights is None
        else batch.weights
    )
    weights = weights / jnp.sum(weights)

    def part(samples: tuple[tuple[Array, Array], Array]) -> tuple[tuple[Array, Any], Any]:
        (images, labels), weights = samples

        def total(params: Any) -> tuple[Array, Any]:
            logits, more = network(params, images)
            each = loss(logits, labels)
            if each.shape != weights.shape:
                raise ValueError(
                    f"loss must return one number for each image, {weights.shape}, got {each.shape}"
                )
            return jnp.sum(weights * each), more

        (value, more), gradient = jax.value_and_grad(total, has_aux=True)(params)
        return (value, gradient), more

    samples = ((batch.images, batch.labels), weights)
    if n <= micro_batch:
        return part(samples)
    parts = parts_of(*samples, micro_batch)
    checkpointed = jax.checkpoint(part, prevent_cse=False)

    def accumulate(total: Any, samples: Any) -> tuple[Any, Any]:
        added, more = checkpointed(samples)
        return jax.tree.map(jnp.add, total, added), more

    start = jax.tree.map(jnp.zeros_like, jax.eval_shape(part, samples)[0])
    total, more = lax.scan(accumulate, start, parts)
    return total, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:n], more)
