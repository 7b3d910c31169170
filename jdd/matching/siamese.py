"""One augmentation for both sides."""

from __future__ import annotations

from jax import Array

from jdd.augment import DSARatios, dsa, parse_strategy
from jdd.choice import register
from jdd.matching.base import Context, Pair, Stage, stateless


@register
def siamese(strategy: str | None = None, *, ratios: DSARatios | None = None) -> Stage:
    """Augments the synthetic and the real batch alike: one key, one op, one parameter set.

    Args:
      strategy: ops separated by "_", for example "color_crop_cutout_flip_scale_rotate"; "none" for
        no augmentation; None for the augmentation of the context, which is the recipe's.
      ratios: strengths of the ops of ``strategy``; None for the paper's.

    Returns:
      A stage from a pair of batches to a pair of batches. Inside ``per_class`` every class draws
      an op of its own.

    Raises:
      ValueError: if the strategy names an unknown op, ratios come without a strategy, or (when applied) the
        context's augmentation cannot be siamese.

    Reference: Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML
    2021, https://arxiv.org/abs/2102.08259.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, value_of
    >>> batch = Batch(jnp.ones((2, 8, 8, 1)), jnp.zeros(2, int))
    >>> context = Context(lambda params, x: x, {}, jax.random.key(0))
    >>> a, b = value_of(siamese("crop_cutout"), Pair(batch, batch), context)
    >>> bool((a.images == b.images).all())
    True
    """
    if strategy is not None:
        parse_strategy(strategy)
    elif ratios is not None:
        raise ValueError("ratios need a strategy: without one the augmentation is the context's")

    def explicit(key: Array, images: Array) -> Array:
        return dsa(key, images, strategy or "none", siamese=True, ratios=ratios or DSARatios())

    def apply(pair: Pair, context: Context) -> Pair:
        augment = context.augment.siamese if strategy is None else explicit
        if augment is None:
            raise ValueError(f"{context.augment} cannot be siamese: it draws parameters per image")
        sides = (b._replace(images=augment(context.key, b.images)) for b in pair)
        return Pair(*sides)

    return stateless(apply)
