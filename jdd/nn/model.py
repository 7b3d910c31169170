"""A network as pure functions, all derived from one forward pass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jdd.network_output import Output
from jdd.streaming import varying_as
from jdd.validation import at_least

Variables = Mapping[str, Any]
"""``{"params": ...}``, with ``"batch_stats"`` beside it for a network with BatchNorm."""

ImageShape = tuple[int, int, int]
"""``(height, width, channels)``."""

Taps = tuple[Array, ...]


class Forward(Protocol):
    """``forward(variables, images, training=False) -> (output, variables)``."""

    def __call__(
        self, variables: Variables, images: Array, /, *, training: bool = False
    ) -> tuple[Output, Variables]: ...


@dataclasses.dataclass(frozen=True)
class Model:
    """A network as pure functions of its variables (a Flax linen dict).

    Equal arguments to a constructor of ``jdd.nn`` return the same object. A ``Model`` is hashable, so
    it can be a static argument of ``jax.jit``, and compiled programs are shared.

    Attributes:
      init: ``init(key) -> variables``.
      forward: ``forward(variables, images, training=False) -> (output, variables)``, the one pass
        through the network; ``output`` is a ``jdd.network_output.Output``. In training, BatchNorm
        uses the statistics of the batch and moves the running ones. Otherwise it uses the running
        statistics, and the variables are returned unchanged.
      name: the name in reports.
      num_classes: the number of logits.
      image_shape: ``(H, W, channels)``.
      has_batch_stats: whether the network has BatchNorm. If so, the samples of a batch influence
        each other in training.

    >>> from jdd.nn import convnet
    >>> model = convnet(10, (8, 8, 1), width=4, depth=1)
    >>> variables = model.init(jax.random.key(0))
    >>> output, _ = model.forward(variables, jnp.zeros((2, 8, 8, 1)))
    >>> output.logits.shape, [tap.shape for tap in output.taps], output.embedding.shape
    ((2, 10), [(2, 12, 12, 4), (2, 6, 6, 4)], (2, 144))
    """

    init: Callable[[Array], Variables]
    forward: Forward
    name: str
    num_classes: int
    image_shape: ImageShape
    has_batch_stats: bool = False

    # The functions below are cached properties, not methods. A bound method is a new object at every
    # access, so jax.jit(model.apply) would compile the same program again each time.

    @functools.cached_property
    def apply(self) -> Callable[[Variables, Array], Array]:
        """``apply(variables, images) -> logits``, with the running statistics of BatchNorm."""

        def apply(variables: Variables, images: Array) -> Array:
            return self.forward(variables, images)[0].logits

        return apply

    @functools.cached_property
    def features(self) -> Callable[[Variables, Array], tuple[Taps, Array]]:
        """``features(variables, images) -> (taps, embedding)``, with the running statistics.

        The taps and the embedding are those of ``jdd.network_output.Output``. In the networks of
        ``jdd.nn`` the embedding is the last tap, flattened.
        """

        def features(variables: Variables, images: Array) -> tuple[Taps, Array]:
            return _features_of(self.forward(variables, images)[0], self.name)

        return features

    @functools.cached_property
    def train(self) -> Callable[[Variables, Array], tuple[Array, Variables]]:
        """``train(variables, images) -> (logits, variables)``, with the statistics of the batch.

        The returned variables hold the moved running statistics. Without BatchNorm they are unchanged.
        """

        def train(variables: Variables, images: Array) -> tuple[Array, Variables]:
            output, moved = self.forward(variables, images, training=True)
            return output.logits, moved

        return train

    def network(
        self, variables: Variables, *, training: bool = False
    ) -> tuple[Callable[[Any, Array], Output], Any]:
        """Splits variables into a function and the parameters that have a gradient.

        Matching treats the running statistics of BatchNorm as constants. They are bound to the
        function as leaves of a pytree (``jax.tree_util.Partial``), so they stay arguments of a jitted
        program.

        Args:
          variables: of one network.
          training: whether BatchNorm uses the statistics of the batch.

        Returns:
          ``(function, params)`` with ``function(params, images) -> Output``.

        >>> from jdd.nn import convnet
        >>> model = convnet(10, (8, 8, 1), width=4, depth=1, norm="batch")
        >>> function, params = model.network(model.init(jax.random.key(0)))
        >>> function(params, jnp.zeros((2, 8, 8, 1))).logits.shape
        (2, 10)
        """
        statistics = {name: value for name, value in variables.items() if name != "params"}
        run = _run_in_training if training else _run_in_evaluation
        return Partial(run, Partial(self.forward), statistics), variables["params"]


class StackedModel(Model):
    """Several networks of one architecture; see ``stacked``."""

    @functools.cached_property
    def train(self) -> Callable[[Variables, Array], tuple[Array, Variables]]:
        """``train(variables, images) -> (logits, variables)`` of all networks on the same images."""

        def train_one(variables: Variables, images: Array) -> tuple[Array, Variables]:
            output, moved = self.forward(variables, images, training=True)
            return output.logits, moved

        return jax.vmap(train_one, (0, None))


def stacked(model: Model, k: int) -> Model:
    """k networks of one architecture, with a leading axis on all variables.

    ``init`` and ``train`` take and return the variables of all k networks. ``forward``, ``apply``,
    ``features`` and the function of ``network`` are those of one network, and
    ``matching.over_networks`` applies them along the leading axis.

    Args:
      model: the architecture.
      k: the number of networks.

    Returns:
      The stacked model; the same object for equal arguments.

    Raises:
      ValueError: if k is below 1.

    >>> from jdd.nn import convnet
    >>> models = stacked(convnet(2, (8, 8, 1), width=4, depth=1), 3)
    >>> models.init(jax.random.key(0))["params"]["conv0"]["kernel"].shape
    (3, 3, 3, 1, 4)
    """
    return _stacked(model, at_least("k", k, 1))


def check_task(num_classes: int, image_shape: ImageShape) -> None:
    """Raises a ``ValueError`` for an impossible number of classes or shape of images.

    >>> check_task(10, (32, 32))
    Traceback (most recent call last):
        ...
    ValueError: image_shape must be (height, width, channels), whole numbers above 0, got (32, 32)
    """
    at_least("num_classes", num_classes, 2)
    is_shape = isinstance(image_shape, tuple | list) and len(image_shape) == 3
    if not is_shape or not all(isinstance(x, Integral) and x > 0 for x in image_shape):
        raise ValueError(
            f"image_shape must be (height, width, channels), whole numbers above 0, got {image_shape}"
        )


def variant_name(name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The name of a network in reports, followed by the options that differ from their defaults.

    >>> variant_name("VGG11", {"norm": "batch"}, {"norm": "instance"})
    'VGG11 (norm batch)'
    """
    changed = [
        f"{option} {value}" for option, value in options.items() if value != defaults[option]
    ]
    return name + (f" ({', '.join(changed)})" if changed else "")


