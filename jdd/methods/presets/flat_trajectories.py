"""FTD: MTT with experts of flat trajectories, and an average of the pixels."""

from __future__ import annotations

from jdd.methods.presets.training_trajectories import from_row
from jdd.methods.presets.trajectory_constants import FTD, changed, row_of
from jdd.methods.trajectory_recipe import TrajectoryRecipe


def ftd(
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
    average: float | None = None,
) -> TrajectoryRecipe:
    """Flat Trajectory Distillation: `mtt` from flat experts; the set is a moving average of the pixels.

    Experts are trained by sharpness-aware minimisation (``jdd experts --flatness flat_trajectory``). This
    recipe does not check that they were.

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
      average: decay of the average of the pixels; None for the authors'.

    Raises:
      ValueError: if a number is out of range, or the strategy names an unknown op.

    Reference: Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset Distillation", CVPR
    2023, https://arxiv.org/abs/2211.11004. Deviations: those of `mtt`; networks that evaluate the average are
    fresh, where the authors' code trains those on that it has just trained on the pixels.

    >>> ftd(1, data="cifar10").average
    0.9999
    """
    del architecture  # the authors' constants are the same for all
    row = changed(
        row_of(FTD, data, ipc),
        steps=steps,
        batch=student_batch,
        max_start_epoch=max_start_epoch,
        image_rate=learning_rate,
        average=average,
    )
    return from_row("ftd", ipc, row, data=data, strategy=strategy, step_size_rate=step_size_rate)
