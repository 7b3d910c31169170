"""How a student is trained inside an objective, and how derivatives go back through its training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.choice import Choice, register
from jdd.matching.gradients import default_micro_batch
from jdd.validation import at_least

Params = Any
StepGradient = Callable[[Params, Any, Any], Params]
"""``gradient(params, learned, inputs) -> gradient``: of the loss of one step, with respect to the parameters."""


class StudentInputs(NamedTuple):
    """What the N steps of a student differ in; every leaf has a leading axis of N.

    Attributes:
      indices: int32 ``[N, b]``, the images of each minibatch; None where every step takes all images.
      weights: ``[N, b]``, 0 for the places that a short minibatch does not fill; None where all are full.
      variants: int32 ``[N]``, the variant of the images of a step.
      keys: typed PRNG keys ``[N]``, of the augmentation.
    """

    indices: Array | None
    weights: Array | None
    variants: Array
    keys: Array


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Unrolling(Choice):
    """How a student is trained and differentiated.

    Attributes:
      train: ``train(gradient, start, learned, step_size, inputs) -> params``: the student after N steps of
        plain SGD; ``gradient`` is a `StepGradient`, ``learned`` are images and labels.
      micro_batch: images that go through the network at a time, given those of a minibatch.
      is_exact: whether derivatives are those of the training.
    """

    train: Callable[[StepGradient, Params, Any, Array, StudentInputs], Params]
    micro_batch: Callable[[int], int]
    is_exact: bool = True


@register
def direct() -> Unrolling:
    """All steps written out, every activation stored: the original's computation, for comparison.

    Memory grows with steps and images, and so does the time to compile.

    >>> direct()
    direct()
    """

    def train(
        gradient: StepGradient, start: Params, learned: Any, step_size: Array, inputs: StudentInputs
    ) -> Params:
        params = start
        for i in range(inputs.keys.shape[0]):
            one = jax.tree.map(lambda x, i=i: x[i], inputs)
            params = _descended(params, gradient(params, learned, one), step_size)
        return params

    return Unrolling(train, lambda images: images)


@register
def remat(micro_batch: int | None = None) -> Unrolling:
    """A scan whose backward pass recomputes each step: exact, and the default.

    What stays in memory is the student before each step, and the activations of one micro-batch. Figures:
    docs/performance-choices.md, section "Unrolled students".

    Args:
      micro_batch: images at a time; None for the platform's default.

    Raises:
      ValueError: if micro_batch is below 1.

    >>> remat(10)
    remat(10)
    """

    def train(
        gradient: StepGradient, start: Params, learned: Any, step_size: Array, inputs: StudentInputs
    ) -> Params:
        def step(params: Params, one: StudentInputs) -> tuple[Params, None]:
            return _descended(params, gradient(params, learned, one), step_size), None

        return lax.scan(jax.checkpoint(step, prevent_cse=False), start, inputs)[0]

    return Unrolling(train, _at_most(micro_batch))


@register
def frozen(micro_batch: int | None = None) -> Unrolling:
    r"""TESLA's approximation: the students of all steps are constants for the derivatives.

    .. math:: \theta_N = \theta_0 - \alpha \sum_i g(\bar\theta_i; x_i), \qquad
              \bar\theta_i \text{ without derivative}

    The value is exact. The derivatives leave out that later students depend on earlier images: on small
    networks after 20 steps the gradient of the images has a cosine of about 0.9 with the exact one, and that
    of the step size can have the wrong sign. `remat` is exact at the same memory.

    Args:
      micro_batch: images at a time; None for the platform's default.

    Raises:
      ValueError: if micro_batch is below 1.

    Reference: Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory", ICML 2023,
    https://arxiv.org/abs/2211.10586. Deviation: this is the paper's formula; the authors' code returns half of
    its gradient of the images.

    >>> frozen().is_exact
    False
    """

    def train(
        gradient: StepGradient, start: Params, learned: Any, step_size: Array, inputs: StudentInputs
    ) -> Params:
        constant_size = lax.stop_gradient(step_size)

        def step(carry: tuple[Params, Params], one: StudentInputs) -> Any:
            params, total = carry
            params = lax.stop_gradient(params)
            of_step = gradient(params, learned, one)
            total = jax.tree.map(jnp.add, total, of_step)
            return (_descended(params, lax.stop_gradient(of_step), constant_size), total), None

        nothing = jax.tree.map(jnp.zeros_like, start)
        body = jax.checkpoint(step, prevent_cse=False)
        (_, total), _ = lax.scan(body, (lax.stop_gradient(start), nothing), inputs)
        return _descended(start, total, step_size)

    return Unrolling(train, _at_most(micro_batch), is_exact=False)


def student_inputs(
    key: Array, images: int, variants: int, steps: int, batch_size: int | None, dtype: Any
) -> StudentInputs:
    """Draws what the steps of a student differ in.

    The images go by in passes, each in a new random order and cut into minibatches; where the last one
    of a pass is short, it comes first, as in the original.

    Args:
      key: typed PRNG key.
      images: how many there are.
      variants: of each image; every step draws one for all its images.
      steps: of the student.
      batch_size: images of a step; None, or at least ``images``, for all.
      dtype: of the weights.

    Returns:
      The inputs of all steps.

    Reference: the code of Cazenavette et al., CVPR 2022, https://arxiv.org/abs/2203.11932.

    >>> inputs = student_inputs(jax.random.key(0), 5, 1, 4, 2, float)
    >>> inputs.weights.tolist()  # three minibatches to a pass
    [[1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]
    """
    order_key, variant_key, augment_key = jax.random.split(key, 3)
    drawn = jax.random.randint(variant_key, (steps,), 0, variants, jnp.int32)
    keys = jax.random.split(augment_key, steps)
    if batch_size is None or batch_size >= images:
        return StudentInputs(None, None, drawn, keys)
    per_pass = -(-images // batch_size)
    passes = -(-steps // per_pass)
    short = images % batch_size
    missing = per_pass * batch_size - images

    def of_pass(key: Array) -> Array:
        order = jax.random.permutation(key, images)
        # Copies, of weight 0, behind the short minibatch.
        filled = [order[:short], order[:missing], order[short:]] if missing else [order]
        return jnp.concatenate(filled).reshape(per_pass, batch_size).astype(jnp.int32)

    indices = jax.vmap(of_pass)(jax.random.split(order_key, passes))
    indices = indices.reshape(-1, batch_size)[:steps]
    if not missing:
        return StudentInputs(indices, None, drawn, keys)
    is_short = jnp.arange(steps)[:, None] % per_pass == 0
    is_filler = is_short & (jnp.arange(batch_size)[None] >= short)
    return StudentInputs(indices, 1 - is_filler.astype(dtype), drawn, keys)


def _descended(params: Params, gradient: Params, step_size: Array) -> Params:
    return jax.tree.map(lambda p, g: p - step_size * g, params, gradient)


def _at_most(micro_batch: int | None) -> Callable[[int], int]:
    if micro_batch is not None:
        at_least("micro_batch", micro_batch, 1)
    # The default depends on the platform, which is asked when a program is traced.
    return lambda images: micro_batch or default_micro_batch("synthetic")
