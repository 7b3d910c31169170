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

from jdd.augment import Augmentation, no_augmentation
from jdd.choice import Choice
from jdd.data.batch import Batch
from jdd.network_output import Output
from jdd.streaming import Over

State = Any
Value = Any

# Folded into a key for what no step or stage folds: indices of stages, classes and steps are smaller.
RESERVED_FOLD = 2**32 - 1


class Pair(NamedTuple):
    """The two sides that must agree: batches at first, then gradients, embeddings, ..."""

    synthetic: Any
    real: Any


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["decode"], meta_fields=["variants"]
)
@dataclasses.dataclass(frozen=True)
class Views:
    """The whole synthetic set in each of its variants, for stages that compare variants.

    Attributes:
      decode: ``decode(variant) -> Batch``, class-stacked and normalised, with derivatives; the variant is an
        index, which may be traced. A ``jax.tree_util.Partial``.
      variants: how many there are.
    """

    decode: Callable[[Array | int], Batch]
    variants: int


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["network", "params", "key", "step", "views"],
    meta_fields=["coupled", "augment", "over_classes"],
)
@dataclasses.dataclass(frozen=True)
class Context:
    """What the stages of one evaluation share: the network, randomness and time.

    Attributes:
      network: ``network(params, images) -> Output``, or the logits alone. Any function will do; arrays
        that it needs besides ``params`` are bound with ``jax.tree_util.Partial`` so that they stay
        arguments under jit.
      params: the pytree that gradients are taken with respect to.
      key: typed PRNG key.
      step: int32, the step that schedules receive.
      coupled: whether the network lets the samples of a batch influence each other (BatchNorm in
        training mode); a batch is then never split.
      augment: the augmentation that ``siamese()`` applies to both sides.
      over_classes: how classes are run where a stage does not set it (``jdd.streaming``).
      views: the whole synthetic set in all its variants; None where it has one alone, or inside of a class.
    """

    network: Callable[[Any, Array], Output | Array]
    params: Any
    key: Array
    step: Array | int = 0
    coupled: bool = False
    augment: Augmentation = no_augmentation()
    over_classes: Over = None
    views: Views | None = None

    def __post_init__(self) -> None:
        # A Partial is a pytree, a bare function is not.
        if callable(self.network) and not isinstance(self.network, Partial):
            object.__setattr__(self, "network", Partial(self.network))

    def output(self, params: Any, images: Array) -> Output:
        """One pass of the network; where it gives logits alone, without taps and embedding."""
        result = self.network(params, images)
        return result if isinstance(result, Output) else Output(result)

    def apply(self, params: Any, images: Array) -> Array:
        """The logits ``[n, K]``."""
        return self.output(params, images).logits

    def features(self, params: Any, images: Array) -> tuple[tuple[Array, ...], Array]:
        """The taps and the embedding.

        Raises:
          ValueError: if the network gives logits alone.
        """
        output = self.output(params, images)
        return output.taps, self._embedding_of(output)

    def logits_and_embedding(self, params: Any, images: Array) -> tuple[Array, Array]:
        """The logits ``[n, K]`` and the embedding ``[n, d]``, from one pass.

        Raises:
          ValueError: if the network gives logits alone.
        """
        output = self.output(params, images)
        return output.logits, self._embedding_of(output)

    @staticmethod
    def _embedding_of(output: Output) -> Array:
        if output.embedding is None:
            raise ValueError(
                "this objective needs the embedding of the network, and Context.network returns logits "
                "alone: return jdd.network_output.Output(logits, taps, embedding)"
            )
        return output.embedding

    def fold(self, data: Array | int) -> Context:
        """The same context with another key."""
        return dataclasses.replace(self, key=jax.random.fold_in(self.key, data))

    def without_views(self) -> Context:
        """The same context without what derivatives are taken with respect to."""
        return dataclasses.replace(self, views=None)


