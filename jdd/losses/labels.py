"""Classification losses for hard or soft labels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def cross_entropy(logits: Array, labels: Array) -> Array:
    r"""Cross entropy of each sample, with hard or soft labels.

    .. math:: -\log p_{y} \quad\text{or}\quad -\sum_k q_k \log p_k, \qquad p = \text{softmax}(z)

    Args:
      logits: ``[n, K]``.
      labels: integers ``[n]``, or probabilities ``[n, K]``.

    Returns:
      ``[n]``, in nats: one value per sample, neither summed nor averaged.

    Raises:
      ValueError: if the shapes are others, or hard labels are not integers.

    >>> import jax.numpy as jnp
    >>> print(cross_entropy(jnp.zeros((1, 4)), jnp.array([2])).round(3))
    [1.386]
    """
    if logits.ndim != 2 or labels.shape not in (logits.shape[:1], logits.shape):
        raise ValueError(
            "logits must be [n, K] and labels integers [n] or probabilities [n, K], "
            f"got {logits.shape} and {labels.shape}"
        )
    if labels.ndim == 1 and not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"hard labels must be integers, got {labels.dtype}")
    log_p = jax.nn.log_softmax(logits)
    if labels.ndim == 2:
        return -jnp.sum(labels * log_p, -1)
    # A one-hot product, because the derivative of a gather is a scatter.
    return -jnp.sum(jax.nn.one_hot(labels, logits.shape[1], dtype=log_p.dtype) * log_p, -1)
