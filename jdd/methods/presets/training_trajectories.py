"""MTT: students, trained on the synthetic set, are matched with recorded experts."""

from __future__ import annotations

from jdd.augment import dsa_or_none
from jdd.evaluate import dsa_protocol
from jdd.matching import Unrolling, chain, trajectory_distance, unroll
from jdd.methods.optimizers import by_group, sgd
from jdd.methods.presets.constants import data_name, default_strategy
from jdd.methods.presets.trajectory_constants import MTT, Constants, changed, log_rate, row_of
from jdd.methods.start_epochs import uniform_epochs
from jdd.methods.student_step import log_step_size
from jdd.methods.trajectory_recipe import TrajectoryRecipe


def mtt(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    strategy: str | None = None,
    steps: int | None = None,
    student_batch: int | None = None,
    max_start_epoch: int | None = None,
    learning_rate: float | None = None,
    initial_step_size: float | None = None,
    step_size_rate: float | None = None,
) -> TrajectoryRecipe:
    """Matching Training Trajectories: a few steps on the synthetic set should do what epochs of an expert did.

    Pixels and the student's step size are learned by the derivative through all steps of the student; see
    ``matching.remat``. Networks are evaluated with the learned step size as their learning rate. Experts and
    students have one architecture, without BatchNorm; the papers have a ConvNet of depth 3 for images of 32
    pixels, 4 for 64, 5 for 128.

    Args:
      ipc: images per class.
      data: name of the data set, which the authors' constants depend on.
      architecture: of experts and students.
      strategy: ops of color, crop, cutout, flip, scale, rotate joined by "_", or "none"; None for all, without
        flip for digits.
      steps: N, of a student; None for the authors'.
      student_batch: images of each step; None for the authors', mostly all.
      max_start_epoch: students start at epochs of an expert below it; None for the authors'.
      learning_rate: of the pixels; None for the authors'.
      initial_step_size: of students; None for the authors'.
      step_size_rate: learning rate of the logarithm of the step size; None for what stands for the authors'
        rate of the step size itself.

    Raises:
      ValueError: if a number is out of range, or the strategy names an unknown op.

    Reference: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022,
    https://arxiv.org/abs/2203.11932. Deviations: the step size is learned as its logarithm
    (``methods.raw_step_size`` is the authors' form); 5000 iterations, not 5001. Images are normalised as those
    of the experts, which the authors whiten for some data sets (``jdd experts --normalisation zca``).

    >>> recipe = mtt(1, data="cifar10")
    >>> recipe.objective, recipe.start_epochs, recipe.expert_epochs
    (chain(unroll(50), trajectory_distance()), uniform_epochs(2), 2)
    """
    del architecture  # the authors' constants are the same for all
    row = changed(
        row_of(MTT, data, ipc),
        steps=steps,
        batch=student_batch,
        max_start_epoch=max_start_epoch,
        image_rate=learning_rate,
        step_size=initial_step_size,
    )
    return from_row("mtt", ipc, row, data=data, strategy=strategy, step_size_rate=step_size_rate)


def from_row(
    name: str,
    ipc: int,
    row: Constants,
    *,
    data: str,
    strategy: str | None,
    step_size_rate: float | None,
    gradient: Unrolling | None = None,
) -> TrajectoryRecipe:
    """The recipe of a row of constants; the methods after MTT are this with one choice changed.

    Args:
      name: of the method.
      ipc, data, strategy, step_size_rate: as in `mtt`.
      row: the constants.
      gradient: how derivatives go back through a student's training; None for exactly.
    """
    strategy = default_strategy(data) if strategy is None else strategy
    rate = log_rate(row.step_size_rate) if step_size_rate is None else step_size_rate
    return TrajectoryRecipe(
        name=name,
        ipc=ipc,
        augment=dsa_or_none(strategy),
        objective=chain(
            unroll(row.steps, batch_size=row.batch, gradient=gradient), trajectory_distance()
        ),
        step_size=log_step_size(row.step_size),
        start_epochs=uniform_epochs(row.max_start_epoch),
        expert_epochs=row.expert_epochs,
        optimizer=by_group(
            images=sgd(row.image_rate, momentum=0.5), step_size=sgd(rate, momentum=0.5)
        ),
        average=row.average,
        iterations=iterations_for(data, paper=5000),
        protocol=dsa_protocol(strategy),
    )


def iterations_for(data: str, *, paper: int) -> int:
    """The paper's iterations; on the digits what takes about two minutes on two CPU cores."""
    return 200 if data_name(data) == "digits" else paper
