"""Training a network by SGD as one loop inside jit: on a small set by epochs, or on the real table by steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from jdd import losses
from jdd.augment import Augmentation
from jdd.data.batch import Batch
from jdd.data.table import ClassTable, take
from jdd.matching import RESERVED_FOLD
from jdd.matching.gradients import default_micro_batch, streamed_value_and_gradient
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.training.flatness import Flatness
from jdd.validation import at_least, positive, share


class SGD(NamedTuple):
    """Hyper-parameters of plain SGD, in PyTorch's convention.

    Attributes:
      learning_rate: of the first epochs; may be traced, so that another rate compiles nothing.
      momentum: 0 for none; not dampened, not Nesterov.
      weight_decay: added to the gradient of every parameter, biases and norms too.
      batch_size: of a minibatch; the last partial one of an epoch on a set is kept.
      milestones: epochs after which the learning rate is multiplied by `decay`; may be traced.
      decay: the factor at each milestone.
      restart_momentum: whether the momentum starts again from zero at a milestone.
    """

    learning_rate: float | Array = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256
    milestones: tuple[int | Array, ...] = ()
    decay: float = 0.1
    restart_momentum: bool = True

    def check(self) -> None:
        """Raises a ``ValueError`` for a number that cannot be."""
        at_least("batch_size", self.batch_size, 1)
        if not isinstance(self.learning_rate, jax.Array):  # a learned one is traced
            positive("learning_rate", self.learning_rate)
        positive("decay", self.decay)
        share("momentum", self.momentum)
        share("weight_decay", self.weight_decay)

    def transform(self) -> optax.GradientTransformation:
        """The optimiser up to its learning rate."""
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay) if self.weight_decay else optax.identity(),
            optax.trace(self.momentum) if self.momentum else optax.identity(),
        )


class TrainingState(NamedTuple):
    """A network in training.

    Attributes:
      variables: of the network.
      optimizer: state of the optimiser, its momentum.
    """

    variables: Variables
    optimizer: Any

    @classmethod
    def begin(cls, variables: Variables, sgd: SGD) -> TrainingState:
        """Before the first step."""
        return cls(dict(variables), sgd.transform().init(variables["params"]))


def sgd_step(
    key: Array,
    model: Model,
    state: TrainingState,
    batch: Batch,
    sgd: SGD,
    *,
    rate: Array | float,
    augment: Augmentation | None = None,
    flatness: Flatness | None = None,
) -> tuple[TrainingState, Array]:
    """One step on one minibatch: the primitive of every loop that trains a network.

    Args:
      key: typed PRNG key, for the augmentation.
      model: the network; BatchNorm in training mode.
      state: the network and its optimiser.
      batch: images ``[n, H, W, ch]``, labels ``[n]`` or probabilities ``[n, K]``.
      sgd: hyper-parameters; its learning rate is not used.
      rate: the learning rate of this step.
      augment: applied to the minibatch.
      flatness: changes the gradient, at the price of a second one; None for plain SGD.

    Returns:
      The state after the step, and the mean loss before it.
    """
    if augment is not None:
        batch = augment.augmented(key, batch, model.num_classes)
    value, gradient, variables = _value_and_gradient(model, state.variables, batch)
    params = state.variables["params"]
    if flatness is not None:
        gradient = flatness.gradient(
            gradient,
            params,
            lambda p: _value_and_gradient(model, {**state.variables, "params": p}, batch)[1],
        )
    updates, optimizer = sgd.transform().update(gradient, state.optimizer, params)
    params = jax.tree.map(lambda p, u: p - rate * u, params, updates)
    return TrainingState({**variables, "params": params}, optimizer), value


def train_epochs(
    key: Array,
    model: Model,
    state: TrainingState,
    images: Array,
    labels: Array,
    sgd: SGD,
    *,
    epochs: int | Array,
    augment: Augmentation | None = None,
    record: Callable[[Variables, Array], Any] | None = None,
    record_after: Sequence[int] | None = None,
) -> tuple[TrainingState, Any]:
    """Trains a network for some epochs on a set that fits in memory.

    Every epoch is shuffled anew. BatchNorm runs in training mode.

    Args:
      key: typed PRNG key, folded by step.
      model: the network.
      state: the network and its optimiser, ``TrainingState.begin(variables, sgd)``.
      images: ``[N, H, W, ch]``, normalised; or ``[N, V, H, W, ch]`` with V variants of each image, of
        which every image of a minibatch draws one.
      labels: integers ``[N]`` or probabilities ``[N, K]``.
      sgd: hyper-parameters.
      epochs: number of epochs; may be traced (then nothing can be recorded).
      augment: applied to each minibatch.
      record: ``record(variables, training_loss)`` is called after every epoch and its results are
        stacked; the loss is that of the epoch's last minibatch, before its step.
      record_after: the numbers of epochs after which ``record`` is called, increasing; None for every
        one.

    Returns:
      ``(state, records)``; records is None without ``record``.

    Raises:
      ValueError: for an empty set, images without labels, or a number that SGD cannot have.

    >>> from jdd.nn import convnet
    >>> model, sgd = convnet(2, (8, 8, 1), width=4, depth=1), SGD(batch_size=2)
    >>> images, labels = jnp.zeros((3, 8, 8, 1)), jnp.array([0, 1, 0])
    >>> state, losses_after = train_epochs(
    ...     jax.random.key(0),
    ...     model,
    ...     TrainingState.begin(model.init(jax.random.key(1)), sgd),
    ...     images,
    ...     labels,
    ...     sgd,
    ...     epochs=4,
    ...     record=lambda variables, loss: loss,
    ... )
    >>> losses_after.shape
    (4,)
    """
    n = images.shape[0]
    if n < 1 or labels.shape[:1] != (n,):
        raise ValueError(f"need images with a label each, got {images.shape} and {labels.shape}")
    sgd.check()
    if not isinstance(epochs, jax.Array):
        at_least("epochs", epochs, 0)
    if images.ndim == 5 and images.shape[1] == 1:
        images = images[:, 0]
    size = min(sgd.batch_size, n)
    full, rest = divmod(n, size)
    is_one_batch = full == 1 and not rest

    def minibatch(key: Array, rows: Array) -> Batch:
        # A permutation of one full batch changes nothing but the draws of the augmentation.
        x, y = (images, labels) if is_one_batch else (images[rows], labels[rows])
        if x.ndim == 5:
            variant_key = jax.random.fold_in(key, RESERVED_FOLD)
            variants = jax.random.randint(variant_key, x.shape[:1], 0, x.shape[1])
            x = jax.vmap(lambda image, v: image[v])(x, variants)
        return Batch(x, y)

    def epoch(carry: tuple[TrainingState, Array], e: Array) -> tuple[Any, Array]:
        state, rate = after_milestones(*carry, e, sgd)
        epoch_key = jax.random.fold_in(key, e)
        order = (
            jnp.arange(n)
            if is_one_batch
            else jax.random.permutation(jax.random.fold_in(epoch_key, 0), n)
        )

        def step(i: Array | int, carry: tuple[TrainingState, Array], length: int = size) -> Any:
            step_key = jax.random.fold_in(epoch_key, i + 1)
            batch = minibatch(step_key, lax.dynamic_slice_in_dim(order, i * size, length))
            return sgd_step(step_key, model, carry[0], batch, sgd, rate=rate, augment=augment)

        inner = (state, jnp.zeros((), images.dtype))
        inner = step(0, inner) if full == 1 else lax.fori_loop(0, full, step, inner)
        if rest:
            # A step of its own, statically smaller: BatchNorm must see these images and no others.
            inner = step(full, inner, length=rest)
        state, loss = inner
        return (state, rate), loss

    carry = (state, jnp.asarray(sgd.learning_rate, images.dtype))
    if record is None:
        return lax.fori_loop(0, epochs, lambda e, carry: epoch(carry, e)[0], carry)[0], None

    if record_after is None:

        def recorded(carry: Any, e: Array) -> tuple[Any, Any]:
            carry, loss = epoch(carry, e)
            return carry, record(carry[0].variables, loss)

        (state, _), records = lax.scan(recorded, carry, jnp.arange(epochs, dtype=jnp.int32))
        return state, records

    ends = tuple(record_after)
    if not ends or any(a >= b for a, b in zip((0, *ends), (*ends, int(epochs) + 1), strict=True)):
        raise ValueError(f"record_after must be increasing numbers from 1 to {epochs}, got {ends}")

    def segment(carry: Any, bounds: Array) -> tuple[Any, Any]:
        start = (carry, jnp.zeros((), images.dtype))
        carry, loss = lax.fori_loop(bounds[0], bounds[1], lambda e, c: epoch(c[0], e), start)
        return carry, record(carry[0].variables, loss)

    bounds = jnp.asarray(list(zip((0, *ends), ends, strict=False)), jnp.int32)
    carry, records = lax.scan(segment, carry, bounds)
    if ends[-1] < epochs:
        carry = lax.fori_loop(ends[-1], epochs, lambda e, c: epoch(c, e)[0], carry)
    return carry[0], records


class Place(NamedTuple):
    """How far training on the real set is; lives as long as the network.

    Attributes:
      key: typed PRNG key, folded by step.
      step: int32, steps so far.
      order: int32 ``[N]``, the order of the current epoch.
    """

    key: Array
    step: Array
    order: Array

    @classmethod
    def begin(cls, key: Array, table: ClassTable) -> Place:
        """Before the first step; the order is drawn at the first step of each epoch."""
        return cls(key, jnp.int32(0), jnp.arange(table.images.shape[0], dtype=jnp.int32))


def train_on_table(
    model: Model,
    state: TrainingState,
    place: Place,
    table: ClassTable,
    sgd: SGD,
    *,
    steps: int | Array,
    augment: Augmentation | None = None,
) -> tuple[TrainingState, Place]:
    """Trains a network for some steps on real images, gathered from the table one minibatch at a time.

    An epoch is every whole minibatch of a random order of all images. Three steps and then five give
    the bits of eight.

    Args:
      model: the network.
      state: the network and its optimiser.
      place: how far training on this table is.
      table: the real set.
      sgd: hyper-parameters; without milestones.
      steps: how many; may be traced.
      augment: applied to each minibatch.

    Returns:
      The state and the place after the last step.

    Raises:
      ValueError: for a number that SGD cannot have.

    Reference: the training between matching steps of IDC (Kim et al., ICML 2022,
    https://arxiv.org/abs/2205.14959).
    """
    sgd.check()
    n = table.images.shape[0]
    size = min(sgd.batch_size, n)
    per_epoch = n // size

    def step(_: Array, carry: tuple[TrainingState, Place]) -> tuple[TrainingState, Place]:
        state, place = carry
        order_key, step_key = jax.random.split(jax.random.fold_in(place.key, place.step))
        of_epoch = place.step % per_epoch
        order = lax.cond(
            of_epoch == 0,
            lambda: jax.random.permutation(order_key, n).astype(jnp.int32),
            lambda: place.order,
        )
        rows = lax.dynamic_slice_in_dim(order, of_epoch * size, size)
        labels = jnp.searchsorted(table.start, rows, side="right").astype(jnp.int32) - 1
        batch = Batch(take(table, rows), labels)
        rate = sgd.learning_rate
        state, _ = sgd_step(step_key, model, state, batch, sgd, rate=rate, augment=augment)
        return state, Place(place.key, place.step + 1, order)

    return lax.fori_loop(0, steps, step, (state, place))


def after_milestones(
    state: TrainingState, rate: Array, epoch: Array, sgd: SGD
) -> tuple[TrainingState, Array]:
    """The state and the learning rate with which an epoch begins."""
    for milestone in sgd.milestones:
        due = epoch == milestone
        rate = jnp.where(due, rate * sgd.decay, rate)
        if sgd.restart_momentum:
            reset = jax.tree.map(lambda x, due=due: jnp.where(due, 0, x), state.optimizer)
            state = state._replace(optimizer=reset)
    return state, rate


def _value_and_gradient(
    model: Model, variables: Variables, batch: Batch
) -> tuple[Array, Any, Variables]:
    """The mean loss of a minibatch, its gradient, and the variables with statistics moved."""
    if not model.has_batch_stats:
        # Samples do not influence each other: in micro-batches their activations stay in cache.
        network, params = model.network(variables)
        value, gradient = streamed_value_and_gradient(
            lambda params, images: network(params, images).logits,
            params,
            batch,
            losses.cross_entropy,
            default_micro_batch("real"),
        )
        return value, gradient, variables

    def loss(params: Any) -> tuple[Array, Variables]:
        logits, moved = model.train({**variables, "params": params}, batch.images)
        return jnp.mean(losses.cross_entropy(logits, batch.labels)), moved

    (value, moved), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return value, gradient, moved
