"""Experts as networks: their snapshots as parameters, what they make of images, and images they know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jdd.choice import register
from jdd.data import ClassTable, Data, Trajectories, draw_indices, take
from jdd.matching import Segment
from jdd.nn import Model
from jdd.synthetic import Initial
from jdd.synthetic.initial import check_enough

Network = Callable[[Any, Array], Array]
"""``network(params, images) -> logits``."""

_AT_A_TIME = 64


class Experts(NamedTuple):
    """The experts of a run as networks.

    Attributes:
      trajectories: their snapshots.
      network: ``network(params, images) -> logits``.
      unravel: ``unravel(snapshot [P]) -> params``.
    """

    trajectories: Trajectories
    network: Network
    unravel: Callable[[Array], Any]

    @classmethod
    def of(cls, model: Model, data: Data) -> Experts:
        """The experts that a run received.

        Raises:
          ValueError: if it received none, they are those of another network, or the network has BatchNorm.
        """
        trajectories = data.experts
        if not isinstance(trajectories, Trajectories):
            raise ValueError(
                "experts: matching trajectories needs recorded ones, Data(table, experts), got "
                f"{type(trajectories).__name__}: `jdd experts` records them"
            )
        check_network(model)
        snapshots = trajectories.snapshots
        dtype = jnp.result_type(snapshots.dtype, jnp.float32)
        variables = jax.eval_shape(model.init, jax.random.key(0))
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, dtype), variables["params"])
        flat, unravel = ravel_pytree(zeros)
        if snapshots.ndim != 3 or snapshots.shape[-1] != flat.size:
            raise ValueError(
                f"experts: {model.name} has {flat.size} parameters, the experts have snapshots "
                f"{list(snapshots.shape)}, [experts, epochs, parameters]"
            )
        function, _ = model.network({"params": zeros})
        return cls(
            trajectories,
            lambda params, images: function(params, images).logits,
            lambda snapshot: unravel(snapshot.astype(dtype)),
        )

    def segment(self, expert: Array, epoch: Array, epochs: int) -> Segment:
        """So many epochs of an expert, from one on."""
        snapshots = self.trajectories.snapshots
        start, target = snapshots[expert, epoch], snapshots[expert, epoch + epochs]
        return Segment(self.unravel(start), self.unravel(target))

    def logits(self, snapshot: Array, images: Array) -> Array:
        """What one snapshot makes of images ``[n, H, W, ch]``: logits ``[n, K]``."""
        return logits_of(self.network, self.unravel(snapshot), images)


def check_network(model: Model) -> None:
    """Raises a ``ValueError`` for a network that trajectories cannot be those of."""
    if model.has_batch_stats:
        raise ValueError(
            f"norm: trajectories hold parameters alone, and {model.name} has BatchNorm, whose statistics are "
            "none: choose norm instance, group, layer or none"
        )


def logits_of(network: Network, params: Any, images: Array) -> Array:
    """The logits ``[n, K]`` of images ``[n, H, W, ch]``, some images at a time."""
    return lax.map(lambda x: network(params, x[None])[0], images, batch_size=_AT_A_TIME)


@register
def from_correct() -> Initial:
    """Starts at random real images that an expert classifies correctly (DATM).

    The expert is drawn, and used as it was after the last epoch at hand. Where it classifies too few of the
    images that are drawn of a class (four times as many as needed, and 16), others fill the places.

    Reference: the code of Guo et al., ICLR 2024, https://arxiv.org/abs/2310.05773, which looks at all images.

    >>> from_correct()
    from_correct()
    """

    def images(key: Array, table: ClassTable, model: Model, n: int) -> Array:
        raise ValueError(
            "from_correct needs experts, which only methods that match trajectories have"
        )

    def of_experts(key: Array, table: ClassTable, experts: Experts, n: int) -> Array:
        check_enough(table, n)
        expert_key, draw_key = jax.random.split(key)
        snapshots = experts.trajectories.snapshots
        expert = jax.random.randint(expert_key, (), 0, snapshots.shape[0], jnp.int32)
        indices, weights = draw_indices(draw_key, table, min(table.largest, 4 * n + 16))
        candidates = take(table, indices)
        logits = experts.logits(
            snapshots[expert, -1], candidates.reshape(-1, *candidates.shape[2:])
        )
        classes = jnp.argmax(logits, -1).reshape(indices.shape)
        is_correct = classes == jnp.arange(table.num_classes)[:, None]
        # Correct ones first, places beyond a small class last; each in the order in which they were drawn.
        rank = jnp.where(weights > 0, jnp.where(is_correct, 0, 1), 2)
        chosen = jnp.argsort(rank, axis=1, stable=True)[:, :n]
        return jax.vmap(lambda images, rows: images[rows])(candidates, chosen)

    return Initial(images, of_experts)
