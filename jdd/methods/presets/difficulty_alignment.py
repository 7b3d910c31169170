"""DATM: MTT with learned soft labels, and start epochs that suit the number of images."""

from __future__ import annotations

from jdd.augment import dsa_or_none
from jdd.evaluate import dsa_protocol
from jdd.matching import chain, trajectory_distance, unroll
from jdd.methods.experts import from_correct
from jdd.methods.optimizers import by_group, sgd
from jdd.methods.presets.constants import default_strategy
from jdd.methods.presets.training_trajectories import iterations_for
from jdd.methods.presets.trajectory_constants import DATM, log_rate, row_of
from jdd.methods.set_labels import learned_labels
from jdd.methods.start_epochs import StartEpochs, uniform_epochs, widening_epochs
from jdd.methods.student_step import log_step_size
from jdd.methods.trajectory_recipe import TrajectoryRecipe


def datm(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    strategy: str | None = None,
    steps: int | None = None,
    student_batch: int | None = None,
    learning_rate: float | None = None,
    label_rate: float | None = None,
    step_size_rate: float | None = None,
) -> TrajectoryRecipe:
    """Difficulty-Aligned Trajectory Matching: few images match early epochs, many match late ones.

    The window of start epochs widens. Labels are learned logits that start at what experts make of the images;
    images start at those that an expert classifies correctly. An iteration whose loss is above a threshold
    updates nothing.

    Args:
      ipc: images per class.
      data: name of the data set, which the authors' constants depend on.
      architecture: of experts and students.
      strategy: as in `mtt`.
      steps: N, of a student; None for the authors'.
      student_batch: images of each step; None for the authors'.
      learning_rate: of the pixels; None for the authors'.
      label_rate: learning rate of the labels' logits; None for the authors'.
      step_size_rate: as in `mtt`.

    Raises:
      ValueError: if a number is out of range, or the strategy names an unknown op.

    Reference: Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching",
    ICLR 2024, https://arxiv.org/abs/2310.05773. Deviations: those of `mtt`, of ``methods.learned_labels`` and
    of ``methods.from_correct``. The authors have FTD's experts (``jdd experts --flatness flat_trajectory``), of
    100 epochs.

    >>> recipe = datm(10, data="cifar10")
    >>> recipe.start_epochs, recipe.labels, recipe.initial, recipe.skip_above
    (widening_epochs(20, first_stop=10, iterations=1000), learned_labels(), from_correct(), 1.0)
    """
    del architecture  # the authors' constants are the same for all
    row = row_of(DATM, data, ipc)
    strategy = default_strategy(data) if strategy is None else strategy
    rates = {
        "images": row.image_rate if learning_rate is None else learning_rate,
        "labels": row.label_rate if label_rate is None else label_rate,
        "step_size": log_rate(row.step_size_rate) if step_size_rate is None else step_size_rate,
    }
    momenta = {"images": 0.5, "labels": 0.9, "step_size": 0.5}
    batch = row.batch if student_batch is None else student_batch
    return TrajectoryRecipe(
        name="datm",
        ipc=ipc,
        initial=from_correct(),
        labels=learned_labels(),
        augment=dsa_or_none(strategy),
        objective=chain(
            unroll(row.steps if steps is None else steps, batch_size=batch), trajectory_distance()
        ),
        step_size=log_step_size(0.01),
        start_epochs=_window(*row.epochs, row.widening),
        expert_epochs=row.expert_epochs,
        optimizer=by_group(**{name: sgd(rates[name], momenta[name]) for name in rates}),
        skip_above=row.skip_above,
        iterations=iterations_for(data, paper=10_000),
        protocol=dsa_protocol(strategy),
    )


def _window(first: int, first_stop: int, stop: int, iterations: int) -> StartEpochs:
    if not iterations:
        return uniform_epochs(stop, first=first)
    return widening_epochs(stop, first_stop=first_stop, iterations=iterations, first=first)
