"""Everything that makes one set of experts another, as one value."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jdd.augment import Augmentation, dsa_augmentation
from jdd.choice import from_json
from jdd.configuration import DataChoice
from jdd.data import Normalisation, per_channel
from jdd.file_names import file_name
from jdd.nn import Network, network
from jdd.nn.registry import default_options
from jdd.training import SGD, Flatness
from jdd.validation import at_least, one_of

VERSION = 1
"""Of `ExpertPlan.record`."""


@dataclasses.dataclass(frozen=True)
class ExpertPlan:
    """How experts are trained. The defaults are MTT's, but for the number of epochs (50).

    Only epochs that a run reads are worth storing: the largest epoch at which a student starts, plus those
    of the expert that it is to match.

    Attributes:
      epochs: after each of which the parameters are stored; those before the first are stored too.
      data: the data set.
      network: the architecture; without BatchNorm, whose statistics are no parameters.
      sgd: the optimiser.
      augment: of each minibatch, parameters per image.
      normalisation: how stored images become what networks see.
      flatness: changes the gradient, for flat trajectories (FTD); None for plain SGD.
      seed: of all randomness; expert e has a key of its own, which depends on the seed and e alone.

    Raises:
      ValueError: naming what cannot be.

    Reference: the buffers of Cazenavette et al., "Dataset Distillation by Matching Training Trajectories",
    CVPR 2022 (https://arxiv.org/abs/2203.11932).

    >>> plan = ExpertPlan(4, network=network("convnet", width=32))
    >>> plan == ExpertPlan.from_record(plan.record())
    True
    """

    epochs: int
    data: DataChoice = DataChoice()
    network: Network = network("convnet")
    sgd: SGD = SGD(0.01, batch_size=256)
    augment: Augmentation = dsa_augmentation()
    normalisation: Normalisation = per_channel()
    flatness: Flatness | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        at_least("seed", self.seed, 0)
        self.sgd.check()
        if self.network.norm == "batch":
            raise ValueError(
                "norm: trajectories hold parameters alone, and BatchNorm has statistics beside them: choose "
                "instance, group, layer or none"
            )

    def with_fingerprint(self, fingerprint: str) -> ExpertPlan:
        """The plan with the fingerprint of the data set that was loaded."""
        return dataclasses.replace(
            self, data=dataclasses.replace(self.data, fingerprint=fingerprint)
        )

    def record(self) -> dict[str, Any]:
        """Everything as a JSON object; the inverse is `from_record`.

        Raises:
          ValueError: naming a choice that has no name.
        """
        sgd = {**self.sgd._asdict(), "milestones": list(self.sgd.milestones)}
        return {
            "version": VERSION,
            "epochs": self.epochs,
            "data": json.loads(json.dumps(dataclasses.asdict(self.data))),
            "network": self.network.to_json(),
            "sgd": sgd,
            "augment": self.augment.to_json(),
            "normalisation": self.normalisation.to_json(),
            "flatness": self.flatness and self.flatness.to_json(),
            "seed": self.seed,
        }

    @classmethod
    def from_record(cls, content: Mapping[str, Any]) -> ExpertPlan:
        """The plan that `record` wrote.

        Raises:
          ValueError: naming the entry that is missing, unknown or cannot be.
        """
        version = content.get("version") if isinstance(content, Mapping) else content
        if version != VERSION:
            raise ValueError(
                f"the experts have version {version!r}, this jdd reads version {VERSION}"
            )
        entries = [field.name for field in dataclasses.fields(cls)]
        for name in content:
            one_of("entry of the experts", name, ["version", *entries])
        try:
            data, sgd, flatness = content["data"], content["sgd"], content["flatness"]
            return cls(
                content["epochs"],
                DataChoice(**{**data, "classes": tuple(data["classes"])}),
                Network.from_json(content["network"]),
                SGD(**{**sgd, "milestones": tuple(sgd["milestones"])}),
                from_json(content["augment"]),
                from_json(content["normalisation"]),
                None if flatness is None else from_json(flatness),
                content["seed"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"the experts cannot be read: entry {error} is missing or wrong"
            ) from None

    def command(self, experts: int, folder: str | Path | None = None) -> str:
        """The command that trains such experts.

        Args:
          experts: how many.
          folder: the store; None for the default (`default_folder`).

        >>> from jdd.data import zca
        >>> ExpertPlan(
        ...     4, DataChoice("cifar10"), network("convnet", width=32), normalisation=zca()
        ... ).command(20)
        'jdd experts --data cifar10 --width 32 --experts 20 --epochs 4 --normalisation zca'
        """
        usual = ExpertPlan(self.epochs)
        words: list[Any] = ["jdd", "experts", "--data", self.data.name]
        words += ["--classes", *self.data.classes] if self.data.classes else []
        if self.data.test_share is not None:
            words += ["--test-share", self.data.test_share]
        if self.network.architecture != "convnet":
            words += ["--model", self.network.architecture]
        options = default_options(self.network.architecture)
        for name, default in options.items():
            if self.network.options[name] != default:
                words += [f"--{name}", self.network.options[name]]
        words += ["--experts", experts, "--epochs", self.epochs]
        for name in ("learning_rate", "momentum", "weight_decay", "batch_size"):
            if (value := getattr(self.sgd, name)) != getattr(usual.sgd, name):
                words += [f"--{name.replace('_', '-')}", value]
        for name in ("augment", "normalisation", "flatness", "seed"):
            if (value := getattr(self, name)) != getattr(usual, name):
                words += [f"--{name}", str(value).removesuffix("()")]
        words += [] if folder is None else ["--out", folder]
        return shlex.join(map(str, words))


def default_folder(plan: ExpertPlan) -> Path:
    """Where a plan's experts are stored, if no other place is chosen.

    The data, the network and what the table of MTT varies are in the name; other settings need a folder of
    their own.

    >>> from jdd.data import zca
    >>> default_folder(ExpertPlan(4, DataChoice("cifar10"), normalisation=zca()))
    PosixPath('experts/cifar10-convnet-d3-w128-zca')
    """
    options = plan.network.options
    parts = [plan.data.name, *plan.data.classes, plan.network.architecture]
    parts += [f"{name[0]}{options[name]}" for name in ("depth", "width") if name in options]
    if plan.normalisation.expression is not None and plan.normalisation != per_channel():
        parts.append(plan.normalisation.expression.name)
    if plan.flatness is not None and plan.flatness.expression is not None:
        parts.append(plan.flatness.expression.name)
    if plan.augment.of_tests is not None:
        parts.append("standardised")
    return Path("experts", file_name("-".join(parts)))
