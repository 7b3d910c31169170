"""One augmentation for both sides."""

from __future__ import annotations

from jdd.augment import DSARatios, dsa
from jdd.augment.dsa import parse_strategy
from jdd.matching.base import Context, Pair, Stage, stateless


def siamese(strategy: str, *, ratios: DSARatios | None = None) -> Stage:
    """Augments the synthetic and the real batch alike: one key, one op, one parameter set.

    Args:
      strategy: ops separated by "_", for example "color_crop_cutout_flip_scale_rotate"; "none" for
        no augmentation.
      ratios: strengths of the ops; None for the paper's.

    Returns:
      A stage from a pair of batches to a pair of batches. Inside ``per_class`` every class draws
      its own op.

    Raises:
      ValueError: if the strategy names an unknown op.

    Reference: Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML
    2021.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, value_of
    >>> batch = Batch(jnp.ones((2, 8, 8, 1)), jnp.zeros(2, int))
    >>> context = Context(lambda params, x: x, {}, jax.random.key(0))
    >>> a, b = value_of(siamese("crop_cutout"), Pair(batch, batch), context)
    >>> bool((a.images == b.images).all())
    True
    """
    parse_strategy(strategy)
    ratios = ratios or DSARatios()

    def apply(pair: Pair, context: Context) -> Pair:
        def augmented(batch):
            images = dsa(context.key, batch.images, strategy, siamese=True, ratios=ratios)
            return batch._replace(images=images)

        return Pair(augmented(pair.synthetic), augmented(pair.real))

    return stateless(apply)
