"""CutMix: a box of each image is replaced by that of another, and labels are mixed by area."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, without the last of each."""

    top: Array
    bottom: Array
    left: Array
    right: Array


def cutmix_box(kept: ArrayLike, centre: Any, size: tuple[int, int]) -> Box:
    """The box that is replaced.

    Its sides are ``int(side * sqrt(1 - kept))`` pixels. It reaches half of that, rounded down, to each
    side of the centre, so an odd box loses a pixel; what lies outside the image is cut off.

    Args:
      kept: the share of the area that the image keeps, before anything is cut off.
      centre: row and column.
      size: height and width of the images.

    Reference: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers", ICCV 2019,
    https://arxiv.org/abs/1905.04899.

    >>> [int(x) for x in cutmix_box(0.75, (1, 6), (8, 8))]
    [0, 3, 4, 8]
    """
    share = jnp.sqrt(1 - jnp.asarray(kept, jnp.float32))
    ends = []
    for middle, side in zip(centre, size, strict=True):
        half = jnp.floor(side * share).astype(jnp.int32) // 2
        ends += [jnp.clip(middle - half, 0, side), jnp.clip(middle + half, 0, side)]
    return Box(*ends)


def mix_box(batch: Any, partner: Array, box: Box) -> Any:
    """A batch whose images have the box of their partners.

    Args:
      batch: a ``jdd.data.Batch`` with probabilities ``[n, K]`` as labels.
      partner: int ``[n]``, an index into the batch for each image.
      box: what is replaced.

    Returns:
      The batch; labels are the means of both, weighted by their areas.

    Raises:
      ValueError: if labels are not probabilities.

    >>> from jdd.data.batch import Batch
    >>> images = jnp.zeros((2, 4, 4, 1)).at[1].set(1.0)
    >>> mixed = mix_box(Batch(images, jnp.eye(2)), jnp.array([1, 0]), Box(0, 2, 0, 2))
    >>> mixed.images[0, :, :, 0].sum().item(), mixed.labels[0].tolist()
    (4.0, [0.75, 0.25])
    """
    images, labels = batch.images, batch.labels
    if labels.ndim != 2 or not jnp.issubdtype(labels.dtype, jnp.floating):
        raise ValueError(
            "CutMix mixes labels, so labels must be probabilities [n, K] (jax.nn.one_hot), "
            f"got {labels.dtype} {labels.shape}"
        )
    height, width = images.shape[1:3]
    row, column = jnp.arange(height)[:, None, None], jnp.arange(width)[None, :, None]
    inside = (row >= box.top) & (row < box.bottom) & (column >= box.left) & (column < box.right)
    replaced = (box.bottom - box.top) * (box.right - box.left) / (height * width)
    return batch._replace(
        images=jnp.where(inside, images[partner], images),
        labels=(1 - replaced) * labels + replaced * labels[partner],
    )


def cutmix(key: Array, batch: Any, *, probability: float = 1.0, beta: float = 1.0) -> Any:
    """CutMix on a batch: one box for all images, each with a random partner of the batch.

    Args:
      key: typed PRNG key.
      batch: as in `mix_box`.
      probability: of mixing at all.
      beta: the share of the area that images keep is of Beta(beta, beta).

    Returns:
      The batch, mixed or as it was.

    Raises:
      ValueError: if labels are not probabilities.

    Reference: Yun et al., ICCV 2019, https://arxiv.org/abs/1905.04899, as in the code of IDC (Kim et al.,
    ICML 2022, https://arxiv.org/abs/2205.14959).

    >>> from jdd.data.batch import Batch
    >>> cutmix(jax.random.key(0), Batch(jnp.ones((3, 8, 8, 1)), jnp.eye(3))).labels.shape
    (3, 3)
    """
    order_key, draw_key, beta_key = jax.random.split(key, 3)
    size = batch.images.shape[1:3]
    u = jax.random.uniform(draw_key, (4,), jnp.float32)
    # Beta(1, 1) is uniform: no rejection sampling, which takes long to compile.
    kept = u[0] if beta == 1 else jax.random.beta(beta_key, beta, beta, dtype=jnp.float32)
    centre = [
        jnp.floor(draw * side).astype(jnp.int32) for draw, side in zip(u[1:3], size, strict=True)
    ]
    # Where nothing is mixed the box is empty.
    kept = jnp.where(u[3] < probability, kept, 1.0)
    partner = jax.random.permutation(order_key, batch.images.shape[0])
    return mix_box(batch, partner, cutmix_box(kept, centre, size))
