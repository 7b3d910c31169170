"""HaBa's adversary: a network that learns to recognise images under any hallucinator, and a set that evades it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd import losses, nn
from jdd.augment import Augmentation
from jdd.choice import Choice, register
from jdd.data import Batch
from jdd.matching import Context, Stage, Task
from jdd.matching.embeddings import default_forward_batch
from jdd.methods.descent import descend
from jdd.methods.optimizers import Optimizer, sgd
from jdd.streaming import in_parts
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Adversary(Choice):
    """A network that learns beside a run, and what it and the set make of the views of an image.

    Attributes:
      loss: ``loss(features [n, V, d], logits [n, V, K], labels [n]) -> scalar``, what the network descends.
      similarity: ``similarity(features [n, V, d]) -> scalar``, what the set descends.
      network: by its name; None for the architecture that is matched on.
      optimizer: of the network.
      views: V, the variants of each image in one step; None for all.
    """

    loss: Callable[[Array, Array, Array], Array]
    similarity: Callable[[Array], Array]
    network: str | None
    optimizer: Optimizer
    views: int | None


@register
def released_adversary(
    network: str | None = None,
    *,
    optimizer: Optimizer | None = None,
    contrast: float = 0.1,
    task: float = 1.0,
    similarity: float = 0.1,
    temperature: float = 0.07,
) -> Adversary:
    """The adversary of HaBa's code: two variants per step, ``losses.released_adversary``.

    The set descends ``losses.view_similarity``.

    Args:
      network: such as "convnetw32" (`jdd methods` lists the names); None for the architecture that is
        matched on.
      optimizer: of the network; None for the authors' sgd(0.001, momentum=0.9).
      contrast, task, similarity, temperature: of the loss.

    Raises:
      ValueError: if there is no such network.

    Reference: the code of Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774.

    >>> released_adversary("convnetw32", contrast=1.0)
    released_adversary('convnetw32', contrast=1.0)
    """
    weights = {"contrast": contrast, "task": task, "similarity": similarity}
    loss = functools.partial(losses.released_adversary, **weights, temperature=temperature)
    return _made(loss, losses.view_similarity, network, optimizer, 2)


@register
def paper_adversary(
    network: str | None = None,
    *,
    optimizer: Optimizer | None = None,
    contrast: float = 0.1,
    task: float = 1.0,
    temperature: float = 0.07,
) -> Adversary:
    """The adversary of HaBa's paper: all variants in every step, ``losses.paper_adversary``.

    The set descends ``losses.paper_view_similarity``.

    Args:
      network, optimizer: as in `released_adversary`.
      contrast, task, temperature: of the loss. The paper's weights are not known here; these are the code's.

    Raises:
      ValueError: if there is no such network.

    Reference: Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774.

    >>> paper_adversary()
    paper_adversary()
    """
    weights = {"contrast": contrast, "task": task, "temperature": temperature}
    loss = functools.partial(losses.paper_adversary, **weights)
    return _made(loss, losses.paper_view_similarity, network, optimizer, None)


def _made(
    loss: Any, similarity: Any, network: str | None, optimizer: Optimizer | None, views: int | None
) -> Adversary:
    if network is not None:
        nn.network(network)
    optimizer = sgd(0.001, momentum=0.9) if optimizer is None else optimizer
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer must be of kind Optimizer or None, got {optimizer!r}")
    return Adversary(loss, similarity, network, optimizer, views)


@register
def view_similarity(
    adversary: Adversary | None = None,
    *,
    images: int | None = None,
    augment: Augmentation | None = None,
) -> Stage:
    r"""How alike an adversary finds the variants of each synthetic image: less of it, more different variants.

    .. math:: \min_{S} \ D(S) + \lambda \operatorname{sim}_F(S), \qquad \min_F \ \ell_F(S)

    It stands beside an objective: ``add(objective, scale(0.1, view_similarity()))``. The network F is part of
    the run's state, is never made anew, and makes one step of its own optimiser per update, on constant images.
    In the original's order it learns after each update of the set, with other images, variants and augmentation
    than the set saw; here it does so right before the next update, which is the same, and not before the first.

    Args:
      adversary: the network and the losses; None for that of HaBa's code.
      images: synthetic images of a step, drawn at random over all classes where there are more; None for all.
      augment: of all views, parameters per image; None for the recipe's.

    Returns:
      A stage that ends in a scalar. It takes the synthetic set from the context, not from its value, so that it
      fits beside any objective.

    Raises:
      ValueError: if an argument is of another kind; when a recipe is built, if each synthetic image has one
        variant alone; when applied, if the augmentation mixes labels.

    Reference: Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.16774.

    >>> from jdd.matching import scale
    >>> scale(0.1, view_similarity(released_adversary("convnetw32")))
    scale(0.1, stage=view_similarity(released_adversary('convnetw32')))
    """
    chosen = released_adversary() if adversary is None else adversary
    if not isinstance(chosen, Adversary):
        raise ValueError(f"view_similarity needs an adversary, got {adversary!r}")
    if images is not None:
        at_least("images", images, 1)
    if augment is not None and not isinstance(augment, Augmentation):
        raise ValueError(f"augment must be of kind Augmentation or None, got {augment!r}")

    def unbound(*_: Any) -> Any:
        raise ValueError(
            "view_similarity has a network of its own: jdd.methods.build binds it to the classes and images of "
            "a run, and jdd.matching.bound does so by hand"
        )

    def bind(task: Task) -> Stage:
        if task.variants < 2:
            raise ValueError(
                f"view_similarity compares the variants of each image, and synthetic {task.synthetic} has one alone: "
                "choose hallucinated(2) or more, or an objective without it"
            )
        return _bound(chosen, images, augment, task)

    return Stage(unbound, unbound, bind)


def _bound(
    adversary: Adversary, most: int | None, augment: Augmentation | None, task: Task
) -> Stage:
    model = task.model
    if adversary.network is not None:
        model = nn.network(adversary.network).model(model.num_classes, model.image_shape)
    transform = adversary.optimizer.transform

    def init(key: Array) -> Any:
        variables = model.init(key)
        optimizer = transform.init(variables["params"])
        return {"variables": variables, "optimizer": optimizer, "steps": jnp.int32(0)}

    def apply(value: Any, state: Any, context: Context) -> tuple[Array, Any]:
        del value
        if context.views is None:
            raise ValueError(
                "view_similarity must stand beside an objective, not inside of a class"
            )

        def seen(params: Any, batch: Batch) -> tuple[Array, Array]:
            """Features ``[n, V, d]`` and logits ``[n, V, K]``."""
            variables = {**state["variables"], "params": params}
            function, params = model.network(variables, training=True)

            def output(images: Array) -> tuple[Array, Array]:
                output = function(params, images)
                if output.embedding is None:
                    raise ValueError(f"{model.name} has no embedding, which view_similarity needs")
                return output.embedding, output.logits

            n, views = batch.images.shape[:2]
            flat = batch.images.reshape(n * views, *batch.images.shape[2:])
            size = flat.shape[0] if model.has_batch_stats else default_forward_batch()
            outputs = in_parts(jax.checkpoint(output, prevent_cse=False), flat, size)
            features, logits = (x.reshape(n, views, -1) for x in outputs)
            return features, logits

        def loss(params: Any) -> tuple[Array, tuple[()]]:
            batch = lax.stop_gradient(_views(context.fold(0), adversary.views, most, augment))
            return adversary.loss(*seen(params, batch), batch.labels), ()

        before = {"params": state["variables"]["params"], "optimizer": state["optimizer"]}
        params, optimizer, _, _ = descend(transform, loss, before["params"], before["optimizer"])
        after = lax.stop_gradient({"params": params, "optimizer": optimizer})
        # Before the first update of the set the adversary has learned nothing.
        is_first = state["steps"] == 0
        after = jax.tree.map(lambda old, new: jnp.where(is_first, old, new), before, after)
        batch = _views(context.fold(1), adversary.views, most, augment)
        similarity = adversary.similarity(seen(after["params"], batch)[0])
        variables = {**state["variables"], "params": after["params"]}
        moved = {"variables": variables, "optimizer": after["optimizer"]}
        return similarity, {**moved, "steps": state["steps"] + 1}

    return Stage(init, apply)


def _views(
    context: Context, count: int | None, most: int | None, augment: Augmentation | None
) -> Batch:
    """Synthetic images under several variants, all augmented at once: ``[n, V, H, W, ch]``, labels ``[n]``."""
    variants_key, images_key, augment_key = jax.random.split(context.key, 3)
    views, augment = context.views, context.augment if augment is None else augment
    assert views is not None
    if augment.mixes_labels:
        raise ValueError(
            f"view_similarity needs images of one class each, and {augment} mixes them: give it another "
            "augment"
        )
    drawn = jax.random.permutation(variants_key, views.variants)[:count]
    images = jnp.stack([views.decode(v).images for v in drawn], 2)
    classes, n, count, *shape = images.shape
    images = images.reshape(classes * n, count, *shape)
    labels = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), n)
    if most is not None and most < classes * n:
        rows = jax.random.permutation(images_key, classes * n)[:most]
        images, labels = images[rows], labels[rows]
    flat = Batch(images.reshape(-1, *shape), jnp.repeat(labels, count))
    augmented = augment.per_sample(augment_key, flat).images
    return Batch(augmented.reshape(images.shape), labels)
