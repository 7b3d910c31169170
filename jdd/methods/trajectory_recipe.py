"""TrajectoryRecipe: a method that matches recorded trajectories, as one value whose fields are its choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from jdd.augment import Augmentation, no_augmentation
from jdd.choice import Choice
from jdd.evaluate import EvaluationProtocol
from jdd.matching import Stage
from jdd.methods.optimizers import Optimizer
from jdd.methods.recipe import Pool
from jdd.methods.recipe_record import RecipeRecord
from jdd.methods.set_labels import Labels, hard_labels
from jdd.methods.start_epochs import StartEpochs
from jdd.methods.student_step import StepSize, log_step_size
from jdd.synthetic import Initial, Parametrisation, from_real, pixels
from jdd.validation import positive, share

TRAJECTORY_CHOICES: dict[str, type[Choice]] = {
    "synthetic": Parametrisation,
    "initial": Initial,
    "labels": Labels,
    "augment": Augmentation,
    "objective": Stage,
    "step_size": StepSize,
    "start_epochs": StartEpochs,
    "optimizer": Optimizer,
}
"""The fields of a trajectory recipe that are choices, each with its kind."""


@dataclasses.dataclass(frozen=True)
class TrajectoryRecipe(RecipeRecord):
    """Matching students, trained on the synthetic set, with recorded experts: every choice of a method.

    For each of `iterations`: draw an expert, and an epoch of it (`start_epochs`); train a student from there
    on the synthetic set; compare it with the expert `expert_epochs` later (`objective`); move the synthetic
    parameters, the student's step size and learned labels (`optimizer`).

    Attributes:
      name: of the method.
      ipc: stored images per class.
      objective: what must agree; ends in a scalar. It sees a ``matching.SyntheticSet`` and a
        ``matching.Segment``: ``chain(unroll(...), trajectory_distance())``.
      optimizer: `by_group` of the groups of the parametrisation, ``step_size``, and ``labels`` where they are
        learned; or one for all.
      start_epochs: where on an expert's trajectory students start.
      expert_epochs: epochs of the expert between start and target.
      protocol: the evaluation that belongs to the method; the learned step size replaces its learning rate.
      synthetic: what is learned, and how it becomes images.
      initial: where it starts.
      labels: hard, learned, or the target's.
      step_size: of students, learned.
      augment: of each of the student's minibatches, parameters per image.
      iterations: updates of the synthetic set.
      skip_above: a loss above which an iteration updates nothing (DATM); None for no such.
      average: decay of a moving average of the parametrisation's parameters, which is the set that is
        evaluated and stored (FTD); None for none.
      stop_above: a loss above which a run stops as one that diverged, unless `skip_above` skips it; None for
        only where it is not finite.
      pool: the default evaluation network; "S" and "SS" are the same here, where no network has BatchNorm.

    Raises:
      ValueError: naming the choice that is of another kind, or the number that is out of range.

    >>> import jdd
    >>> recipe = jdd.mtt(ipc=10, data="cifar10")
    >>> recipe == jdd.TrajectoryRecipe.from_json(recipe.to_json()), recipe.iterations
    (True, 5000)
    """

    family: ClassVar[str] = "trajectories"
    choices: ClassVar[Mapping[str, type[Choice]]] = TRAJECTORY_CHOICES
    counts: ClassVar[tuple[str, ...]] = ("ipc", "expert_epochs", "iterations")
    length: ClassVar[str] = "iterations"

    name: str
    ipc: int
    objective: Stage
    optimizer: Optimizer
    start_epochs: StartEpochs
    expert_epochs: int
    protocol: EvaluationProtocol
    synthetic: Parametrisation = pixels
    initial: Initial = from_real()
    labels: Labels = hard_labels()
    step_size: StepSize = log_step_size()
    augment: Augmentation = no_augmentation()
    iterations: int = 5000
    skip_above: float | None = None
    average: float | None = None
    stop_above: float | None = 1e4
    pool: Pool = "S"

    def __post_init__(self) -> None:
        self.check_fields()
        if self.iterations >= 2**31:
            raise ValueError(f"iterations must be below {2**31}, got {self.iterations}")
        for name in ("skip_above", "stop_above"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, positive(name, getattr(self, name)))
        if self.average is not None:
            object.__setattr__(self, "average", share("average", self.average))

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, each an iteration."""
        return self.iterations

    @property
    def length_in_words(self) -> str:
        """The length of a run."""
        return f"{self.iterations} iterations"

    @property
    def steps_per_round(self) -> int:
        """An iteration is a step."""
        return 1

    @property
    def unit(self) -> str:
        """What a step is called."""
        return "iteration"

    @property
    def is_extensible(self) -> bool:
        """Whether a longer run begins as a shorter one."""
        return True

    @property
    def last_epoch(self) -> int:
        """The last epoch of an expert that a run reads."""
        return self.start_epochs.stop - 1 + self.expert_epochs

    def facts(self, network: str) -> dict[str, str]:
        """The choices in words, for the head of a run on that network."""
        labels = f", {self.labels!r}" if self.labels.is_soft else ""
        return {
            "method": f"{self.name}, {self.ipc} stored per class, {self.synthetic!r} {self.initial!r}{labels}, "
            f"{self.augment!r}",
            "objective": f"{self.objective!r}, {self.step_size!r}",
            "network": network,
            "loops": f"{self.iterations} iterations; students start at {self.start_epochs!r} and match "
            f"{self.expert_epochs} epochs of an expert",
        }
