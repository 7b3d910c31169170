"""The hyper-parameters of the methods that match trajectories, by data set and images per class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from jdd.methods.presets.constants import data_name
from jdd.validation import at_least

Row = TypeVar("Row")
Table = Mapping[str, Mapping[int, Row]]
"""By data set and IPC; "" is for all other data sets."""


class Constants(NamedTuple):
    """A row of MTT's, TESLA's or FTD's table.

    Attributes:
      steps: N, steps of a student.
      expert_epochs: M, epochs of the expert that it should match.
      max_start_epoch: students start below it.
      batch: images of a student's step; None for all.
      image_rate: learning rate of the pixels.
      step_size_rate: of the step size itself.
      step_size: the first.
      average: decay of the average of the pixels; None for none.
      whitened: whether the authors whiten images by ZCA.
    """

    steps: int
    expert_epochs: int
    max_start_epoch: int
    batch: int | None
    image_rate: float
    step_size_rate: float
    step_size: float
    average: float | None = None
    whitened: bool = False


class SoftConstants(NamedTuple):
    """A row of DATM's table.

    Attributes:
      steps: N, steps of a student.
      epochs: the window of start epochs: its first, where it ends at first, where at last.
      widening: iterations in which it widens; 0 where it has its width from the beginning.
      batch: images of a student's step.
      image_rate: learning rate of the pixels.
      label_rate: of the labels' logits.
      step_size_rate: of the step size itself.
      expert_epochs: M.
      skip_above: the loss above which nothing is updated.
      whitened: whether the authors whiten images by ZCA.
    """

    steps: int
    epochs: tuple[int, int, int]
    widening: int
    batch: int
    image_rate: float
    label_rate: float
    step_size_rate: float
    expert_epochs: int = 2
    skip_above: float = 1.0
    whitened: bool = True


# Ours, for experts that learn at 0.05 in minibatches of 32: an epoch of MTT's experts has six steps on the digits.
_DIGITS = {1: Constants(30, 2, 3, None, 20.0, 1e-7, 0.03)}

MTT: Table[Constants] = {
    "cifar10": {
        1: Constants(50, 2, 2, None, 1e2, 1e-7, 1e-2, whitened=True),
        10: Constants(30, 2, 20, None, 1e2, 1e-5, 1e-3, whitened=True),
        50: Constants(30, 2, 40, None, 1e3, 1e-5, 1e-3),
    },
    "cifar100": {
        1: Constants(20, 3, 20, None, 1e3, 1e-5, 1e-2, whitened=True),
        10: Constants(20, 2, 20, None, 1e3, 1e-5, 1e-2),
        50: Constants(80, 2, 40, 125, 1e3, 1e-5, 1e-2, whitened=True),
    },
    "tiny_imagenet": {
        1: Constants(10, 2, 10, None, 1e4, 1e-4, 1e-2),
        10: Constants(20, 2, 40, 200, 1e4, 1e-4, 1e-2),
        50: Constants(20, 2, 40, 300, 1e4, 1e-4, 1e-2),
    },
    "digits": _DIGITS,
}
"""Of Cazenavette et al., as in the commands that they gave to a benchmark. (The README's learning rate of
CIFAR-10 at IPC 10 is a misprint, which diverges.)"""

TESLA: Table[Constants] = {
    **MTT,
    "cifar10": {**MTT["cifar10"], 1: Constants(50, 2, 5, None, 1e3, 1e-7, 1e-2)},
}
"""Of Cui et al.; where their README has no row, MTT's."""

FTD: Table[Constants] = {
    "cifar10": {
        1: Constants(50, 2, 2, None, 1e2, 1e-7, 1e-2, 0.9999),
        10: Constants(30, 2, 20, None, 1e2, 1e-5, 1e-3, 0.9995),
        50: Constants(30, 2, 40, None, 1e3, 1e-5, 1e-2, 0.999),
    },
    "cifar100": {
        1: Constants(40, 3, 20, None, 1e3, 1e-5, 1e-2, 0.9995),
        10: Constants(20, 2, 40, None, 1e3, 1e-5, 1e-2, 0.9995),
        50: Constants(80, 2, 40, 1000, 1e3, 1e-5, 1e-2, 0.999),
    },
    "tiny_imagenet": {
        1: Constants(30, 2, 10, None, 1e4, 1e-4, 1e-2, 0.999),
        10: Constants(20, 2, 40, 500, 1e4, 1e-4, 1e-2, 0.999),
    },
    "digits": {1: _DIGITS[1]._replace(average=0.99)},
}
"""Of Du et al."""

