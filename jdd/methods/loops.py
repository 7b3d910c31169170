"""Many steps per dispatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.data.table import ClassTable
from jdd.methods.network_matching import Method


def advance(method: Method, most: int) -> Callable[[Any, ClassTable, int], tuple[Any, Array]]:
    """A compiled ``run(state, table, n)``: n steps of the method in one dispatch.

    The state is donated: use the one that comes back. n is traced, so that any n up to ``most``
    runs the same program and a resumed run gives the bits of an uninterrupted one.

    Args:
      method: the method.
      most: the largest n.

    Returns:
      ``run(state, table, n) -> (state, losses [most])``, of which the first n losses count.

    Raises:
      ValueError: if most is below 1.
    """
    if most < 1:
        raise ValueError(f"the number of steps per dispatch must be at least 1, got {most}")

    def run(state: Any, table: ClassTable, n: Array | int) -> tuple[Any, Array]:
        def body(i: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
            state, losses = carry
            state, metrics = method.step(state, table)
            return state, losses.at[i].set(metrics.loss)

        return lax.fori_loop(0, n, body, (state, jnp.zeros(most)))

    return jax.jit(run, donate_argnums=0)
