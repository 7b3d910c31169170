"""What BatchNorm does while a network is matched on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from jax import Array

from jdd.choice import Choice, register
from jdd.data.table import ClassTable, draw_indices, take
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NormPolicy(Choice):
    """How a network with BatchNorm is made ready for matching; without BatchNorm it has no effect.

    While the network trains between updates, BatchNorm is in training mode whatever the policy.

    Attributes:
      prepare: ``prepare(key, model, variables, table) -> variables``, before every update.
      bind: ``bind(model, variables) -> (network, params)``, the network of the objective's context.
      coupled: whether samples of a batch then influence each other; if so no batch is split.
    """

    prepare: Callable[[Array, Model, Variables, ClassTable], Variables]
    bind: Callable[[Model, Variables], tuple[Callable[[Any, Array], Any], Any]]
    coupled: bool


@register
def frozen_statistics(per_class: int = 16) -> NormPolicy:
    """One training-mode pass over real images moves the running statistics; matching holds them fixed.

    Args:
      per_class: real images of each class in that one batch, no more than the smallest class has.

    Returns:
      The policy.

    Raises:
      ValueError: if per_class is below 1.

    Reference: the code of DC and DSA (https://arxiv.org/abs/2006.05929,
    https://arxiv.org/abs/2102.08259). A fresh network's statistics start at mean 0 and variance 1 and move
    by a tenth per pass, so they stay far from those of the images; the papers' numbers were made so.

    >>> frozen_statistics().coupled
    False
    """
    at_least("per_class", per_class, 1)

    def prepare(key: Array, model: Model, variables: Variables, table: ClassTable) -> Variables:
        indices, _ = draw_indices(key, table, min(per_class, table.smallest))
        return model.train(variables, take(table, indices.reshape(-1)))[1]

    return NormPolicy(prepare, lambda model, variables: model.network(variables), coupled=False)


@register
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
    return NormPolicy(
        lambda key, model, variables, table: variables,
        lambda model, variables: model.network(variables, training=True),
        coupled=True,
    )
