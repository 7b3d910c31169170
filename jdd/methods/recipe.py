"""Recipe: a method that matches networks, as one value whose fields are its choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

from jdd.augment import Augmentation, no_augmentation
from jdd.choice import Choice
from jdd.data import Sampler, uniform
from jdd.evaluate import EvaluationProtocol
from jdd.matching import Stage
from jdd.methods.motion import Motion, never
from jdd.methods.norm_policy import NormPolicy, frozen_statistics
from jdd.methods.optimizers import Decay, Optimizer
from jdd.methods.recipe_record import RecipeRecord
from jdd.streaming import Over, check_over
from jdd.synthetic import Initial, Parametrisation, from_real, pixels

Pool = Literal["S", "SS"]

CHOICES: dict[str, type[Choice]] = {
    "synthetic": Parametrisation,
    "initial": Initial,
    "sampler": Sampler,
    "augment": Augmentation,
    "objective": Stage,
    "motion": Motion,
    "optimizer": Optimizer,
    "norm_policy": NormPolicy,
    "decay": Decay,
}
"""The fields of a recipe that are choices, each with its kind."""


@dataclasses.dataclass(frozen=True)
class Recipe(RecipeRecord):
    """Matching synthetic with real images on a sequence of fresh networks: every choice of a method.

    For each of `networks` networks, `updates` times: draw real images (`sampler`), augment both sides
    alike (`augment`), compare them (`objective`), move the synthetic parameters (`optimizer`), move the
    network (`motion`). ``dataclasses.replace(recipe, sampler=...)`` makes another method;
    ``jdd.methods.build(recipe, model)`` makes it run.

    Attributes:
      name: of the method.
      ipc: stored images per class.
      objective: what must agree; ends in a scalar. It sees a class-stacked synthetic ``Batch`` and the
        sampler's ``Draw``.
      optimizer: moves the synthetic parameters; any optax transform.
      protocol: the evaluation that belongs to the method.
      synthetic: what is learned, and how it becomes images.
      initial: where it starts.
      sampler: which real images are matched.
      augment: what both sides go through in ``siamese()``, and what the network trains under.
      motion: how the network moves between two updates.
      networks: K, fresh random networks.
      updates: T, updates of the synthetic set on each network (at most, where queries decide).
      norm_policy: what BatchNorm does while networks are matched.
      decay: factor on the optimiser's steps, by network; None for 1.
      networks_per_update: the loss of an update is averaged over so many networks (never trained).
      pool: the default evaluation network: "SS", that which was matched on, or "S", the same without its
        BatchNorm.
      over_classes: how classes are run: "map", "vmap", or k at a time; None for "map".

    Raises:
      ValueError: naming the choice that is of another kind, or the number that is out of range.

    >>> import jdd
    >>> recipe = jdd.dsa(ipc=10, data="cifar10")
    >>> recipe == jdd.Recipe.from_json(recipe.to_json()), recipe.networks, recipe.updates
    (True, 1000, 10)
    """

    family: ClassVar[str] = "networks"
    choices: ClassVar[Mapping[str, type[Choice]]] = CHOICES
    optional: ClassVar[tuple[str, ...]] = ("decay",)
    counts: ClassVar[tuple[str, ...]] = ("ipc", "networks", "updates", "networks_per_update")
    length: ClassVar[str] = "networks"

    name: str
    ipc: int
    objective: Stage
    optimizer: Optimizer
    protocol: EvaluationProtocol
    synthetic: Parametrisation = pixels
    initial: Initial = from_real()
    sampler: Sampler = uniform()
    augment: Augmentation = no_augmentation()
    motion: Motion = never()
    networks: int = 1000
    updates: int = 1
    norm_policy: NormPolicy = frozen_statistics()
    decay: Decay | None = None
    networks_per_update: int = 1
    pool: Pool = "S"
    over_classes: Over = None

    def __post_init__(self) -> None:
        self.check_fields()
        if self.networks * self.updates >= 2**31:
            raise ValueError(
                f"networks times updates must be below {2**31}, got {self.networks} x {self.updates}"
            )
        check_over("over_classes", self.over_classes)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, each an update (or none, after queries replaced a network early)."""
        return self.networks * self.updates

    @property
    def length_in_words(self) -> str:
        """The length of a run."""
        return f"{self.networks} networks x {self.updates} updates"

    @property
    def steps_per_round(self) -> int:
        """Steps of the loop on each network."""
        return self.updates

    @property
    def unit(self) -> str:
        """What a step is called: an update of the set, where every step is one."""
        return "update" if self.motion.is_done is None else "step"

    @property
    def is_extensible(self) -> bool:
        """Whether a longer run begins as a shorter one: its steps do not depend on its length."""
        return self.decay is None and self.motion.is_done is None

    def facts(self, network: str) -> dict[str, str]:
        """The choices in words, for the head of a run on that network."""
        at_most = "" if self.motion.is_done is None else "at most "
        return {
            "method": f"{self.name}, {self.ipc} stored per class, {self.synthetic!r} {self.initial!r}, "
            f"{self.augment!r}",
            "objective": f"{self.objective!r}, {self.sampler!r}",
            "network": f"{network}, {self.motion!r}",
            "loops": f"{self.networks} networks x {at_most}{self.updates} updates of the set",
        }
