"""Training a network on a (small, synthetic) set by SGD, as one loop inside jit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jdd import losses
from jdd.nn import Model
from jdd.nn.model import Variables

Augment = Callable[[Array, Array], Array]
"""``augment(key, images) -> images``, one call per minibatch."""


class SGDRecipe(NamedTuple):
    """Hyper-parameters of plain SGD, in PyTorch's convention.

    Attributes:
      learning_rate: of the first epochs.
      momentum: 0 for none; not dampened, not Nesterov.
      weight_decay: added to the gradient of every parameter, biases and norms too.
      batch_size: of a minibatch; the last partial one of an epoch is kept.
      decay_after: number of epochs after which the learning rate is multiplied by 0.1 and the
        momentum starts again from nothing; None for never.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256
    decay_after: int | None = None


def train_epochs(
    key: Array,
    model: Model,
    variables: Variables,
    images: Array,
    labels: Array,
    recipe: SGDRecipe,
    *,
    epochs: int | Array,
    augment: Augment | None = None,
    record: Callable[[Variables, Array], Any] | None = None,
) -> tuple[Variables, Any]:
    """Trains a network for some epochs on a set that fits in memory.

    Every epoch is shuffled anew. BatchNorm runs in training mode.

    Args:
      key: typed PRNG key, folded by step.
      model: the network.
      variables: where it starts.
      images: ``[N, H, W, ch]``, normalised.
      labels: integers ``[N]`` or probabilities ``[N, K]``.
      recipe: hyper-parameters.
      epochs: number of epochs; may be traced (then nothing can be recorded).
      augment: applied to each minibatch.
      record: ``record(variables, training_loss)`` is called after every epoch and its results are
        stacked; the loss is that of the epoch's last minibatch, before its step.

    Returns:
      ``(variables, records)``; records is None without ``record``.

    Raises:
      ValueError: for an empty set, or a batch size below 1.
    """
    n = images.shape[0]
    if n < 1 or recipe.batch_size < 1:
        raise ValueError(f"need images and a batch size, got {n} images, {recipe.batch_size}")
    size = min(recipe.batch_size, n)
    batches = -(-n // size)
    tx = optax.chain(
        optax.add_decayed_weights(recipe.weight_decay) if recipe.weight_decay else optax.identity(),
        optax.trace(recipe.momentum) if recipe.momentum else optax.identity(),
    )

    def minibatch(epoch: Array, i: Array) -> tuple[Array, Array, Array]:
        if batches == 1:
            # A permutation of a full batch changes nothing but the draws of the augmentation.
            return images, labels, jnp.full(n, 1 / n)
        order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, epoch), 0), n)
        place = i * size + jnp.arange(size)
        weights = (place < n) / jnp.minimum(size, n - i * size)
        chosen = order[jnp.minimum(place, n - 1)]
        return images[chosen], labels[chosen], weights

    def step(carry: tuple[Variables, Any], s: Array) -> tuple[tuple[Variables, Any], Array]:
        variables, state = carry
        epoch, i = s // batches, s % batches
        x, y, weights = minibatch(epoch, i)
        if augment is not None:
            step_key = jax.random.fold_in(jax.random.fold_in(key, epoch), i + 1)
            x = augment(step_key, x)

        def loss(params: Any) -> tuple[Array, Variables]:
            logits, moved = model.train({**variables, "params": params}, x)
            return jnp.sum(weights * losses.cross_entropy(logits, y)), moved

        (value, moved), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        rate: Any = recipe.learning_rate
        if recipe.decay_after is not None:
            reset = (epoch == recipe.decay_after) & (i == 0)
            state = jax.tree.map(lambda x: jnp.where(reset, jnp.zeros_like(x), x), state)
            rate = jnp.where(epoch < recipe.decay_after, rate, rate * 0.1)
        updates, state = tx.update(gradient, state, variables["params"])
        params = jax.tree.map(lambda p, u: p - rate * u, variables["params"], updates)
        return ({**moved, "params": params}, state), value

    carry = (dict(variables), tx.init(variables["params"]))
    if record is None:
        body = lambda s, carry: step(carry, jnp.asarray(s, jnp.int32))[0]  # noqa: E731
        return lax.fori_loop(0, epochs * batches, body, carry)[0], None

    def epoch_body(carry: Any, epoch: Array) -> tuple[Any, Any]:
        steps = epoch * batches + jnp.arange(batches, dtype=jnp.int32)
        carry, values = lax.scan(step, carry, steps)
        return carry, record(carry[0], values[-1])

    (variables, _), records = lax.scan(epoch_body, carry, jnp.arange(epochs, dtype=jnp.int32))
    return variables, records
