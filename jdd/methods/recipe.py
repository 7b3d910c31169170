"""Recipe: a method that matches networks, as one value whose fields are its choices."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

import optax

from jdd.augment import Augmentation, no_augmentation
from jdd.choice import Choice, from_json
from jdd.data import Sampler, uniform
from jdd.evaluate import EvaluationProtocol
from jdd.matching import Stage
from jdd.methods.motion import Motion, never
from jdd.methods.norm_policy import NormPolicy, frozen_statistics
from jdd.methods.optimizers import Decay, Optimizer
from jdd.streaming import Over, check_over
from jdd.synthetic import Initial, Parametrisation, from_real, pixels
from jdd.validation import at_least, one_of

VERSION = 1
"""Of `Recipe.to_json`."""

Pool = Literal["S", "SS"]


@dataclasses.dataclass(frozen=True)
class Recipe:
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
        if isinstance(self.optimizer, optax.GradientTransformation):
            object.__setattr__(self, "optimizer", Optimizer(self.optimizer))
        for name, kind in CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) and not (name == "decay" and value is None):
                raise ValueError(
                    f"{name} must be of kind {kind.__name__}, got {value!r} ({type(value).__name__})"
                )
        if not isinstance(self.protocol, EvaluationProtocol):
            raise ValueError(f"protocol must be an EvaluationProtocol, got {self.protocol!r}")
        if not isinstance(self.name, str):
            raise ValueError(f"name must be a text, got {self.name!r}")
        for name in ("ipc", "networks", "updates", "networks_per_update"):
            # As Python's int, for JSON.
            object.__setattr__(self, name, at_least(name, getattr(self, name), 1))
        if self.networks * self.updates >= 2**31:
            raise ValueError(
                f"networks times updates must be below {2**31}, got {self.networks} x {self.updates}"
            )
        one_of("pool", self.pool, ("S", "SS"))
        check_over("over_classes", self.over_classes)

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, each an update (or none, after queries replaced a network early)."""
        return self.networks * self.updates

    def __str__(self) -> str:
        width = max(len(field.name) for field in dataclasses.fields(self))
        lines = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None:
                text = value.describe() if isinstance(value, Choice | EvaluationProtocol) else value
                lines.append(f"{field.name:<{width}}  {text}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """The whole recipe as JSON text.

        Raises:
          ValueError: naming a choice that no registered factory made (``jdd.register``).
        """
        return json.dumps(self.record(), indent=2)

    def record(self) -> dict[str, Any]:
        """The whole recipe as a JSON object; see `to_json`."""
        entries: dict[str, Any] = {"version": VERSION}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            try:
                is_plain = not isinstance(value, Choice | EvaluationProtocol)
                entries[field.name] = value if is_plain else value.to_json()
            except ValueError as error:
                raise ValueError(f"the recipe cannot be saved: {field.name}: {error}") from None
        return entries

    @classmethod
    def from_json(cls, content: str | Mapping[str, Any]) -> Recipe:
        """The recipe that `to_json` (text) or `record` (an object) wrote.

        Raises:
          ValueError: naming the entry that is missing, unknown or cannot be.
        """
        if isinstance(content, str):
            try:
                content = json.loads(content)
            except json.JSONDecodeError as error:
                raise ValueError(f"the recipe is not JSON: {error}") from None
        if not isinstance(content, Mapping) or content.get("version") != VERSION:
            version = content.get("version") if isinstance(content, Mapping) else content
            raise ValueError(
                f"the recipe has version {version!r}, this jdd reads version {VERSION}"
            )
        entries = {name: value for name, value in content.items() if name != "version"}
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in entries:
            one_of("entry of a recipe", name, fields)
        for name, field in fields.items():
            if name not in entries and field.default is dataclasses.MISSING:
                raise ValueError(f"the recipe has no entry {name}")
        values = {}
        for name, value in entries.items():
            try:
                is_protocol = name == "protocol"
                values[name] = (
                    EvaluationProtocol.from_json(value) if is_protocol else from_json(value)
                )
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return cls(**values)


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
