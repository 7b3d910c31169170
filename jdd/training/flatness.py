"""Steps towards flat minima: sharpness-aware minimisation, and the form of it that FTD's experts use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax import Array

from jdd.choice import Choice, register
from jdd.validation import positive

# As in the original: the gradient can be zero.
_TINY = 1e-12


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Flatness(Choice):
    """Which gradient a step of SGD takes in place of that at the parameters.

    Attributes:
      gradient: ``gradient(g, params, gradient_at) -> gradient``, where g is that at the parameters and
        ``gradient_at(params)`` gives that of the same minibatch elsewhere.
    """

    gradient: Callable[[Any, Any, Callable[[Any], Any]], Any]


@register
def sharpness_aware(rho: float = 0.05) -> Flatness:
    r"""SAM: the gradient at the worst parameters within a radius.

    .. math:: g' = \nabla L(p + \rho\, g / \|g\|)

    Args:
      rho: the radius.

    Raises:
      ValueError: if rho is not positive.

    Reference: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR
    2021 (https://arxiv.org/abs/2010.01412); the steps are those of ``optax.contrib.sam``.

    >>> sharpness_aware(0.1)
    sharpness_aware(0.1)
    """
    positive("rho", rho)
    ascent = _ascent(rho, lambda p: jnp.ones_like(p))
    return Flatness(lambda g, params, gradient_at: _after(ascent, g, params, gradient_at))


@register
def flat_trajectory(rho: float = 0.01, gap: float = 0.3) -> Flatness:
    r"""FTD's GSAM: an ascent that is adapted to each weight, and a smaller gap to the loss there.

    .. math:: g' = \nabla L(p + \rho\, p^2 g / \|p\, g\|), \quad
        v = g - \frac{\langle g, g' \rangle}{\|g'\|^2} g', \quad \text{step along } g' - \text{gap}\; v

    The squares and products with p are per weight, the norms over all weights.

    Args:
      rho: the radius; 0.01 in FTD's scripts.
      gap: the weight of v, their alpha; 0.3 or 1 in FTD, 0.3 in DATM.

    Raises:
      ValueError: if rho is not positive, or gap is negative.

    Reference: Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation", CVPR
    2023 (https://arxiv.org/abs/2211.11004), with the optimiser of Zhuang et al., "Surrogate Gap
    Minimization Improves Sharpness-Aware Training", ICLR 2022 (https://arxiv.org/abs/2203.08065).

    >>> flat_trajectory(gap=1.0)
    flat_trajectory(gap=1.0)
    """
    positive("rho", rho)
    if not isinstance(gap, Real) or not 0 <= gap < float("inf"):
        raise ValueError(f"gap must be at least 0 and finite, got {gap!r}")
    ascent = _ascent(rho, jnp.abs)

    def gradient(g: Any, params: Any, gradient_at: Callable[[Any], Any]) -> Any:
        above = _after(ascent, g, params, gradient_at)
        along = optax.tree.vdot(g, above) / (optax.tree.norm(above, squared=True) + _TINY)
        return jax.tree.map(lambda g, a: a - gap * (g - along * a), g, above)

    return Flatness(gradient)


def _ascent(rho: float, scale: Callable[[Array], Array]) -> optax.GradientTransformation:
    """The step from the parameters to the worst ones nearby, with its sign turned, as optax's SAM wants it."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        scaled = jax.tree.map(lambda p, g: scale(p) * g, params, updates)
        length = -rho / (optax.tree.norm(scaled) + _TINY)
        return jax.tree.map(lambda p, g: length * scale(p) * g, params, scaled), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _after(
    ascent: optax.GradientTransformation,
    g: Any,
    params: Any,
    gradient_at: Callable[[Any], Any],
) -> Any:
    """The gradient after one step of ascent; the outer optimiser is the caller's."""
    sam = optax.contrib.sam(optax.identity(), ascent, opaque_mode=True)  # type: ignore[arg-type]
    return sam.update(g, sam.init(params), params, grad_fn=lambda params, _: gradient_at(params))[0]
