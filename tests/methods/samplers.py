"""A sampler from outside that has a state."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from jdd.choice import register
from jdd.data import ClassTable, Draw, Sampler, View


@register
def in_order(n: int = 4) -> Sampler:
    """Images of every class in their order, round after round; the state is the place in each class.

    Args:
      n: images per class and update.
    """

    def init(key: Array, table: ClassTable) -> dict[str, Array]:
        del key
        return {
            "place": jnp.zeros(table.num_classes, jnp.int32),
            "updates": jnp.full((), -1, jnp.int32),
        }

    def draw(key: Array, state: Any, table: ClassTable, view: View) -> tuple[Draw, Any]:
        del key
        places = (state["place"][:, None] + jnp.arange(n)) % table.count[:, None]
        after = {
            "place": (state["place"] + n) % table.count,
            "updates": jnp.asarray(view.update_of_run, jnp.int32),
        }
        return Draw(table, table.start[:, None] + places, jnp.ones(places.shape)), after

    return Sampler(init, draw)
