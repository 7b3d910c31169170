"""The contract: a stage maps (value, state, context) to (value, state), purely."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

State = Any
Value = Any


class Pair(NamedTuple):
    """The two things that must agree: batches at first, then gradients, embeddings, ..."""

    synthetic: Any
    real: Any


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["apply", "params", "key", "step", "features"],
    meta_fields=["coupled"],
)
@dataclasses.dataclass(frozen=True)
class Context:
    """What the stages of one evaluation share: the network, randomness and time.

    Attributes:
      apply: ``apply(params, images) -> logits``. Any function will do; arrays that it needs besides
        ``params`` are bound with ``jax.tree_util.Partial`` so that they stay arguments under jit.
      params: the pytree that gradients are taken with respect to.
      key: typed PRNG key.
      step: int32, counts image updates (or whatever a schedule shall see).
      features: ``features(params, images) -> (taps, embedding)``, for the objectives that look
        inside the network; None where it does not offer that.
      coupled: whether the network lets the samples of a batch influence each other (BatchNorm in
        training mode); a batch is then never split.
    """

    apply: Callable[[Any, Array], Array]
    params: Any
    key: Array
    step: Array | int = 0
    features: Callable[[Any, Array], tuple[tuple[Array, ...], Array]] | None = None
    coupled: bool = False

    def __post_init__(self) -> None:
        # A Partial is a pytree, a bare function is not.
        for name in ("apply", "features"):
            function = getattr(self, name)
            if callable(function) and not isinstance(function, Partial):
                object.__setattr__(self, name, Partial(function))

    def fold(self, data: Array | int) -> Context:
        """The same context with another key."""
        return dataclasses.replace(self, key=jax.random.fold_in(self.key, data))


class Stage(NamedTuple):
    """A pure transform of a value.

    Attributes:
      init: ``init(key) -> state``.
      apply: ``apply(value, state, context) -> (value, state)``.
    """

    init: Callable[[Array], State]
    apply: Callable[[Value, State, Context], tuple[Value, State]]


def stateless(function: Callable[[Value, Context], Value]) -> Stage:
    """A stage from a function ``(value, context) -> value``.

    >>> double = stateless(lambda value, context: 2 * value)
    >>> context = Context(lambda params, x: x, {}, jax.random.key(0))
    >>> value_of(double, 3.0, context)
    6.0
    """
    return Stage(lambda key: (), lambda value, state, context: (function(value, context), state))


def value_of(stage: Stage, value: Value, context: Context) -> Value:
    """The value of a stage from its initial state: how to use an objective outside our loops.

    Args:
      stage: for example an objective that ends in a scalar.
      value: what its first stage takes, for example ``Pair(synthetic_batch, real_batch)``.
      context: the network and the key.

    Returns:
      The stage's value; differentiable with respect to the synthetic side. (The derivative with
      respect to ``context.params`` is zero by definition inside ``per_class``.)

    >>> from jdd import matching
    >>> objective = matching.per_class(
    ...     matching.chain(matching.gradients(), matching.layerwise_cosine())
    ... )
    >>> network = lambda params, images: images.reshape(len(images), -1) @ params
    >>> def loss(images):
    ...     batch = matching.Batch(images, jnp.arange(3)[:, None])
    ...     context = Context(network, jnp.ones((4, 3)), jax.random.key(0))
    ...     return value_of(objective, Pair(batch, batch._replace(images=images + 1)), context)
    >>> jax.grad(loss)(jnp.ones((3, 1, 2, 2, 1))).shape
    (3, 1, 2, 2, 1)
    """
    # A number that no combinator folds, so that init shares no key with a stage.
    init_key = jax.random.fold_in(context.key, 2**32 - 1)
    return stage.apply(value, stage.init(init_key), context)[0]


def is_scalar(value: Any) -> bool:
    """Whether a value (or its shape) is one number, that is: an objective is complete."""
    leaves = jax.tree.leaves(value)
    return len(leaves) == 1 and jnp.shape(leaves[0]) == ()
