"""TESLA: MTT by an approximate gradient in constant memory, with the target's labels as an option."""

from __future__ import annotations

import dataclasses

from jdd.matching import frozen
from jdd.methods.presets.training_trajectories import from_row, iterations_for
from jdd.methods.presets.trajectory_constants import TESLA, changed, row_of
from jdd.methods.set_labels import hard_labels, target_labels
from jdd.methods.trajectory_recipe import TrajectoryRecipe


def tesla(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    strategy: str | None = None,
    steps: int | None = None,
    student_batch: int | None = None,
    max_start_epoch: int | None = None,
    learning_rate: float | None = None,
    step_size_rate: float | None = None,
    soft_labels: bool = False,
) -> TrajectoryRecipe:
    """TrajEctory matching with Soft Label Assignment: `mtt` by ``matching.frozen``, an approximation.

    Derivatives treat the students of all steps as constants, so that each step is differentiated by itself.
    The method's merit was memory; ``matching.remat`` is exact and needs as little.

    Args:
      ipc: images per class.
      data: name of the data set, which the authors' constants depend on.
      architecture: of experts and students.
      strategy: as in `mtt`.
      steps: N, of a student; None for the authors'.
      student_batch: images of each step; None for the authors', mostly all.
      max_start_epoch: students start at epochs of an expert below it; None for the authors'.
      learning_rate: of the pixels; None for the authors'.
      step_size_rate: as in `mtt`.
      soft_labels: whether labels are the target's, anew in every iteration (the authors: for ImageNet-1K).

    Raises:
      ValueError: if a number is out of range, or the strategy names an unknown op.

    Reference: Cui, Wang, Si, Hsieh, "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory",
    ICML 2023, https://arxiv.org/abs/2211.10586. Deviations: those of `mtt`. The gradient is the paper's
    formula; the released code returns half of it for the images, so learning rates of the pixels are half of
    the authors' here, which gives their steps.

    >>> recipe = tesla(1, data="cifar10")
    >>> recipe.objective, recipe.iterations
    (chain(unroll(50, gradient=frozen()), trajectory_distance()), 10000)
    """
    del architecture  # the authors' constants are the same for all
    authors = row_of(TESLA, data, ipc)
    row = changed(
        authors,
        steps=steps,
        batch=student_batch,
        max_start_epoch=max_start_epoch,
        image_rate=authors.image_rate / 2 if learning_rate is None else learning_rate,
    )
    recipe = from_row(
        "tesla",
        ipc,
        row,
        data=data,
        strategy=strategy,
        step_size_rate=step_size_rate,
        gradient=frozen(),
    )
    return dataclasses.replace(
        recipe,
        labels=target_labels() if soft_labels else hard_labels(),
        iterations=iterations_for(data, paper=10_000),
    )
