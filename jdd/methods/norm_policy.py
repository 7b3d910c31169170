"""What BatchNorm does while a network is matched on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array
from jax.tree_util import Partial

from jdd.data.table import ClassTable, draw_indices, take
from jdd.nn import Model
from jdd.nn.model import Variables

Bound = tuple[Callable[[Any, Array], Array], Callable[[Any, Array], Any] | None, Any]


class NormPolicy(NamedTuple):
    """How a network with BatchNorm is made ready for matching; without BatchNorm it plays no part.

    While the network trains between image updates, BatchNorm is in training mode whatever the policy.

    Attributes:
      prepare: ``prepare(key, model, network, table) -> network``, before every image update.
      bind: ``bind(model, network) -> (apply, features, params)``, what the objective sees.
      coupled: whether samples of a batch then influence each other; if so no batch is split.
    """

    prepare: Callable[[Array, Model, Variables, ClassTable], Variables]
    bind: Callable[[Model, Variables], Bound]
    coupled: bool


def frozen_statistics(per_class: int = 16) -> NormPolicy:
    """One training-mode pass over real images moves the running statistics; matching holds them fixed.

    Args:
      per_class: real images of each class in that one batch, no more than the smallest class has.

    Returns:
      The policy.

    Raises:
      ValueError: if per_class is below 1.

    Reference: the code of DC and DSA (Zhao, Mopuri, Bilen, ICLR 2021; Zhao, Bilen, ICML 2021). A fresh
    network's statistics start at mean 0 and variance 1 and move by a tenth per pass, so they stay far
    from those of the images; that is what the papers' numbers were made with.

    >>> frozen_statistics().coupled
    False
    """
    if per_class < 1:
        raise ValueError(f"per_class must be at least 1, got {per_class}")

    def prepare(key: Array, model: Model, network: Variables, table: ClassTable) -> Variables:
        indices, _ = draw_indices(key, table, min(per_class, table.smallest))
        return model.train(network, take(table, indices.reshape(-1)))[1]

    def bind(model: Model, network: Variables) -> Bound:
        apply, params = model.frozen(network)
        return apply, model.frozen_features(network), params

    return NormPolicy(prepare, bind, coupled=False)


def batch_statistics() -> NormPolicy:
    """Training mode: every batch that is matched is normalised by its own statistics.

    The synthetic images of a class then influence each other's gradients, and so do the real ones.
    A batch is never split into micro-batches, and no more real images are drawn of a class than the
    smallest class has.

    Returns:
      The policy.

    >>> batch_statistics().coupled
    True
    """

    def prepare(key: Array, model: Model, network: Variables, table: ClassTable) -> Variables:
        del key, model, table
        return network

    def bind(model: Model, network: Variables) -> Bound:
        constants = {name: value for name, value in network.items() if name != "params"}
        apply = Partial(_apply_in_training, Partial(model.train), constants)
        features = None
        if model.train_features is not None:
            features = Partial(_features_in_training, Partial(model.train_features), constants)
        return apply, features, network["params"]

    return NormPolicy(prepare, bind, coupled=True)


NORM_POLICIES: dict[str, Callable[[], NormPolicy]] = {
    "frozen": frozen_statistics,
    "batch": batch_statistics,
}


def _apply_in_training(train: Callable, constants: Variables, params: Any, images: Array) -> Array:
    return train({"params": params, **constants}, images)[0]


def _features_in_training(
    features: Callable, constants: Variables, params: Any, images: Array
) -> Any:
    return features({"params": params, **constants}, images)
