"""What the recipes of all families share: choices that are checked, printed, compared and saved as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import optax

from jdd.choice import Choice, from_json
from jdd.evaluate import EvaluationProtocol
from jdd.methods.optimizers import Optimizer
from jdd.validation import at_least, one_of

VERSION = 1
"""Of `RecipeRecord.to_json`."""


@dataclasses.dataclass(frozen=True)
class RecipeRecord:
    """A method as one value; each family is a frozen dataclass whose fields are its choices.

    Attributes:
      family: what the loop goes over: "networks" or "trajectories".
      choices: the fields that are choices, each with its kind.
      optional: those of them that may be None.
      counts: the fields that are whole numbers of at least 1.
      length: the field that is the length of a run in rounds.
    """

    family: ClassVar[str]
    choices: ClassVar[Mapping[str, type[Choice]]]
    optional: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[tuple[str, ...]]
    length: ClassVar[str]

    def check_fields(self) -> None:
        """Raises a ``ValueError`` that names a choice of another kind, or a number out of range."""
        values = vars(self)
        if isinstance(values["optimizer"], optax.GradientTransformation):
            object.__setattr__(self, "optimizer", Optimizer(values["optimizer"]))
        for name, kind in self.choices.items():
            value = values[name]
            if not isinstance(value, kind) and not (name in self.optional and value is None):
                raise ValueError(
                    f"{name} must be of kind {kind.__name__}, got {value!r} ({type(value).__name__})"
                )
        protocol = values["protocol"]
        if not isinstance(protocol, EvaluationProtocol):
            raise ValueError(f"protocol must be an EvaluationProtocol, got {protocol!r}")
        if not isinstance(values["name"], str):
            raise ValueError(f"name must be a text, got {values['name']!r}")
        for name in self.counts:
            # As Python's int, for JSON.
            object.__setattr__(self, name, at_least(name, values[name], 1))
        one_of("pool", values["pool"], ("S", "SS"))

    @property
    def rounds(self) -> int:
        """The length of a run: networks, or iterations."""
        return getattr(self, self.length)

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
        if self.family != "networks":  # whose records have no such entry
            entries["family"] = self.family
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            try:
                is_plain = not isinstance(value, Choice | EvaluationProtocol)
                entries[field.name] = value if is_plain else value.to_json()
            except ValueError as error:
                raise ValueError(f"the recipe cannot be saved: {field.name}: {error}") from None
        return entries

    @classmethod
    def from_json(cls, content: str | Mapping[str, Any]) -> Self:
        """The recipe that `to_json` (text) or `record` (an object) wrote.

        Raises:
          ValueError: naming the entry that is missing, unknown or cannot be.
        """
        entries = entries_of(content)
        family = entries.pop("family", "networks")
        if family != cls.family:
            raise ValueError(f"the recipe is of the family {family!r}, not {cls.family!r}")
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


def entries_of(content: str | Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a recipe in JSON, without its version.

    Raises:
      ValueError: if it is no JSON object, or of another version.
    """
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except json.JSONDecodeError as error:
            raise ValueError(f"the recipe is not JSON: {error}") from None
    if not isinstance(content, Mapping) or content.get("version") != VERSION:
        version = content.get("version") if isinstance(content, Mapping) else content
        raise ValueError(f"the recipe has version {version!r}, this jdd reads version {VERSION}")
    return {name: value for name, value in content.items() if name != "version"}
