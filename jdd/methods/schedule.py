"""How often images are updated per network, and how long the network trains in between."""

from __future__ import annotations

from numbers import Integral
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jdd.validation import at_least, count

_DC_TABLE = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


class Loops(NamedTuple):
    """The loop counts of a network-matching method.

    Attributes:
      networks: K, how many fresh random networks are visited.
      updates: T, image updates per network.
      net_epochs: epochs that the network trains on the synthetic set between two image updates
        (none after the last, so with ``updates=1`` the network is never trained).
      interpolated: True where the paper gives no values for this IPC.
    """

    networks: int
    updates: int
    net_epochs: int
    interpolated: bool = False

    @property
    def steps_per_network(self) -> int:
        """A step is one image update."""
        return self.updates

    @property
    def total_steps(self) -> int:
        """Image updates of the whole run."""
        return self.networks * self.updates

    @property
    def unit(self) -> str:
        """What one step is, for reports."""
        return "update"

    def describe(self) -> str:
        """One line for reports.

        >>> Loops(1000, 10, 50).describe()
        '1000 networks x 10 image updates, the network trains 50 epochs in between'
        """
        each = f"{count(self.networks, 'network')} x {count(self.updates, 'image update')}"
        if self.updates > 1:
            each += f", the network trains {count(self.net_epochs, 'epoch')} in between"
        if self.interpolated:
            each += " (the paper has no values for this IPC: interpolated)"
        return each


def dc_loops(ipc: int, *, networks: int = 1000) -> Loops:
    """The loop table of DC and DSA, for any IPC.

    The original code knows 1, 10, 20, 30, 40 and 50 images per class and stops at any other. In
    between we interpolate linearly and round; above 50 we keep (50, 10), which its author suggests
    together with real initialisation. ``interpolated`` says so.

    Args:
      ipc: images per class.
      networks: K; the original code visits 1001 for K = 1000, we visit exactly K.

    Raises:
      ValueError: if ipc or networks is below 1.

    >>> dc_loops(10)
    Loops(networks=1000, updates=10, net_epochs=50, interpolated=False)
    >>> dc_loops(15)
    Loops(networks=1000, updates=15, net_epochs=38, interpolated=True)
    """
    return _from_table(_DC_TABLE, ipc, networks)


def dcc_loops(ipc: int, *, networks: int = 1000) -> Loops:
    """The loop table of DCC: DC's, but ten updates of five epochs between them at IPC 1.

    Args:
      ipc: images per class.
      networks: K.

    Raises:
      ValueError: if ipc or networks is below 1.

    >>> dcc_loops(1)
    Loops(networks=1000, updates=10, net_epochs=5, interpolated=False)
    """
    return _from_table(_DC_TABLE | {1: (10, 5)}, ipc, networks)


class WarmUp(NamedTuple):
    """Where DCC still matches class by class: the first updates of each of the first networks.

    Attributes:
      networks: how many networks warm up.
      updates: how many updates of each.

    >>> [bool(WarmUp(2, 1).is_over(step, updates=3)) for step in range(8)]
    [False, True, True, False, True, True, True, True]
    """

    networks: int
    updates: int

    @classmethod
    def of(cls, loops: Loops) -> WarmUp:
        """The paper's (250 networks of 1000, 10 updates), in proportion for shorter loops."""
        return cls(-(-loops.networks // 4), min(10, loops.updates))

    def check(self, loops: Loops) -> None:
        """Raises ``ValueError`` if it is negative or longer than the loops."""
        for name, value, most in (
            ("networks", self.networks, loops.networks),
            ("updates", self.updates, loops.updates),
        ):
            if not isinstance(value, Integral):
                raise ValueError(f"warm-up {name} must be a whole number, got {value!r}")
            if not 0 <= value <= most:
                raise ValueError(
                    f"warm-up {name} must be between 0 and the {most} of the loops, got {value}"
                )

    def is_over(self, step: Array | int, *, updates: int) -> Array:
        """Whether an image update matches collectively; ``updates`` of them for each network."""
        step = jnp.asarray(step)
        return (step // updates >= self.networks) | (step % updates >= self.updates)


def _from_table(table: dict[int, tuple[int, int]], ipc: int, networks: int) -> Loops:
    at_least("ipc", ipc, 1)
    at_least("networks", networks, 1)
    known = sorted(table)
    if ipc in table:
        return Loops(networks, *table[ipc])
    if ipc > known[-1]:
        return Loops(networks, *table[known[-1]], interpolated=True)
    below = max(k for k in known if k < ipc)
    above = min(k for k in known if k > ipc)
    share = (ipc - below) / (above - below)
    updates, epochs = (
        round(a + share * (b - a)) for a, b in zip(table[below], table[above], strict=True)
    )
    return Loops(networks, updates, epochs, interpolated=True)
