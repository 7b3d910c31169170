"""Losses on several views of each sample: contrast between samples, similarity of the views of one (HaBa)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.losses.labels import cross_entropy

_TINY = 1e-24  # of a squared norm


def supervised_contrastive(features: Array, labels: Array, *, temperature: float = 0.07) -> Array:
    r"""Pulls together all views of all samples of a class, and pushes apart those of different classes.

    .. math:: -\frac1{nV} \sum_a \frac1{|P(a)|} \sum_{p \in P(a)} \log
              \frac{\exp(\hat f_a \cdot \hat f_p / \tau)}{\sum_{b \ne a} \exp(\hat f_a \cdot \hat f_b / \tau)}

    Anchors a are all n V views, and P(a) are the other views with the label of a, of the same sample and of
    others. Features are divided by their lengths. With one sample per class it is InfoNCE. Computed in
    float32 at least.

    Args:
      features: ``[n, views, d]``, of at least 2 views.
      labels: integers ``[n]``.
      temperature: tau, above 0.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shapes are others, there are fewer than 2 views, or labels are not integers.

    Reference: Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, https://arxiv.org/abs/2004.11362;
    as the adversary's loss in the code of Liu et al., "Dataset Distillation via Factorization" (HaBa), NeurIPS
    2022, https://arxiv.org/abs/2210.16774.

    >>> views = jnp.repeat(jnp.eye(3)[:, None], 2, axis=1)
    >>> print(supervised_contrastive(views, jnp.arange(3)).round(4))
    0.0
    """
    n, views, _ = _checked(features)
    if labels.shape != (n,) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels must be integers [{n}], got {labels.dtype} {list(labels.shape)}")
    anchors = _unit(features).reshape(n * views, -1)
    of_anchor = jnp.repeat(labels, views)
    is_other = ~jnp.eye(n * views, dtype=bool)
    scores = anchors @ anchors.T / temperature
    log_p = scores - jax.nn.logsumexp(jnp.where(is_other, scores, -jnp.inf), 1, keepdims=True)
    is_positive = (of_anchor[:, None] == of_anchor[None]) & is_other
    return -jnp.mean(jnp.where(is_positive, log_p, 0).sum(1) / is_positive.sum(1))


def basis_contrastive(features: Array, *, temperature: float = 0.07) -> Array:
    r"""Pulls together the views of one basis, and pushes apart those of different bases (HaBa's paper).

    .. math:: -\frac1{V^2 n} \sum_{j \ne k} \sum_i \log
              \frac{\exp(f_{ij} \cdot f_{ik} / \tau)}{\sum_u \exp(f_{ij} \cdot f_{uk} / \tau)}

    Features enter as they are: the paper states no normalisation. Computed in float32 at least.

    Args:
      features: ``[n, views, d]``: of basis i under hallucinator j.
      temperature: tau, above 0.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shape is another, or there are fewer than 2 views.

    Reference: Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774. Its code has
    `supervised_contrastive` instead.

    >>> views = jnp.repeat(jnp.eye(3)[:, None], 2, axis=1)
    >>> loss = basis_contrastive(views, temperature=1.0)  # half of log((e + 2) / e)
    >>> print(f"{loss:.3f}")
    0.276
    """
    n, views, features = _checked(features)
    scores = jnp.einsum("ijd,ukd->jkiu", features, features) / temperature
    log_p = jnp.diagonal(jax.nn.log_softmax(scores), axis1=2, axis2=3)  # [views, views, n]
    return -_of_different_views(log_p) / (views**2 * n)


def view_similarity(features: Array) -> Array:
    r"""How alike the views of a sample are: 0 for opposite, 1 for equal directions (HaBa's code).

    .. math:: \frac1{n V (V - 1)} \sum_{j \ne k} \sum_i \frac{1 + \cos(f_{ij}, f_{ik})}2

    Args:
      features: ``[n, views, d]``.

    Returns:
      A scalar from 0 to 1.

    Raises:
      ValueError: if the shape is another, or there are fewer than 2 views.

    Reference: the code of Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774.

    >>> print(view_similarity(jnp.array([[[1.0, 0.0], [0.0, 2.0]]])))
    0.5
    """
    n, views, features = _checked(features)
    return (1 + _of_different_views(_cosines(features)) / (n * views * (views - 1))) / 2


def paper_view_similarity(features: Array) -> Array:
    r"""The similarity of views as HaBa's paper writes it, without the shift and over all pairs.

    .. math:: \frac1{V^2 n} \sum_{j \ne k} \sum_i \cos(f_{ij}, f_{ik})

    Args:
      features: ``[n, views, d]``.

    Returns:
      A scalar from -1 to 1.

    Raises:
      ValueError: if the shape is another, or there are fewer than 2 views.

    Reference: Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774.

    >>> print(paper_view_similarity(jnp.ones((1, 2, 3))).round(3))
    0.5
    """
    n, views, features = _checked(features)
    return _of_different_views(_cosines(features)) / (views**2 * n)


def released_adversary(
    features: Array,
    logits: Array,
    labels: Array,
    *,
    contrast: float = 0.1,
    task: float = 1.0,
    similarity: float = 0.1,
    temperature: float = 0.07,
) -> Array:
    r"""What HaBa's code minimises over its adversary: it learns to recognise a class, whatever the hallucinator.

    .. math:: \lambda_{con} L_{con} + \lambda_{task} \overline{CE} + \lambda_{cos} (1 - L_{cos})

    with `supervised_contrastive` as L_con and `view_similarity` as L_cos. The cross entropy is a mean over all
    views.

    Args:
      features: ``[n, views, d]``.
      logits: ``[n, views, K]``.
      labels: integers ``[n]``.
      contrast: lambda_con.
      task: lambda_task.
      similarity: lambda_cos; the code calls it likelihood.
      temperature: of the contrast.

    Returns:
      A scalar.

    Raises:
      ValueError: if shapes do not fit, there are fewer than 2 views, or labels are not integers.

    Reference: the code of Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774.

    >>> views = jnp.repeat(jnp.eye(3)[:, None], 2, axis=1)
    >>> print(released_adversary(views, 99 * views, jnp.arange(3)).round(4))
    0.0
    """
    contrastive = supervised_contrastive(features, labels, temperature=temperature)
    apart = 1 - view_similarity(features)
    return contrast * contrastive + task * _mean_cross_entropy(logits, labels) + similarity * apart


def paper_adversary(
    features: Array,
    logits: Array,
    labels: Array,
    *,
    contrast: float = 0.1,
    task: float = 1.0,
    temperature: float = 0.07,
) -> Array:
    r"""What HaBa's paper minimises over its adversary: `basis_contrastive` and the cross entropy.

    .. math:: \lambda_{con} L_{con} + \lambda_{task} \overline{CE}

    Args:
      features: ``[n, views, d]``.
      logits: ``[n, views, K]``.
      labels: integers ``[n]``.
      contrast: lambda_con.
      task: lambda_task.
      temperature: of the contrast.

    Returns:
      A scalar.

    Raises:
      ValueError: if shapes do not fit, there are fewer than 2 views, or labels are not integers.

    Reference: Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774.

    >>> views = jnp.repeat(99 * jnp.eye(3)[:, None], 2, axis=1)
    >>> print(paper_adversary(views, views, jnp.arange(3)).round(4))
    0.0
    """
    contrastive = basis_contrastive(features, temperature=temperature)
    return contrast * contrastive + task * _mean_cross_entropy(logits, labels)


def _checked(features: Array) -> tuple[int, int, Array]:
    """The numbers of samples and views, and the features in float32 at least."""
    if features.ndim != 3 or features.shape[1] < 2 or 0 in features.shape:
        raise ValueError(
            f"features must be [n, views, d] with at least 2 views, got shape {features.shape}"
        )
    n, views, _ = features.shape
    return n, views, features.astype(jnp.promote_types(features.dtype, jnp.float32))


def _unit(features: Array) -> Array:
    """Vectors divided by their lengths; a zero vector stays, with a finite derivative."""
    _, _, features = _checked(features)
    return features * lax.rsqrt(jnp.maximum(jnp.square(features).sum(-1, keepdims=True), _TINY))


def _cosines(features: Array) -> Array:
    """``[views, views, n]``: cosines between the views of each sample."""
    unit = _unit(features)
    return jnp.einsum("njd,nkd->jkn", unit, unit)


def _of_different_views(values: Array) -> Array:
    """The sum of ``[views, views, n]`` without the pairs of a view with itself."""
    is_other = ~jnp.eye(values.shape[0], dtype=bool)
    return jnp.where(is_other[:, :, None], values, 0).sum()


def _mean_cross_entropy(logits: Array, labels: Array) -> Array:
    if logits.ndim != 3 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits must be [n, views, K] and labels [n], got {logits.shape} and {labels.shape}"
        )
    of_view = jnp.repeat(labels, logits.shape[1])
    return jnp.mean(cross_entropy(logits.reshape(-1, logits.shape[2]), of_view))
