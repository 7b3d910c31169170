"""How the images of a set that students learn from are labelled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jdd.choice import Choice, register
from jdd.data import Batch
from jdd.methods.experts import Experts, Network, logits_of
from jdd.synthetic import flat


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Labels(Choice):
    """Labels of a synthetic set; soft ones are logits, whose softmax students learn from.

    Attributes:
      init: ``init(experts, batch) -> logits [C, n, K]`` of a class-stacked batch with hard labels, images
        ``[C, n, H, W, ch]``; None where labels stay hard.
      renewed: ``renewed(network, target, batch) -> logits``, before every update; None where they are kept.
      is_learned: whether the optimiser moves them, as the group ``labels``.
    """

    init: Callable[[Experts, Batch], Array] | None = None
    renewed: Callable[[Network, Any, Batch], Array] | None = None
    is_learned: bool = False

    @property
    def is_soft(self) -> bool:
        """Whether labels are probabilities."""
        return self.init is not None


@register
def hard_labels() -> Labels:
    """Every image has the label of its class, for ever (MTT, FTD).

    >>> hard_labels().is_soft
    False
    """
    return Labels()


@register
def learned_labels() -> Labels:
    """Logits that are learned with the images (DATM).

    An image starts at the mean of the logits that the experts give it after the last epoch at hand, of those
    experts that classify it correctly; of all, where none does.

    Reference: Guo et al., ICLR 2024, https://arxiv.org/abs/2310.05773. Deviations: the last epoch at hand is
    the last that the run reads, where the authors take that of the whole training; their code gives an image
    that no expert classifies correctly the logits 0/0.

    >>> learned_labels().is_learned
    True
    """

    def init(experts: Experts, batch: Batch) -> Array:
        every = flat(batch)
        lasts = experts.trajectories.snapshots[:, -1]
        logits = lax.map(lambda snapshot: experts.logits(snapshot, every.images), lasts)
        return mean_of_correct(logits, every.labels).reshape(*batch.labels.shape, -1)

    return Labels(init, is_learned=True)


@register
def target_labels() -> Labels:
    """What the target of the student makes of the images, anew in every iteration (TESLA's soft labels).

    The set keeps those of the last iteration.

    Reference: Cui et al., ICML 2023, https://arxiv.org/abs/2211.10586.

    >>> target_labels().is_soft, target_labels().is_learned
    (True, False)
    """

    def init(experts: Experts, batch: Batch) -> Array:
        every = flat(batch)
        logits = experts.logits(experts.trajectories.snapshots[0, -1], every.images)
        return logits.reshape(*batch.labels.shape, -1)

    def renewed(network: Network, target: Any, batch: Batch) -> Array:
        every = flat(batch)
        logits = logits_of(network, target, every.images)
        return lax.stop_gradient(logits).reshape(*batch.labels.shape, -1)

    return Labels(init, renewed)


def mean_of_correct(logits: Array, labels: Array) -> Array:
    """The mean logits of the experts that classify an image correctly; of all, where none does.

    Args:
      logits: ``[E, n, K]``.
      labels: integers ``[n]``.

    Returns:
      ``[n, K]``.

    >>> logits = jnp.array([[[2.0, 0.0]], [[0.0, 4.0]], [[0.0, 2.0]]])
    >>> print(mean_of_correct(logits, jnp.array([1])))
    [[0. 3.]]
    """
    is_correct = jnp.argmax(logits, -1) == labels[None]
    counts = is_correct | ~is_correct.any(0, keepdims=True)
    weights = counts.astype(logits.dtype)[..., None]
    return jnp.sum(weights * logits, 0) / jnp.sum(weights, 0)
