"""Many steps per dispatch."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jdd.data import Data
from jdd.methods.method import Method, State
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True)
class Advance:
    """A compiled run of a method: ``run(state, data, n) -> (state, losses [most])``."""

    program: Any
    most: int

    def __call__(self, state: State, data: Data, n: Array | int) -> tuple[State, Array]:
        """n steps in one dispatch; the first n losses count. The state is donated."""
        if isinstance(n, int | np.integer) and not 0 <= n <= self.most:
            raise ValueError(f"this program takes 0 to {self.most} steps at a time, got {n}")
        return self.program(state, data, jnp.int32(n))  # one type, so that one program is compiled

    def lower(self, state: State, data: Data, n: Array | int) -> Any:
        """The lowered program; ``compile().memory_analysis()`` gives the memory it needs."""
        return self.program.lower(state, data, jnp.int32(n))


def advance(method: Method, most: int) -> Advance:
    """A compiled ``run(state, data, n)``: n steps of the method in one dispatch.

    The state is donated: use the one that comes back. n is traced, so that any n up to ``most``
    runs the same program and a resumed run gives the bits of an uninterrupted one.

    Args:
      method: the method.
      most: the largest n.

    Returns:
      ``run(state, data, n) -> (state, losses [most])``, of which the first n losses count.

    Raises:
      ValueError: if most is below 1, or (when called) n is above it.

    >>> import numpy as np
    >>> from jdd import data, methods, nn
    >>> split = data.Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1], np.int32))
    >>> real = data.Data(data.class_table(split, 2, (0.5,), (0.5,)))
    >>> method = methods.build(methods.dc(1), nn.convnet(2, (8, 8, 1), width=4, depth=1))
    >>> state, losses = advance(method, 2)(method.init(jax.random.key(0), real), real, 2)
    >>> int(state.step), losses.shape
    (2, (2,))
    """
    at_least("the number of steps per dispatch", most, 1)

    def run(state: State, data: Data, n: Array | int) -> tuple[State, Array]:
        def body(i: Array, carry: tuple[State, Array]) -> tuple[State, Array]:
            state, losses = carry
            state, metrics = method.step(state, data)
            return state, losses.at[i].set(metrics.loss)

        return lax.fori_loop(0, n, body, (state, jnp.zeros(most, jnp.float32)))

    return Advance(jax.jit(run, donate_argnums=0), most)
