"""A network as a handful of pure functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jdd.streaming import varying_as
from jdd.validation import at_least

Variables = Mapping[str, Any]
"""``{"params": ...}``, with ``"batch_stats"`` beside it where the network has BatchNorm."""

ImageShape = tuple[int, int, int]
"""``(height, width, channels)``."""


class Model(NamedTuple):
    """A network as pure functions of its variables (a Flax linen dict).

    A network of ``jdd.nn`` that is made again with equal arguments is the same object.

    Attributes:
      init: ``init(key) -> variables``.
      apply: ``apply(variables, images) -> logits``; BatchNorm uses its running statistics.
      features: ``features(variables, images) -> (taps, embedding)``. The taps are the outputs of the
        layers, in order: maps ``[n, h, w, c]`` after each block's activation (before its pooling),
        then the map that is flattened; behind it vectors ``[n, d]`` after each hidden dense layer.
        The embedding ``[n, d]`` is what enters the classifier: the last tap, flattened.
      train: ``train(variables, images) -> (logits, variables)``; BatchNorm uses the statistics of
        the batch and moves the running ones. Without BatchNorm the variables come back unchanged.
      name: what to call it in reports.
      num_classes: the number of logits.
      image_shape: ``(H, W, channels)``.
      has_batch_stats: whether samples of a batch influence each other in ``train``.
      train_features: as ``features``, with BatchNorm as in ``train``; None where it is not offered.
    """

    init: Callable[[Array], Variables]
    apply: Callable[[Variables, Array], Array]
    features: Callable[[Variables, Array], tuple[tuple[Array, ...], Array]]
    train: Callable[[Variables, Array], tuple[Array, Variables]]
    name: str
    num_classes: int
    image_shape: ImageShape
    has_batch_stats: bool = False
    train_features: Callable[[Variables, Array], tuple[tuple[Array, ...], Array]] | None = None

    def frozen(self, variables: Variables) -> tuple[Callable[[Any, Array], Array], Any]:
        """Splits variables into a function and the parameters that have a gradient.

        The running statistics of BatchNorm are bound into the function (a pytree, so they stay
        arguments of a jitted program), because they are constants while gradients are matched.

        Returns:
          ``(apply, params)`` with ``apply(params, images) -> logits``.
        """
        return self._bound(self.apply, variables), variables["params"]

    def frozen_features(self, variables: Variables) -> Callable[[Any, Array], Any]:
        """``features(params, images) -> (taps, embedding)``, bound as `frozen` binds ``apply``."""
        return self._bound(self.features, variables)

    def _bound(self, function: Callable, variables: Variables) -> Callable[[Any, Array], Any]:
        constants = {name: value for name, value in variables.items() if name != "params"}
        return Partial(_apply_frozen, Partial(function), constants)


def _apply_frozen(apply: Callable, constants: Variables, params: Any, images: Array) -> Array:
    return apply({"params": params, **constants}, images)


def check_task(num_classes: int, image_shape: ImageShape) -> None:
    """Refuses a number of classes or a shape that no network can have."""
    at_least("num_classes", num_classes, 2)
    if len(image_shape) != 3 or not all(isinstance(x, Integral) and x > 0 for x in image_shape):
        raise ValueError(f"image_shape must be (height, width, channels), got {image_shape}")


def variant_name(name: str, chosen: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """The name of a network in reports, with the options that are not the usual ones.

    >>> variant_name("VGG11", {"norm": "batch"}, {"norm": "instance"})
    'VGG11 (norm batch)'
    """
    unusual = [f"{option} {value}" for option, value in chosen.items() if value != usual[option]]
    return name + (f" ({', '.join(unusual)})" if unusual else "")


def model_of(
    module: nn.Module,
    name: str,
    num_classes: int,
    image_shape: ImageShape,
    *,
    has_batch_stats: bool = False,
) -> Model:
    """Wraps a linen module that returns ``(logits, taps, embedding)`` as a ``Model``.

    The module is called with images, and with True while it trains. Equal arguments give the same
    object, so that what was compiled for a network serves wherever it is made again.
    """
    try:
        hash(module)
    except TypeError:  # its convolution has none: nothing to find it by
        make = _model_of.__wrapped__
    else:
        make = _model_of
    height, width, channels = image_shape
    return make(module, name, num_classes, (height, width, channels), has_batch_stats)


# More architectures than a process compares; those beyond are only compiled again.
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
        # Also those that begin as constants belong to the network of this key, and so to its device.
        return varying_as(jax.random.key_data(key), variables)

    def apply(variables: Any, images: Array) -> Array:
        return _forward(variables, images)[0]

    def features(variables: Any, images: Array) -> tuple[tuple[Array, ...], Array]:
        return _forward(variables, images)[1:]

    def train(variables: Any, images: Array) -> tuple[Array, Any]:
        if not has_batch_stats:
            return apply(variables, images), variables
        (logits, _, _), moved = _forward_in_training(variables, images)
        return logits, {**variables, **moved}

    def train_features(variables: Any, images: Array) -> tuple[tuple[Array, ...], Array]:
        if not has_batch_stats:
            return features(variables, images)
        return _forward_in_training(variables, images)[0][1:]

    def _forward_in_training(variables: Any, images: Array) -> Any:
        _check_images(images)
        return module.apply(variables, images, True, mutable=["batch_stats"])

    def _forward(variables: Any, images: Array) -> Any:
        _check_images(images)
        return module.apply(variables, images)

    def _check_images(images: Array) -> None:
        if images.ndim != 4 or images.shape[1:] != image_shape:
            raise ValueError(
                f"{name} takes images [n, {height}, {width}, {channels}], got {images.shape}"
            )

    jitted_init: Callable[[Array], Any] = jax.jit(init)
    return Model(
        jitted_init,
        apply,
        features,
        train,
        name,
        num_classes,
        image_shape,
        has_batch_stats,
        train_features,
    )


def stacked(model: Model, k: int) -> Model:
    """k networks in one: variables have a leading axis, which ``matching.over_networks`` runs over.

    ``init`` and ``train`` work on all of them; ``apply`` and ``features`` stay those of one network.

    Args:
      model: the architecture of all.
      k: how many.

    Raises:
      ValueError: if k is below 1.

    >>> from jdd.nn import convnet
    >>> models = stacked(convnet(2, (8, 8, 1), width=4, depth=1), 3)
    >>> models.init(jax.random.key(0))["params"]["conv0"]["kernel"].shape
    (3, 3, 3, 1, 4)
    """
    at_least("the number of networks", k, 1)

    def init(key: Array) -> Variables:
        return jax.vmap(model.init)(jax.random.split(key, k))

    def train(variables: Variables, images: Array) -> tuple[Array, Variables]:
        return jax.vmap(model.train, (0, None))(variables, images)

    return model._replace(init=init, train=train, name=f"{k} x {model.name}")