class Task(NamedTuple):
    """What a stage must know before a run if it has a network of its own.

    Attributes:
      model: the network that is matched on, a ``jdd.nn.Model`` for the classes and images of the run.
      synthetic: in words, for messages.
      variants: of each synthetic image.
    """

    model: Any
    synthetic: str
    variants: int


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Stage(Choice):
    """A pure transform of a value.

    Attributes:
      init: ``init(key) -> state``.
      apply: ``apply(value, state, context) -> (value, state)``.
      bind: ``bind(task) -> stage``, for a stage that cannot begin before it knows the task (`bound`); None for all
        others.
    """

    init: Callable[[Array], State]
    apply: Callable[[Value, State, Context], tuple[Value, State]]
    bind: Callable[[Task], Stage] | None = None


def stateless(function: Callable[[Value, Context], Value]) -> Stage:
    """A stage from a function ``(value, context) -> value``.

    >>> double = stateless(lambda value, context: 2 * value)
    >>> context = Context(lambda params, x: x, {}, jax.random.key(0))
    >>> value_of(double, 3.0, context)
    6.0
    """
    return Stage(lambda key: (), lambda value, state, context: (function(value, context), state))


def bound(stage: Stage, task: Task) -> Stage:
    """The stage for a task: itself, unless it, or a stage in it, has a network of its own.

    Raises:
      ValueError: if the task does not suit the stage.

    >>> plain = stateless(lambda value, context: value)
    >>> bound(plain, Task(None, "pixels()", 1)) is plain
    True
    """
    return stage if stage.bind is None else stage.bind(task)


def binding(make: Callable[..., Stage], *stages: Stage) -> Callable[[Task], Stage] | None:
    """What a combinator's `Stage.bind` is: the combinator on bound stages; None where no stage needs a task.

    Args:
      make: the combinator, from stages alone.
      *stages: that it combines.
    """
    if all(stage.bind is None for stage in stages):
        return None
    return lambda task: make(*(bound(stage, task) for stage in stages))


def is_stateful(stage: Stage) -> bool:
    """Whether a stage has a state (or has one for a task)."""
    # The key is made inside: composing an objective starts no backend.
    return stage.bind is not None or bool(
        jax.tree.leaves(jax.eval_shape(lambda: stage.init(jax.random.key(0))))
    )


def value_of(stage: Stage, value: Value, context: Context) -> Value:
    """The value of a stage from its initial state: an objective outside of our loops.

    Args:
      stage: for example an objective that ends in a scalar.
      value: what its first stage takes, for example ``Pair(synthetic_batch, real_batch)``.
      context: the network and the key.

    Returns:
      The stage's value; differentiable with respect to the synthetic side. (Inside ``per_class``
      a derivative with respect to ``context.params`` or the real side raises a ``ValueError``.)

    >>> from jdd import matching
    >>> objective = matching.per_class(
    ...     matching.chain(matching.gradients(), matching.layerwise_cosine())
    ... )
    >>> network = lambda params, images: images.reshape(len(images), -1) @ params
    >>> def loss(images):
    ...     batch = matching.Batch(images, jnp.arange(3)[:, None])
    ...     context = Context(network, jnp.ones((4, 3)), jax.random.key(0))
    ...     real = jax.lax.stop_gradient(batch._replace(images=images + 1))
    ...     return value_of(objective, Pair(batch, real), context)
    >>> jax.grad(loss)(jnp.ones((3, 1, 2, 2, 1))).shape
    (3, 1, 2, 2, 1)
    """
    init_key = jax.random.fold_in(context.key, RESERVED_FOLD)
    return stage.apply(value, stage.init(init_key), context)[0]


def check_stages(name: str, *stages: Any) -> None:
    """Raises a ``ValueError`` where a combinator receives something else in place of a stage.

    >>> check_stages("chain", 3)
    Traceback (most recent call last):
        ...
    ValueError: chain needs stages, got 3
    """
    for stage in stages:
        if not isinstance(stage, Stage):
            raise ValueError(f"{name} needs stages, got {stage!r}")


def check_function(name: str, function: Any) -> None:
    """Raises a ``ValueError`` where a stage receives something else in place of a function.

    >>> check_function("distance", 3)
    Traceback (most recent call last):
        ...
    ValueError: distance needs a function, got 3
    """
    if not callable(function):
        raise ValueError(f"{name} needs a function, got {function!r}")


def is_scalar(value: Any) -> bool:
    """Whether a value (or its shape) is one number, that is: an objective is complete."""
    leaves = jax.tree.leaves(value)
    return len(leaves) == 1 and jnp.shape(leaves[0]) == ()
