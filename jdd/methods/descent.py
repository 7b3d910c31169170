"""One update of learned parameters: what every loop over a synthetic set repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import Array


def descend(
    optimizer: optax.GradientTransformation,
    loss: Callable[[Any], tuple[Array, Any]],
    params: Any,
    state: Any,
    *,
    decay: Any = None,
    project: Callable[[Any], Any] | None = None,
) -> tuple[Any, Any, Array, Any]:
    """Value and gradient, one step of the optimiser, its decay, the projection: in this order.

    Args:
      optimizer: any optax transform.
      loss: ``loss(params) -> (scalar, aux)``.
      params: what moves.
      state: of the optimiser.
      decay: factor on the optimiser's step: a scalar, or a tree with the first levels of ``params``
        (one factor per group); None for 1.
      project: brings moved parameters back to what is allowed; None for no limit.

    Returns:
      ``(params, state, value, aux)``; value and aux are those before the step.

    >>> import jax.numpy as jnp
    >>> sgd = optax.sgd(1.0)
    >>> square = lambda x: (jnp.sum(x**2), ())
    >>> moved = descend(sgd, square, jnp.array(3.0), sgd.init(3.0), decay=0.5, project=jnp.abs)
    >>> print(moved[0], moved[2])
    0.0 9.0
    """
    (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(gradient, state, params)
    if decay is not None:
        updates = jax.tree.map(
            lambda factor, group: jax.tree.map(lambda u: u * factor, group), decay, updates
        )
    params = optax.apply_updates(params, updates)
    return params if project is None else project(params), state, value, aux
