"""Samplers: which real images an update is matched with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from jdd.choice import Choice, register
from jdd.data.batch import Draw
from jdd.data.table import ClassTable, draw_indices
from jdd.data.trajectories import Trajectories
from jdd.network_output import Output
from jdd.validation import at_least


class View(NamedTuple):
    """What a sampler sees of a run.

    Attributes:
      network: ``network(params, images) -> Output`` of the current network, of several the first.
      params: its parameters.
      update_of_run: int32, updates of the synthetic set before this one.
      update_of_network: int32, updates on the current network before this one.
      coupled: whether samples of a batch influence each other (BatchNorm in training mode). Places
        of weight 0 would then count in the statistics, so a draw must have none.
    """

    network: Callable[[Any, Array], Output]
    params: Any
    update_of_run: Array
    update_of_network: Array
    coupled: bool = False


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sampler(Choice):
    """Draws real images of every class, with a state of its own.

    Attributes:
      init: ``init(key, table) -> state``, any pytree of arrays; saved and resumed with the run.
      draw: ``draw(key, state, table, view) -> (Draw, state)``.
    """

    init: Callable[[Array, ClassTable], Any]
    draw: Callable[[Array, Any, ClassTable, View], tuple[Draw, Any]]


@register
def uniform(n: int = 256) -> Sampler:
    """n images of every class, uniformly without replacement; all of a class that has fewer.

    Args:
      n: images per class and update.

    Raises:
      ValueError: if n is below 1.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021, https://arxiv.org/abs/2006.05929.

    >>> uniform(), uniform(64) == uniform(n=64)
    (uniform(), True)
    """
    at_least("n", n, 1)

    def draw(key: Array, state: Any, table: ClassTable, view: View) -> tuple[Draw, Any]:
        largest = table.smallest if view.coupled else table.largest
        return Draw(table, *draw_indices(key, table, min(n, largest))), state

    return Sampler(lambda key, table: (), draw)


class Data(NamedTuple):
    """What a step of a method receives.

    Attributes:
      table: the real training set on the device.
      experts: recorded training trajectories, for methods that match them; else None.
    """

    table: ClassTable
    experts: Trajectories | None = None


def check_draw(draw: Draw, table: ClassTable) -> None:
    """Raises a ``ValueError`` where a sampler does not return a draw for every class.

    >>> check_draw(None, None)
    Traceback (most recent call last):
        ...
    ValueError: a sampler must return (Draw, state), got NoneType in place of the Draw
    """
    if not isinstance(draw, Draw):
        kind = type(draw).__name__
        raise ValueError(f"a sampler must return (Draw, state), got {kind} in place of the Draw")
    if draw.indices.shape[0] != table.num_classes or jax.numpy.ndim(draw.indices) != 2:
        raise ValueError(
            f"a Draw must have indices [{table.num_classes}, n], got {draw.indices.shape}"
        )
