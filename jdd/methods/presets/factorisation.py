"""HaBa: MTT on bases and hallucinators, with an adversary that recognises images under any hallucinator."""

from __future__ import annotations

import dataclasses
import math
from numbers import Real
from typing import Literal

from jdd.evaluate import dsa_protocol, haba_protocol
from jdd.matching import add, scale
from jdd.methods.optimizers import by_group, sgd
from jdd.methods.presets.constants import default_strategy
from jdd.methods.presets.training_trajectories import from_row, iterations_for
from jdd.methods.presets.trajectory_constants import HABA, changed, log_rate, row_of
from jdd.methods.trajectory_recipe import TrajectoryRecipe
from jdd.methods.view_adversary import view_similarity
from jdd.synthetic import hallucinated
from jdd.validation import one_of

Batches = Literal["standardised", "plain"]


def haba(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    hallucinators: int = 5,
    base_channels: int | None = None,
    adversary_weight: float = 0.1,
    batches: Batches = "standardised",
    strategy: str | None = None,
    steps: int | None = None,
    student_batch: int | None = None,
    max_start_epoch: int | None = None,
    learning_rate: float | None = None,
    hallucinator_rate: float | None = None,
    initial_step_size: float | None = None,
    step_size_rate: float | None = None,
) -> TrajectoryRecipe:
    """Dataset factorisation into bases of each class and hallucinators that all classes share.

    Every step of a student takes all bases under one hallucinator; an evaluation network draws one for each
    image (``synthetic.hallucinated``). Beside MTT's loss an adversary keeps the images of a basis apart
    (``methods.view_similarity``).

    Args:
      ipc: bases per class. Five hallucinators of RGB images of 32 pixels take as many numbers as 9.06 images
        beside; runs and `jdd show` print the budget.
      data: name of the data set, which the authors' constants depend on.
      architecture: of experts, students and the adversary.
      hallucinators: how many.
      base_channels: of a basis: none for those of the images, or 1.
      adversary_weight: of the similarity that the adversary sees; 0 for no adversary.
      batches: "standardised" as in the authors' code, where every batch of training and test of an evaluation
        network (and of an expert) is divided by its standard deviation; or "plain".
      strategy: as in `mtt`.
      steps: N, of a student; None for the authors'.
      student_batch: bases of each step; None for the authors', all.
      max_start_epoch: students start at epochs of an expert below it; None for the authors'.
      learning_rate: of the bases; None for the authors'.
      hallucinator_rate: learning rate of the hallucinators; None for that of the bases.
      initial_step_size: of students; None for the authors'.
      step_size_rate: as in `mtt`.

    Raises:
      ValueError: if a number is out of range, the strategy names an unknown op, or there is one hallucinator with
        the adversary on.

    Reference: Liu, Wang, Yang, Ye, Wang, "Dataset Distillation via Factorization", NeurIPS 2022,
    https://arxiv.org/abs/2210.16774. Deviations: those of `mtt`; the authors keep the step size at 0.001 or above
    (``methods.raw_step_size(least=0.001)``), the logarithm here keeps it positive. The losses are those of
    their code (``methods.released_adversary``; ``methods.paper_adversary`` are the paper's).

    >>> recipe = haba(1, data="cifar10")
    >>> recipe.synthetic, recipe.iterations, recipe.protocol.name
    (hallucinated(), 15000, 'haba')
    >>> recipe.optimizer
    by_group(bases=sgd(100.0, momentum=0.95), hallucinators=sgd(100.0, momentum=0.95), \
step_size=sgd(0.001, momentum=0.9))
    """
    del architecture  # the authors' constants are the same for all
    one_of("batches", batches, ("standardised", "plain"))
    if not isinstance(adversary_weight, Real) or not 0 <= float(adversary_weight) < math.inf:
        raise ValueError(
            f"adversary_weight must be at least 0 and finite, got {adversary_weight!r}"
        )
    synthetic = hallucinated(hallucinators, channels=base_channels)
    if adversary_weight and hallucinators < 2:
        raise ValueError(
            f"hallucinators must be at least 2 with the adversary on, which compares two, got {hallucinators} "
            "(without it: adversary_weight 0)"
        )
    row = changed(
        row_of(HABA, data, ipc),
        steps=steps,
        batch=student_batch,
        max_start_epoch=max_start_epoch,
        image_rate=learning_rate,
        step_size=initial_step_size,
    )
    strategy = default_strategy(data) if strategy is None else strategy
    base = from_row("haba", ipc, row, data=data, strategy=strategy, step_size_rate=step_size_rate)
    objective = base.objective
    if adversary_weight:
        objective = add(objective, scale(float(adversary_weight), view_similarity()))
    return dataclasses.replace(
        base,
        synthetic=synthetic,
        objective=objective,
        optimizer=by_group(
            bases=sgd(row.image_rate, momentum=0.95),
            hallucinators=sgd(
                row.image_rate if hallucinator_rate is None else hallucinator_rate, momentum=0.95
            ),
            step_size=sgd(
                log_rate(row.step_size_rate) if step_size_rate is None else step_size_rate,
                momentum=0.9,
            ),
        ),
        iterations=iterations_for(data, paper=15_000),
        protocol=haba_protocol(strategy) if batches == "standardised" else dsa_protocol(strategy),
    )