def model_of(
    module: nn.Module,
    name: str,
    num_classes: int,
    image_shape: ImageShape,
    *,
    has_batch_stats: bool = False,
) -> Model:
    """Wraps a linen module as a ``Model``; equal arguments return the same object.

    Args:
      module: called as ``module(images)``, or ``module(images, True)`` in training; returns an
        ``Output``.
      name: the name in reports.
      num_classes: the number of logits.
      image_shape: ``(H, W, channels)``.
      has_batch_stats: whether the module has BatchNorm.

    Returns:
      The model.
    """
    try:
        hash(module)
    except TypeError:  # a convolution that cannot be hashed, so the model cannot be cached
        make = _model_of.__wrapped__
    else:
        make = _model_of
    height, width, channels = image_shape
    return make(module, name, num_classes, (height, width, channels), has_batch_stats)


# A process rarely uses more architectures than this; a model that drops out is compiled again.
@functools.lru_cache(maxsize=128)
def _model_of(
    module: nn.Module,
    name: str,
    num_classes: int,
    image_shape: ImageShape,
    has_batch_stats: bool,
) -> Model:
    height, width, channels = image_shape

    def init(key: Array) -> Any:
        variables = module.init(key, jnp.zeros((1, height, width, channels), jnp.float32))
        # Constants (norm scales, statistics) must also belong to the device that owns the key.
        return varying_as(jax.random.key_data(key), variables)

    def forward(
        variables: Variables, images: Array, *, training: bool = False
    ) -> tuple[Output, Variables]:
        if images.ndim != 4 or images.shape[1:] != image_shape:
            raise ValueError(
                f"{name} takes images [n, {height}, {width}, {channels}], got {images.shape}"
            )
        apply: Callable[..., Any] = module.apply
        if training and has_batch_stats:
            output, moved = apply(variables, images, True, mutable=["batch_stats"])
            return output, {**variables, **moved}
        return apply(variables, images), variables

    return Model(jax.jit(init), forward, name, num_classes, image_shape, has_batch_stats)


@functools.lru_cache(maxsize=128)
def _stacked(model: Model, k: int) -> StackedModel:
    def init(key: Array) -> Variables:
        return jax.vmap(model.init)(jax.random.split(key, k))

    return StackedModel(
        init,
        model.forward,
        f"{k} x {model.name}",
        model.num_classes,
        model.image_shape,
        model.has_batch_stats,
    )


# Functions of a module are equal in every Partial, so a jitted program that takes one is compiled once.


def _run_in_evaluation(
    forward: Forward, statistics: Variables, params: Any, images: Array
) -> Output:
    return forward({"params": params, **statistics}, images)[0]


def _run_in_training(forward: Forward, statistics: Variables, params: Any, images: Array) -> Output:
    return forward({"params": params, **statistics}, images, training=True)[0]


def _features_of(output: Output, name: str) -> tuple[Taps, Array]:
    if output.embedding is None:
        raise ValueError(f"{name} has no features: its forward pass returns logits only")
    return output.taps, output.embedding
