"""A network as a handful of pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax import Array
from jax.tree_util import Partial

Variables = Mapping[str, Any]
"""``{"params": ...}``, with ``"batch_stats"`` beside it where the network has BatchNorm."""


class Model(NamedTuple):
    """A network as pure functions of its variables (a Flax linen dict).

    Attributes:
      init: ``init(key) -> variables``.
      apply: ``apply(variables, images) -> logits``; BatchNorm uses its running statistics.
      features: ``features(variables, images) -> (taps, embedding)``; the embedding ``[n, d]`` is
        what enters the classifier.
      train: ``train(variables, images) -> (logits, variables)``; BatchNorm uses the statistics of
        the batch and moves the running ones. Without BatchNorm the variables come back unchanged.
      name: what to call it in reports.
      num_classes: the number of logits.
      image_shape: ``(H, W, channels)``.
      has_batch_stats: whether samples of a batch influence each other in ``train``.
    """

    init: Callable[[Array], Variables]
    apply: Callable[[Variables, Array], Array]
    features: Callable[[Variables, Array], tuple[tuple[Array, ...], Array]]
    train: Callable[[Variables, Array], tuple[Array, Variables]]
    name: str
    num_classes: int
    image_shape: tuple[int, int, int]
    has_batch_stats: bool = False

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
    if k < 1:
        raise ValueError(f"the number of networks must be at least 1, got {k}")

    def init(key: Array) -> Variables:
        return jax.vmap(model.init)(jax.random.split(key, k))

    def train(variables: Variables, images: Array) -> tuple[Array, Variables]:
        return jax.vmap(model.train, (0, None))(variables, images)

    return model._replace(init=init, train=train, name=f"{k} x {model.name}")
