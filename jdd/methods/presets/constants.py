"""What the papers' constants depend on: IPC, data set and architecture."""

from __future__ import annotations

from typing import NamedTuple

from jdd.augment import STRATEGY, STRATEGY_NO_FLIP
from jdd.validation import at_least

_DC_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
_DCC_LOOPS = _DC_LOOPS | {1: (10, 5)}
_NO_FLIP = ("digits", "mnist", "svhn", "svhn_cropped")


class Loops(NamedTuple):
    """The loop counts of a paper.

    Attributes:
      updates: T, updates of the synthetic set on each network.
      epochs: epochs that the network trains between two updates.
      interpolated: True where the paper has no values for this IPC.
    """

    updates: int
    epochs: int
    interpolated: bool = False


def dc_loops(ipc: int) -> Loops:
    """The loop table of DC and DSA, for any IPC.

    The original code knows 1, 10, 20, 30, 40 and 50 images per class and stops at any other. In between
    we interpolate linearly and round; above 50 we keep (50, 10), which its author suggests together with
    real initialisation.

    Raises:
      ValueError: if ipc is below 1.

    >>> dc_loops(10), dc_loops(15)
    (Loops(updates=10, epochs=50, interpolated=False), Loops(updates=15, epochs=38, interpolated=True))
    """
    return _from_table(_DC_LOOPS, ipc)


def dcc_loops(ipc: int) -> Loops:
    """The loop table of DCC: DC's, but ten updates with five epochs between them at IPC 1.

    Raises:
      ValueError: if ipc is below 1.

    >>> dcc_loops(1)
    Loops(updates=10, epochs=5, interpolated=False)
    """
    return _from_table(_DCC_LOOPS, ipc)


def data_name(data: str) -> str:
    """The name of a data set without its source.

    >>> data_name("tfds:mnist/3.0.1"), data_name("cifar10")
    ('mnist', 'cifar10')
    """
    kind, colon, rest = data.partition(":")
    return rest.split("/")[0].split(":")[0] if colon and kind == "tfds" else data


def default_strategy(data: str) -> str:
    """DSA's strategy for a data set: without flip where a mirrored image means something else.

    >>> default_strategy("mnist")
    'color_crop_cutout_scale_rotate'
    """
    return STRATEGY_NO_FLIP if data_name(data) in _NO_FLIP else STRATEGY


def networks_for(data: str, *, paper: int, digits: int) -> int:
    """K: the paper's; on the digits what takes about two minutes on two CPU cores."""
    return digits if data_name(data) == "digits" else paper


def gradient_learning_rate(architecture: str) -> float:
    """The authors' learning rate of the images for matching gradients: smaller with an MLP.

    >>> gradient_learning_rate("mlp"), gradient_learning_rate("convnet")
    (0.01, 0.1)
    """
    return 0.01 if architecture == "mlp" else 0.1


def _from_table(table: dict[int, tuple[int, int]], ipc: int) -> Loops:
    at_least("ipc", ipc, 1)
    known = sorted(table)
    if ipc in table:
        return Loops(*table[ipc])
    if ipc > known[-1]:
        return Loops(*table[known[-1]], interpolated=True)
    below = max(k for k in known if k < ipc)
    above = min(k for k in known if k > ipc)
    share = (ipc - below) / (above - below)
    updates, epochs = (
        round(a + share * (b - a)) for a, b in zip(table[below], table[above], strict=True)
    )
    return Loops(updates, epochs, interpolated=True)
