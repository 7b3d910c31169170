"""Trajectory matching: a student is trained on the synthetic set, and compared with a recorded expert."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from jax import Array, lax

from jdd import losses
from jdd.choice import register
from jdd.data.batch import Batch
from jdd.matching.base import Context, Pair, Stage, check_function, stateless
from jdd.matching.gradients import Loss, streamed_gradient
from jdd.matching.unrolling import StudentInputs, Unrolling, remat, student_inputs
from jdd.validation import at_least, share


class SyntheticSet(NamedTuple):
    """What a student is trained on: the synthetic side of a trajectory objective.

    Attributes:
      images: ``[C, n, V, H, W, ch]``, normalised, with V variants of each.
      labels: integers ``[C, n]``, or probabilities ``[C, n, K]``.
      step_size: scalar, the learning rate of the student; positive.
    """

    images: Array
    labels: Array
    step_size: Array


class Segment(NamedTuple):
    """A part of an expert's trajectory: the real side of a trajectory objective.

    Attributes:
      start: parameters of the expert where the student begins.
      target: its parameters some epochs later.
    """

    start: Any
    target: Any


class Unrolled(NamedTuple):
    """A trained student beside its expert. Distances take it as a pair: the student, and its target.

    Attributes:
      student: parameters after the student's training.
      segment: of the expert.
    """

    student: Any
    segment: Segment

    @property
    def synthetic(self) -> Any:
        """The student."""
        return self.student

    @property
    def real(self) -> Any:
        """What the student should be."""
        return self.segment.target


@register
def unroll(
    steps: int,
    *,
    batch_size: int | None = None,
    gradient: Unrolling | None = None,
    loss: Loss = losses.cross_entropy,
) -> Stage:
    r"""Trains a student on the synthetic set, from where the expert's segment starts.

    .. math:: \theta_{i+1} = \theta_i - \alpha \nabla_\theta
              \ell\big(\theta_i; A_i(S_{b_i})\big), \qquad i = 0, \dots, N - 1

    Each step takes a minibatch b_i, one variant of its images, and one draw A_i of the context's
    augmentation with parameters per image, through which derivatives flow.

    Args:
      steps: N, at least 1.
      batch_size: images of a minibatch; None for all in every step.
      gradient: how derivatives go back through the training: `direct`, `remat`, `frozen`; None for `remat`.
      loss: ``loss(logits [n, K], labels) -> [n]``.

    Returns:
      A stage from ``Pair(SyntheticSet, Segment)`` to `Unrolled`.

    Raises:
      ValueError: if a number is below 1, or another argument of the wrong kind; when applied, if the pair
        is another, or the network has BatchNorm in training mode.

    Reference: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022,
    https://arxiv.org/abs/2203.11932.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import chain, value_of
    >>> start, target = {"w": jnp.zeros((4, 2))}, {"w": jnp.ones((4, 2))}
    >>> images, labels = jnp.ones((2, 1, 1, 2, 2, 1)), jnp.array([[0], [1]])
    >>> network = lambda params, images: images.reshape(len(images), -1) @ params["w"]
    >>> context = Context(network, start, jax.random.key(0))
    >>> pair = Pair(SyntheticSet(images, labels, jnp.array(0.1)), Segment(start, target))
    >>> print(value_of(chain(unroll(3), trajectory_distance()), pair, context))
    1.0
    """
    at_least("steps", steps, 1)
    if batch_size is not None:
        at_least("batch_size", batch_size, 1)
    unrolling = remat() if gradient is None else gradient
    if not isinstance(unrolling, Unrolling):
        raise ValueError(f"gradient must be of kind Unrolling or None, got {gradient!r}")
    check_function("unroll", loss)

    def apply(pair: Pair, context: Context) -> Unrolled:
        synthetic, segment = pair
        if not isinstance(synthetic, SyntheticSet) or not isinstance(segment, Segment):
            raise ValueError(
                "unroll needs a Pair(SyntheticSet, Segment), as trajectory methods make it, got "
                f"{type(synthetic).__name__} and {type(segment).__name__}"
            )
        if context.coupled:
            raise ValueError("unroll needs a network without BatchNorm in training mode")
        images, labels = (x.reshape(-1, *x.shape[2:]) for x in synthetic[:2])
        n, variants = images.shape[:2]
        inputs = student_inputs(context.key, n, variants, steps, batch_size, images.dtype)
        student = unrolling.train(
            step_gradient(context, loss, unrolling.micro_batch, synthetic.labels.shape[0]),
            segment.start,
            (images, labels),
            synthetic.step_size,
            inputs,
        )
        return Unrolled(student, segment)

    return stateless(apply)


def step_gradient(context: Context, loss: Loss, micro_batch: Any, num_classes: int) -> Any:
    """The gradient of one step of a student.

    Args:
      context: the network and the augmentation.
      loss: of each image.
      micro_batch: images at a time, given those of the minibatch.
      num_classes: for augmentations that mix labels.

    Returns:
      ``gradient(params, (images [n, V, ...], labels [n, ...]), inputs)``, with the inputs of one step.
    """

    def gradient(params: Any, learned: tuple[Array, Array], inputs: StudentInputs) -> Any:
        images, labels = learned
        if images.shape[1] == 1:
            images = images[:, 0]
        else:
            images = lax.dynamic_index_in_dim(images, inputs.variants, axis=1, keepdims=False)
        if inputs.indices is not None:
            images, labels = images[inputs.indices], labels[inputs.indices]
        batch = Batch(images, labels, inputs.weights)
        batch = context.augment.augmented(inputs.keys, batch, num_classes)
        size = micro_batch(images.shape[0])
        return streamed_gradient(context.apply, params, batch, loss, size)

    return gradient


@register
def trajectory_distance() -> Stage:
    """``losses.trajectory_distance`` as a stage on what `unroll` returns (MTT).

    >>> trajectory_distance()
    trajectory_distance()
    """

    def apply(unrolled: Unrolled, context: Context) -> Array:
        del context
        if not isinstance(unrolled, Unrolled):
            kind = type(unrolled).__name__
            raise ValueError(f"trajectory_distance needs what unroll returns, got {kind}")
        segment = unrolled.segment
        return losses.trajectory_distance(unrolled.student, segment.target, segment.start)

    return stateless(apply)


@register
def deep_layers(skipped: float = 0.25) -> Stage:
    """Leaves the parameters of the first layers out of what `unroll` returns (PAD).

    Layers are the groups of parameters with one number in their names (``conv0`` and ``norm0``), from the
    first to the classifier. Of L of them the first floor(skipped * L) are left out, of the student and of
    the whole segment.

    Args:
      skipped: share of the layers, at least 0 and below 1.

    Raises:
      ValueError: if the share is out of range.

    Reference: Li et al., "Prioritize Alignment in Dataset Distillation", https://arxiv.org/abs/2408.03360.
    Deviation: the authors' code leaves out the single parameters with the smallest differences, whatever their
    layer.

    >>> params = {"conv0": 0.0, "norm0": 1.0, "conv1": 2.0, "norm1": 3.0, "classifier": 4.0}
    >>> sorted(deep_part(params, 0.34))
    ['classifier', 'conv1', 'norm1']
    """
    share("skipped", skipped)

    def apply(unrolled: Unrolled, context: Context) -> Unrolled:
        del context
        segment = Segment(*(deep_part(params, skipped) for params in unrolled.segment))
        return Unrolled(deep_part(unrolled.student, skipped), segment)

    return stateless(apply)


def deep_part(params: Any, skipped: float) -> dict[str, Any]:
    """The parameters without the first layers; see `deep_layers`.

    Raises:
      ValueError: if the parameters are no dictionary by layer.
    """
    if not isinstance(params, dict):
        raise ValueError(
            f"deep_layers needs parameters by name of the layer, got {type(params).__name__}"
        )
    depths = sorted({_depth(name) for name in params})
    kept = set(depths[int(skipped * len(depths)) :])
    return {name: value for name, value in params.items() if _depth(name) in kept}


def _depth(name: str) -> tuple[int, tuple[int, ...]]:
    """Where a layer stands: convolutions by number, then dense layers by number, then the classifier."""
    kind = 2 if name == "classifier" else 1 if name.startswith("dense") else 0
    return kind, tuple(int(number) for number in re.findall(r"\d+", name))
