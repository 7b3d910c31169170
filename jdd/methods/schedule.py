"""How often images are updated per network, and how long the network trains in between."""

from __future__ import annotations

from typing import NamedTuple

from jdd.numbers import at_least

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
    def total_updates(self) -> int:
        """Image updates of the whole run."""
        return self.networks * self.updates


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
    at_least("ipc", ipc, 1)
    at_least("networks", networks, 1)
    known = sorted(_DC_TABLE)
    if ipc in _DC_TABLE:
        return Loops(networks, *_DC_TABLE[ipc])
    if ipc > known[-1]:
        return Loops(networks, *_DC_TABLE[known[-1]], interpolated=True)
    below = max(k for k in known if k < ipc)
    above = min(k for k in known if k > ipc)
    share = (ipc - below) / (above - below)
    updates, epochs = (
        round(a + share * (b - a)) for a, b in zip(_DC_TABLE[below], _DC_TABLE[above], strict=True)
    )
    return Loops(networks, updates, epochs, interpolated=True)