DATM: Table[SoftConstants] = {
    "cifar10": {
        1: SoftConstants(80, (0, 4, 4), 0, 10, 1e2, 5.0, 1e-7, skip_above=1.1),
        10: SoftConstants(80, (0, 10, 20), 1000, 100, 1e2, 2.0, 1e-5),
        50: SoftConstants(80, (0, 20, 40), 2000, 500, 1e3, 2.0, 1e-5),
        500: SoftConstants(40, (40, 60, 60), 0, 1000, 50.0, 10.0, 1e-5),
        1000: SoftConstants(100, (40, 60, 60), 0, 1000, 50.0, 10.0, 1e-5),
    },
    "cifar100": {
        1: SoftConstants(40, (0, 10, 20), 1000, 1000, 1e3, 10.0, 1e-5, expert_epochs=3),
        10: SoftConstants(80, (0, 30, 50), 2000, 1000, 1e3, 10.0, 1e-5),
        50: SoftConstants(80, (20, 70, 70), 0, 1000, 1e3, 10.0, 1e-5),
        100: SoftConstants(80, (30, 70, 70), 0, 1000, 50.0, 10.0, 1e-5),
    },
    "tiny_imagenet": {
        1: SoftConstants(40, (0, 15, 20), 2000, 1000, 1e4, 10.0, 1e-4),
        10: SoftConstants(40, (10, 50, 50), 0, 500, 1e2, 10.0, 1e-4),
        50: SoftConstants(20, (40, 70, 70), 0, 1000, 1e2, 10.0, 1e-4),
    },
    "digits": {1: SoftConstants(30, (0, 2, 3), 100, 100, 20.0, 1.0, 1e-7, whitened=False)},
}
"""Of Guo et al."""


HABA: Table[Constants] = {
    "cifar10": {
        1: Constants(50, 2, 2, None, 1e2, 1e-7, 1e-2, whitened=True),
        10: Constants(30, 2, 20, None, 1e2, 1e-5, 1e-3, whitened=True),
        50: Constants(30, 2, 20, None, 1e2, 1e-5, 1e-2, whitened=True),
    },
    "cifar100": MTT["cifar100"],
    "tiny_imagenet": MTT["tiny_imagenet"],
    "digits": {1: _DIGITS[1]._replace(image_rate=5.0)},
}
"""Of Liu et al., by bases per class; the rate of pixels is that of bases and of hallucinators. They state that other
data sets "mostly follow" MTT, whose rows these are, with its rate of the pixels."""


def row_of(table: Table[Row], data: str, ipc: int) -> Row:
    """The row of a data set: of the largest IPC that is not above this one, or the smallest.

    Data sets that a table does not have get the row of CIFAR-10.

    Raises:
      ValueError: if ipc is below 1.

    >>> row_of(MTT, "cifar10", 20).steps, row_of(MTT, "svhn", 1).max_start_epoch
    (30, 2)
    """
    rows = table.get(data_name(data), table["cifar10"])
    below = [known for known in rows if known <= at_least("ipc", ipc, 1)]
    return rows[max(below, default=min(rows))]


TABLES: dict[str, Table[Constants] | Table[SoftConstants]] = {
    "mtt": MTT,
    "tesla": TESLA,
    "ftd": FTD,
    "datm": DATM,
    "haba": HABA,
}
"""By method."""


def is_whitened(method: str, data: str, ipc: int) -> bool:
    """Whether the authors of a method whiten the images of a data set; False for methods without a table.

    >>> is_whitened("mtt", "cifar10", 10), is_whitened("mtt", "cifar10", 50)
    (True, False)
    """
    table = TABLES.get(method)
    return table is not None and row_of(table, data, ipc).whitened


def changed(row: Constants, **changes: Any) -> Constants:
    """A row with other values, where they are not None.

    >>> changed(_DIGITS[1], steps=None, batch=5).batch
    5
    """
    return row._replace(**{name: value for name, value in changes.items() if value is not None})


def log_rate(rate: float) -> float:
    """The learning rate of the logarithm of the step size that stands for one of the step size itself.

    They are alike at a step size of 0.01, where most of the papers' runs start. (Where they start at 0.001, a
    rate that is alike there would be a hundred times larger, and diverge once the step size has grown.)

    >>> round(log_rate(1e-7), 6)
    0.001
    """
    return rate * 100**2
