"""Training a network on a (small, synthetic) set by SGD, as one loop inside jit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jdd import losses
from jdd.data.batch import Batch
from jdd.matching.gradients import default_micro_batch, streamed_value_and_gradient
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.validation import at_least, positive, share

Augment = Callable[[Array, Array], Array]
"""``augment(key, images) -> images``, one call per minibatch."""


_Carry = tuple[Variables, Any, Array]  # variables, state of the optimiser, learning rate


class SGDRecipe(NamedTuple):
    """Hyper-parameters of plain SGD, in PyTorch's convention.

    Attributes:
      learning_rate: of the first epochs.
      momentum: 0 for none; not dampened, not Nesterov.
      weight_decay: added to the gradient of every parameter, biases and norms too.
      batch_size: of a minibatch; the last partial one of an epoch is kept.
      decay_after: number of epochs after which the learning rate is multiplied by 0.1 and the
        momentum starts again from nothing; None for never; may be traced.
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256
    decay_after: int | Array | None = None


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
      ValueError: for an empty set, images without labels, or a number that a recipe cannot have.

    >>> from jdd.nn import convnet
    >>> model = convnet(2, (8, 8, 1), width=4, depth=1)
    >>> images, labels = jnp.zeros((3, 8, 8, 1)), jnp.array([0, 1, 0])
    >>> variables, losses_after = train_epochs(
    ...     jax.random.key(0),
    ...     model,
    ...     model.init(jax.random.key(1)),
    ...     images,
    ...     labels,
    ...     SGDRecipe(batch_size=2),
    ...     epochs=4,
    ...     record=lambda variables, loss: loss,
    ... )
    >>> losses_after.shape
    (4,)
    """
    n = images.shape[0]
    if n < 1 or labels.shape[:1] != (n,):
        raise ValueError(f"need images with a label each, got {images.shape} and {labels.shape}")
    _check_recipe(recipe)
    if not isinstance(epochs, jax.Array):
        at_least("epochs", epochs, 0)
    size = min(recipe.batch_size, n)
    full, rest = divmod(n, size)
    tx, step = _sgd(model, recipe, augment)

    def epoch(carry: _Carry, e: Array) -> tuple[_Carry, Array]:
        variables, state, rate = carry
        if recipe.decay_after is not None:
            due = e == recipe.decay_after
            state = jax.tree.map(lambda x: jnp.where(due, jnp.zeros_like(x), x), state)
            rate = jnp.where(due, rate * 0.1, rate)
        epoch_key = jax.random.fold_in(key, e)
        # A permutation of one full batch changes nothing but the draws of the augmentation.
        one = full == 1 and not rest
        order = (
            jnp.arange(n) if one else jax.random.permutation(jax.random.fold_in(epoch_key, 0), n)
        )

        def minibatch(i: Array | int, carry: tuple[_Carry, Array], length: int = size) -> Any:
            chosen = lax.dynamic_slice_in_dim(order, i * size, length)
            batch = (images, labels) if one else (images[chosen], labels[chosen])
            return step(jax.random.fold_in(epoch_key, i + 1), carry[0], *batch)

        carry, loss = (variables, state, rate), jnp.float32(0)
        if full == 1:
            carry, loss = minibatch(0, (carry, loss))
        else:
            carry, loss = lax.fori_loop(0, full, minibatch, (carry, loss))
        if rest:
            # A step of its own, statically smaller: BatchNorm must see these images and no others.
            carry, loss = minibatch(full, (carry, loss), length=rest)
        return carry, loss

    carry = (dict(variables), tx.init(variables["params"]), jnp.float32(recipe.learning_rate))
    if record is None:
        carry = lax.fori_loop(0, epochs, lambda e, carry: epoch(carry, e)[0], carry)
        return carry[0], None

    def recorded(carry: _Carry, e: Array) -> tuple[_Carry, Any]:
        carry, loss = epoch(carry, e)
        return carry, record(carry[0], loss)

    carry, records = lax.scan(recorded, carry, jnp.arange(epochs, dtype=jnp.int32))
    return carry[0], records


def _check_recipe(recipe: SGDRecipe) -> None:
    at_least("batch_size", recipe.batch_size, 1)
    if not isinstance(recipe.learning_rate, jax.Array):  # a learned one is traced
        positive("learning_rate", recipe.learning_rate)
    share("momentum", recipe.momentum)
    share("weight_decay", recipe.weight_decay)


def _sgd(
    model: Model, recipe: SGDRecipe, augment: Augment | None
) -> tuple[optax.GradientTransformation, Callable[..., tuple[_Carry, Array]]]:
    """The optimiser up to its learning rate, and one step on one minibatch."""
    tx = optax.chain(
        optax.add_decayed_weights(recipe.weight_decay) if recipe.weight_decay else optax.identity(),
        optax.trace(recipe.momentum) if recipe.momentum else optax.identity(),
    )

    def step(key: Array, carry: _Carry, x: Array, y: Array) -> tuple[_Carry, Array]:
        variables, state, rate = carry
        if augment is not None:
            x = augment(key, x)

        value, gradient, moved = _value_and_gradient(model, variables, x, y)
        updates, state = tx.update(gradient, state, variables["params"])
        params = jax.tree.map(lambda p, u: p - rate * u, variables["params"], updates)
        return ({**moved, "params": params}, state, rate), value

    return tx, step


def _value_and_gradient(
    model: Model, variables: Variables, x: Array, y: Array
) -> tuple[Array, Any, Variables]:
    """The mean loss of a minibatch, its gradient, and the variables with statistics moved."""
    if not model.has_batch_stats:
        # Samples do not see each other: in micro-batches their activations stay in cache.
        apply, params = model.frozen(variables)
        size = default_micro_batch("real")
        value, gradient = streamed_value_and_gradient(
            apply, params, Batch(x, y), losses.cross_entropy, size
        )
        return value, gradient, variables

    def loss(params: Any) -> tuple[Array, Variables]:
        logits, moved = model.train({**variables, "params": params}, x)
        return jnp.mean(losses.cross_entropy(logits, y)), moved

    (value, moved), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return value, gradient, moved
