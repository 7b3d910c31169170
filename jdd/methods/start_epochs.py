"""At which epoch of an expert a student starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jdd.choice import Choice, register
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StartEpochs(Choice):
    """Draws the epoch of the expert that a student starts from.

    Attributes:
      draw: ``draw(key, iteration) -> int32``; 0 is the expert's initialisation.
      stop: every drawn epoch is below it.
    """

    draw: Callable[[Array, Array], Array]
    stop: int


@register
def uniform_epochs(stop: int, *, first: int = 0) -> StartEpochs:
    r"""Uniform in first, ..., stop - 1 in every iteration (MTT's ``max_start_epoch`` is stop).

    Args:
      stop: the first epoch that is not drawn.
      first: the first that is: later ones are harder (DATM).

    Raises:
      ValueError: if first is below 0, or stop is not above it.

    Reference: Cazenavette et al., CVPR 2022, https://arxiv.org/abs/2203.11932.

    >>> epochs = uniform_epochs(2)
    >>> sorted({int(epochs.draw(jax.random.key(i), jnp.array(0))) for i in range(20)})
    [0, 1]
    """
    _check_window(first, stop)

    def draw(key: Array, iteration: Array) -> Array:
        del iteration
        return jax.random.randint(key, (), first, stop, jnp.int32)

    return StartEpochs(draw, stop)


@register
def widening_epochs(stop: int, *, first_stop: int, iterations: int, first: int = 0) -> StartEpochs:
    r"""Uniform in a window that widens to harder epochs (DATM).

    In iteration i the window is first, ..., u - 1 with

    .. math:: u = u_0 + \lfloor (u_1 - u_0) \min(i / I, 1) \rfloor

    Args:
      stop: u_1, where the window ends at last.
      first_stop: u_0, where it ends in the first iteration.
      iterations: I, those in which it widens.
      first: the first epoch of the window.

    Raises:
      ValueError: if iterations is below 1, or first, first_stop and stop do not increase.

    Reference: Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching",
    ICLR 2024, https://arxiv.org/abs/2310.05773.

    >>> epochs = widening_epochs(20, first_stop=10, iterations=1000)
    >>> [
    ...     max(int(epochs.draw(jax.random.key(s), jnp.array(i))) for s in range(99))
    ...     for i in (0, 500)
    ... ]
    [9, 14]
    """
    at_least("iterations", iterations, 1)
    _check_window(first, first_stop, "first_stop")
    if stop < first_stop:
        raise ValueError(f"stop must be at least first_stop, {first_stop}, got {stop}")

    def draw(key: Array, iteration: Array) -> Array:
        # In whole numbers: a product of floats can fall short of the next one.
        done = jnp.minimum(jnp.asarray(iteration, jnp.int32), iterations)
        end = first_stop + (stop - first_stop) * done // iterations
        return jax.random.randint(key, (), first, end, jnp.int32)

    return StartEpochs(draw, stop)


def _check_window(first: int, stop: int, name: str = "stop") -> None:
    at_least("first", first, 0)
    if at_least(name, stop, 1) <= first:
        raise ValueError(f"{name} must be above first, {first}, got {stop}")
