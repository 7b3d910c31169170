"""Everything that makes one run another: recipe, data, network, evaluation and seed, as one value."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

from jdd.methods import Recipe, TrajectoryRecipe, recipe_from_json
from jdd.nn import Network, network
from jdd.validation import at_least, one_of

VERSION = 1
"""Of `Configuration.record`."""


@dataclasses.dataclass(frozen=True)
class DataChoice:
    """Which data set.

    Attributes:
      name: as ``load_dataset`` takes it.
      classes: only these classes, by name or index, in this order; empty for all.
      test_share: the share of each class that is test, for folders without a test split; None
        where the data set has one.
      fingerprint: of the training images (``Dataset.fingerprint``); empty before they are loaded. Two
        names with one fingerprint are the same data.
    """

    name: str = "digits"
    classes: tuple[str, ...] = ()
    test_share: float | None = None
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class ExpertsChoice:
    """Which recorded experts.

    Attributes:
      folder: of their store.
      fingerprint: of their snapshots (``Store.fingerprint``); empty before the store is opened. Two folders
        with one fingerprint are the same experts.
    """

    folder: str
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """What is measured during a run and at its end.

    Attributes:
      networks: networks trained for the final number; a quarter of it during the run.
      every: networks of the run (or iterations, with trajectories) between two evaluations; 0: only at the
        end.
      epochs: of an evaluation network in place of the protocol's; None for the protocol's.
      norm: of the evaluation network; None for that of the recipe's pool.
      random: whether networks are also trained on random real images.
      whole: whether one is also trained on the whole real set; "auto": where that is short.

    Raises:
      ValueError: naming the number that is out of range.
    """

    networks: int = 20
    every: int = 0
    epochs: int | None = None
    norm: str | None = None
    random: bool = True
    whole: Literal["auto", "yes", "no"] = "auto"

    def __post_init__(self) -> None:
        at_least("networks", self.networks, 1)
        at_least("every", self.every, 0)
        if self.epochs is not None:
            at_least("epochs", self.epochs, 1)
        one_of("whole", self.whole, ("auto", "yes", "no"))


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One run: what the command line edits, ``config.json`` holds and a resumed run is compared with.

    Attributes:
      recipe: the method.
      data: the data set.
      network: the architecture that is matched on.
      evaluation: what is measured.
      seed: of all randomness.
      experts: that are matched; None for methods that match none.

    Raises:
      ValueError: if the seed is not from 0 to 2**32 - 1, or there are experts that the recipe does not match.

    >>> import jdd
    >>> run = Configuration(jdd.dsa(1, data="digits"), DataChoice("digits"))
    >>> run == Configuration.from_record(run.record())
    True
    """

    recipe: Recipe | TrajectoryRecipe
    data: DataChoice = DataChoice()
    network: Network = network("convnet")
    evaluation: EvaluationPlan = EvaluationPlan()
    seed: int = 0
    experts: ExpertsChoice | None = None

    def __post_init__(self) -> None:
        at_least("seed", self.seed, 0)
        if self.experts is not None and not isinstance(self.recipe, TrajectoryRecipe):
            raise ValueError(
                f"experts: {self.recipe.name} matches none, got {self.experts.folder!r}"
            )
        if self.seed >= 2**32:
            raise ValueError(f"seed must be from 0 to {2**32 - 1}, got {self.seed}")

    @property
    def eval_network(self) -> Network:
        """The evaluation network: the recipe's pool, with the plan's norm.

        Raises:
          ValueError: if it has no norm to choose.
        """
        return evaluation_network(self.network, self.recipe.pool, self.evaluation.norm)

    def record(self) -> dict[str, Any]:
        """Everything as a JSON object; the inverse is `from_record`.

        Raises:
          ValueError: naming a choice of the recipe that has no name.
        """
        # Runs without experts have no such entry, as before there were any.
        experts = {} if self.experts is None else {"experts": dataclasses.asdict(self.experts)}
        return {
            "version": VERSION,
            "recipe": self.recipe.record(),
            "data": json.loads(json.dumps(dataclasses.asdict(self.data))),
            "network": self.network.to_json(),
            "evaluation": dataclasses.asdict(self.evaluation),
            "seed": self.seed,
            **experts,
        }

    @classmethod
    def from_record(cls, content: Mapping[str, Any]) -> Configuration:
        """The configuration that `record` wrote.

        Raises:
          ValueError: naming the entry that is missing, unknown or cannot be.
        """
        if not isinstance(content, Mapping) or content.get("version") != VERSION:
            version = content.get("version") if isinstance(content, Mapping) else content
            raise ValueError(
                f"the configuration has version {version!r}, this jdd reads version {VERSION}"
            )
        entries = [field.name for field in dataclasses.fields(cls)]
        for name in content:
            one_of("entry of the configuration", name, ["version", *entries])
        for name in entries:
            if name not in content and name != "experts":
                raise ValueError(f"the configuration has no entry {name!r}")
        data = dict(_entries("data", content["data"], DataChoice))
        if "classes" in data:
            if not isinstance(data["classes"], list | tuple):
                raise ValueError(f"classes must be a list, got {data['classes']!r}")
            data["classes"] = tuple(data["classes"])
        plan = _entries("evaluation", content["evaluation"], EvaluationPlan)
        experts = content.get("experts")
        return cls(
            recipe_from_json(content["recipe"]),
            DataChoice(**data),
            Network.from_json(content["network"]),
            EvaluationPlan(**plan),
            content["seed"],
            None
            if experts is None
            else ExpertsChoice(**_entries("experts", experts, ExpertsChoice)),
        )


def evaluation_network(network: Network, pool: str, norm: str | None) -> Network:
    """The evaluation network that belongs to the network that is matched on.

    Args:
      network: that is matched on.
      pool: "SS", the same network, or "S", without its BatchNorm.
      norm: another norm; None for that of the pool.

    Raises:
      ValueError: if the architecture has no norm to choose, or the pool is unknown.

    >>> from jdd import nn
    >>> evaluation_network(nn.network("convnetbn"), "S", None).norm
    'instance'
    """
    one_of("pool", pool, ("S", "SS"))
    # With BatchNorm, the papers' variants of an architecture (downsampling) are kept too.
    keeps = pool == "SS" if norm is None else norm == "batch"
    base = network if keeps else network.without_batch_norm()
    if norm is None:
        return base
    if "norm" not in base.options:
        raise ValueError(f"norm: {base.architecture} has no norm")
    return base.replace(norm=norm)


def _entries(name: str, content: Any, kind: type) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise ValueError(f"the entry {name} must be a JSON object, got {content!r}")
    for entry in content:
        one_of(f"entry of {name}", entry, [field.name for field in dataclasses.fields(kind)])
    return content
