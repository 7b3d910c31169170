"""Named evaluation protocols: how fresh networks are trained on a small set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from jdd.augment import (
    DC_STRATEGY,
    STRATEGY,
    STRATEGY_NO_FLIP,
    Augmentation,
    batch_standardised,
    cutmix_augmentation,
    dc_augmentation,
    dsa_augmentation,
    dsa_or_none,
    idc_augmentation,
    no_augmentation,
)
from jdd.choice import from_json
from jdd.nn import Network
from jdd.training import SGD
from jdd.validation import at_least, positive, share

VERSION = 2
"""Of `EvaluationProtocol.to_json`. Version 1 is that of the sets of jdd 0.1, which are still read."""


@dataclasses.dataclass(frozen=True)
class EvaluationProtocol:
    """How a set is evaluated: SGD by epochs, whose learning rate falls at milestones.

    Without milestones it is DC's: E + 1 epochs are trained, and the rate falls once, after E // 2 + 2 of
    them. With milestones exactly E epochs are trained.

    Attributes:
      name: in reports.
      epochs: the E of the papers.
      augment: of each minibatch, parameters per image.
      learning_rate, momentum, weight_decay, batch_size: of SGD.
      batch_norm: the protocol for the ConvNet with BatchNorm, where that is another one (DC's code
        augments there); None where it is the same.
      milestones: shares of the epochs, rounded down to whole epochs, after which the learning rate is
        multiplied by `decay`; empty for DC's.
      decay: the factor at each milestone.
      restart_momentum: whether the momentum starts again from zero at each milestone.
      checkpoints: how many times each network is tested, at evenly spaced epochs up to the last (IDC: 4).
        The accuracy is that of the last epoch; the best of several is reported beside it.

    Raises:
      ValueError: for a number that cannot be.
    """

    name: str
    epochs: int
    augment: Augmentation = no_augmentation()
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    batch_norm: EvaluationProtocol | None = None
    milestones: tuple[float, ...] = ()
    decay: float = 0.1
    restart_momentum: bool = True
    checkpoints: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"name must be a text, got {self.name!r}")
        if not isinstance(self.augment, Augmentation):
            raise ValueError(f"augment must be an Augmentation, got {self.augment!r}")
        if not isinstance(self.batch_norm, EvaluationProtocol | None):
            raise ValueError(
                f"batch_norm must be an EvaluationProtocol or None, got {self.batch_norm!r}"
            )
        for field in ("epochs", "batch_size", "checkpoints"):
            at_least(field, getattr(self, field), 1)
        positive("learning_rate", self.learning_rate)
        share("momentum", self.momentum)
        share("weight_decay", self.weight_decay)
        positive("decay", self.decay)
        if not isinstance(self.restart_momentum, bool):
            raise ValueError(
                f"restart_momentum must be True or False, got {self.restart_momentum!r}"
            )
        if not _are_increasing_shares(self.milestones):
            raise ValueError(
                f"milestones must be increasing shares between 0 and 1, got {self.milestones!r}"
            )
        object.__setattr__(self, "milestones", tuple(self.milestones))

    @property
    def trained_epochs(self) -> int:
        """How many epochs a network is trained for."""
        return self.epochs if self.milestones else self.epochs + 1

    @property
    def decay_after(self) -> tuple[int, ...]:
        """The numbers of epochs after which the learning rate falls.

        >>> PROTOCOLS["dc"].decay_after, PROTOCOLS["idc"].decay_after
        ((152,), (666, 833))
        """
        if not self.milestones:
            return (self.epochs // 2 + 2,)
        # 5 / 6 * 6 need not be 5 in floats.
        return tuple(math.floor(share * self.epochs + 1e-6) for share in self.milestones)

    @property
    def sgd(self) -> SGD:
        """The optimiser of the evaluation networks."""
        return SGD(
            self.learning_rate,
            self.momentum,
            self.weight_decay,
            self.batch_size,
            milestones=self.decay_after,
            decay=self.decay,
            restart_momentum=self.restart_momentum,
        )

    def for_network(self, network: Network) -> EvaluationProtocol:
        """The protocol for an evaluation network.

        DC's code augments for the ConvNet with BatchNorm and ReLU, and for no other BatchNorm.

        >>> from jdd.nn import network
        >>> PROTOCOLS["dc"].for_network(network("convnetbn")).name
        'dc-crop-noise'
        """
        is_convnet = network.architecture == "convnet" and network.options["activation"] == "relu"
        if is_convnet and network.norm == "batch" and self.batch_norm is not None:
            return self.batch_norm
        return self

    def with_epochs(self, epochs: int | None) -> EvaluationProtocol:
        """The protocol with another number of epochs, which its name then states; None for its own.

        >>> PROTOCOLS["dc"].with_epochs(20).name
        'dc, 20 epochs'
        """
        if epochs is None:
            return self
        # Also where the number is the same here: that of the other protocol need not be.
        inner = self.batch_norm and self.batch_norm.with_epochs(epochs)
        name = self.name if epochs == self.epochs else f"{self.name}, {epochs} epochs"
        return dataclasses.replace(self, name=name, epochs=epochs, batch_norm=inner)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON, so that a set can carry it in its file.

        ``trained_epochs`` and ``decay_after`` are for those who read the file with another library; here
        they follow from ``epochs`` and ``milestones``.

        >>> record = PROTOCOLS["dc"].to_json()
        >>> record["trained_epochs"], record["decay_after"], record["decay"]
        (301, [152], 0.1)
        """
        return {
            "version": VERSION,
            **{f: getattr(self, f) for f in ("name", "epochs", *_NUMBERS, *_FALLS)},
            "checkpoints": self.checkpoints,
            "milestones": list(self.milestones),
            "augment": self.augment.to_json(),
            "batch_norm": self.batch_norm and self.batch_norm.to_json(),
            "trained_epochs": self.trained_epochs,
            "decay_after": list(self.decay_after),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> EvaluationProtocol:
        """The protocol that `to_json` wrote, in this version or version 1.

        Entries unknown to this version are refused, because they may change the result.

        Raises:
          ValueError: naming the entry that is missing, cannot be, or is not known to this version.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"a protocol must be a JSON object, got {content!r}")
        version = content.get("version", 1)
        if version not in (1, VERSION):
            raise ValueError(
                f"the protocol has version {version!r}, this jdd reads versions 1 and {VERSION}"
            )
        read = _from_version_1 if version == 1 else _from_version_2
        try:
            protocol = read(content)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"the protocol cannot be read: entry {error} is missing or wrong"
            ) from None
        return protocol

    def describe(self) -> str:
        """One line for reports."""
        augment = self.augment
        words = (
            "no augmentation"
            if augment.is_none
            else f"{augment.name.upper()} augmentation {augment.strategy}"
        )
        factor = "a tenth" if self.decay == 0.1 else f"times {self.decay:g}"
        after = self.decay_after
        when = " and ".join(map(str, after))
        best = f" and best of {self.checkpoints} epochs" if self.checkpoints > 1 else ""
        return (
            f"{self.name}: {self.trained_epochs} epochs of SGD (learning rate {self.learning_rate}, {factor} "
            f"after epoch{'s' * (len(after) > 1)} {when} with momentum "
            f"{'restarted' if self.restart_momentum else 'kept'}; momentum {self.momentum}, weight "
            f"decay {self.weight_decay}, batch {self.batch_size}), {words}, accuracy "
            f"of the last epoch on the whole test set{best}"
        )


_NUMBERS = ("learning_rate", "momentum", "weight_decay", "batch_size")
_FALLS = ("milestones", "decay", "restart_momentum")


def _are_increasing_shares(values: Any) -> bool:
    if not isinstance(values, tuple | list) or not all(isinstance(v, Real) for v in values):
        return False
    return all(a < b for a, b in zip((0.0, *values), (*values, 1.0), strict=True))


def _from_version_2(content: Mapping[str, Any]) -> EvaluationProtocol:
    inner = content["batch_norm"]
    protocol = EvaluationProtocol(
        content["name"],
        content["epochs"],
        from_json(content["augment"]),
        **{name: content[name] for name in (*_NUMBERS, *_FALLS)},
        batch_norm=None if inner is None else EvaluationProtocol.from_json(inner),
        checkpoints=content.get("checkpoints", 1),
    )
    _refuse_differences("the protocol", protocol.to_json(), content)
    return protocol


def _from_version_1(content: Mapping[str, Any]) -> EvaluationProtocol:
    strategy, augmenter = content["augmentation"], content["augmenter"]
    if augmenter not in ("dsa", "dc") or not isinstance(strategy, str):
        raise ValueError(
            f"augmenter must be dsa or dc with a text, got {augmenter!r}, {strategy!r}"
        )
    if augmenter == "dc" and strategy != "none":
        augment = dc_augmentation(strategy)
    else:
        augment = dsa_or_none(strategy)
    name = content["name"]
    numbers = {n: content[n] for n in _NUMBERS}
    known = PROTOCOLS.get(name)
    protocol = EvaluationProtocol(name, content["epochs"], augment, **numbers)
    ours = {
        "version": 1,
        **{entry: content[entry] for entry in ("name", "epochs", "augmentation", "augmenter")},
        **numbers,
        "trained_epochs": protocol.epochs + 1,
        "decay": {
            "after": protocol.epochs // 2 + 2,
            "factor": 0.1,
            "momentum_starts_anew": True,
        },
    }
    for entry in ours.keys() - content.keys() - {"version"}:
        raise KeyError(entry)
    _refuse_differences(f"the protocol {name}", ours, content)
    if known is not None and dataclasses.replace(known, batch_norm=None) == protocol:
        return known
    return protocol


def _refuse_differences(protocol: str, ours: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        if name not in ours or ours[name] != value:
            raise ValueError(
                f"{protocol} has {name} {value!r}, this jdd has {ours.get(name, 'no such entry')!r}"
            )


def idc_training(name: str, augment: Augmentation) -> EvaluationProtocol:
    """IDC's training of networks, under an augmentation."""
    return EvaluationProtocol(
        name,
        1000,
        augment,
        batch_size=64,
        milestones=(2 / 3, 5 / 6),
        decay=0.2,
        restart_momentum=False,
        checkpoints=4,
    )


_DC_BATCH_NORM = EvaluationProtocol("dc-crop-noise", 1000, dc_augmentation("crop_noise"))

PROTOCOLS: dict[str, EvaluationProtocol] = {
    protocol.name: protocol
    for protocol in (
        EvaluationProtocol("dc", 300, batch_norm=_DC_BATCH_NORM),
        EvaluationProtocol(
            "dc-crop-scale-rotate", 1000, dc_augmentation(DC_STRATEGY), batch_norm=_DC_BATCH_NORM
        ),
        _DC_BATCH_NORM,
        EvaluationProtocol("cafe", 600, batch_norm=_DC_BATCH_NORM),
        EvaluationProtocol("dsa", 1000, dsa_augmentation(STRATEGY)),
        EvaluationProtocol("dsa-no-flip", 1000, dsa_augmentation(STRATEGY_NO_FLIP)),
        EvaluationProtocol("haba", 1000, batch_standardised(dsa_augmentation(STRATEGY))),
        EvaluationProtocol(
            "haba-no-flip", 1000, batch_standardised(dsa_augmentation(STRATEGY_NO_FLIP))
        ),
        idc_training(
            "idc", cutmix_augmentation(0.5, base=idc_augmentation("color_crop_flip_scale_rotate"))
        ),
        idc_training(
            "idc-no-flip",
            cutmix_augmentation(0.5, base=idc_augmentation("color_crop_scale_rotate")),
        ),
        idc_training("idc-no-cutmix", idc_augmentation("color_crop_scale_rotate")),
    )
}
"""DC's protocol (on MNIST with crop_scale_rotate, with BatchNorm crop_noise), CAFE's where it does
not augment, DSA's (without flip on digits), HaBa's (the same on standardised batches), and IDC's (without
flip on digits, without CutMix on MNIST)."""
