"""Expert trajectories on the device: the parameters of recorded networks, by expert and epoch."""

from __future__ import annotations

from typing import NamedTuple

import jax


class Trajectories(NamedTuple):
    """Snapshots of E networks that were trained on the real data.

    Row ``[e, t]`` is the network of expert e after t epochs, flattened in the order of
    ``jax.flatten_util.ravel_pytree(variables["params"])``; row ``[e, 0]`` is its initialisation.

    Attributes:
      snapshots: floats ``[E, T, P]``: E experts, T snapshots, P numbers of a network.
    """

    snapshots: jax.Array

    @property
    def num_experts(self) -> int:
        """E."""
        return self.snapshots.shape[0]

    @property
    def num_epochs(self) -> int:
        """T - 1: the epochs after the initialisation that are at hand."""
        return self.snapshots.shape[1] - 1
