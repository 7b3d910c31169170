"""Named evaluation protocols: how fresh networks are trained on a small set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jdd.augment import (
    DC_STRATEGY,
    STRATEGY,
    STRATEGY_NO_FLIP,
    Augmentation,
    dc_augmentation,
    dsa_augmentation,
    dsa_or_none,
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
    """How a set is evaluated: SGD whose learning rate falls once, a tenth after half of the epochs.

    Attributes:
      name: in reports.
      epochs: the E of the papers; E + 1 epochs are trained, as the original code does.
      augment: of each minibatch, parameters per image.
      learning_rate, momentum, weight_decay, batch_size: of SGD.
      batch_norm: the protocol for the ConvNet with BatchNorm, where that is another one (DC's code
        augments there); None where it is the same.

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

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"name must be a text, got {self.name!r}")
        if not isinstance(self.augment, Augmentation):
            raise ValueError(f"augment must be an Augmentation, got {self.augment!r}")
        for field in ("epochs", "batch_size"):
            at_least(field, getattr(self, field), 1)
        positive("learning_rate", self.learning_rate)
        share("momentum", self.momentum)
        share("weight_decay", self.weight_decay)

    @property
    def sgd(self) -> SGD:
        """SGD whose learning rate falls after epoch index E//2 + 1, where the momentum restarts."""
        return SGD(
            self.learning_rate,
            self.momentum,
            self.weight_decay,
            self.batch_size,
            milestones=(self.epochs // 2 + 2,),
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
        if epochs is None or epochs == self.epochs:
            return self
        inner = self.batch_norm and self.batch_norm.with_epochs(epochs)
        name = f"{self.name}, {epochs} epochs"
        return dataclasses.replace(self, name=name, epochs=epochs, batch_norm=inner)

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON, so that a set can carry it in its file.

        ``trained_epochs`` and ``decay`` (of the learning rate) are for those who read the file with
        another library; here they follow from ``epochs``.

        >>> PROTOCOLS["dc"].to_json()["decay"]
        {'after': 152, 'factor': 0.1, 'restart_momentum': True}
        """
        decay = {"after": self.epochs // 2 + 2, "factor": 0.1, "restart_momentum": True}
        return {
            "version": VERSION,
            **{f: getattr(self, f) for f in ("name", "epochs", *_NUMBERS)},
            "augment": self.augment.to_json(),
            "batch_norm": self.batch_norm and self.batch_norm.to_json(),
            "trained_epochs": self.epochs + 1,
            "decay": decay,
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
        return (
            f"{self.name}: {self.epochs + 1} epochs of SGD (learning rate {self.learning_rate}, a tenth "
            f"after epoch {self.epochs // 2 + 2} with momentum restarted; momentum {self.momentum}, weight "
            f"decay {self.weight_decay}, batch {self.batch_size}), {words}, accuracy "
            "of the last epoch on the whole test set"
        )


_NUMBERS = ("learning_rate", "momentum", "weight_decay", "batch_size")


def _from_version_2(content: Mapping[str, Any]) -> EvaluationProtocol:
    inner = content["batch_norm"]
    protocol = EvaluationProtocol(
        content["name"],
        content["epochs"],
        from_json(content["augment"]),
        **{name: content[name] for name in _NUMBERS},
        batch_norm=None if inner is None else EvaluationProtocol.from_json(inner),
    )
    _refuse_differences(protocol.to_json(), content)
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
    _refuse_differences(ours, content)
    if known is not None and dataclasses.replace(known, batch_norm=None) == protocol:
        return known
    return protocol


def _refuse_differences(ours: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        if name not in ours or ours[name] != value:
            raise ValueError(
                f"the protocol {ours['name']} has {name} {value!r}, "
                f"this jdd has {ours.get(name, 'no such entry')!r}"
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
    )
}
"""DC's protocol (on MNIST with crop_scale_rotate, with BatchNorm crop_noise), CAFE's where it does
not augment, and DSA's (without flip on digits)."""


def dc_protocol(data: str) -> EvaluationProtocol:
    """DC's protocol for a data set: crop_scale_rotate on MNIST, no augmentation elsewhere.

    >>> dc_protocol("mnist").name, dc_protocol("cifar10").name
    ('dc-crop-scale-rotate', 'dc')
    """
    return PROTOCOLS["dc-crop-scale-rotate" if data == "mnist" else "dc"]


def dsa_protocol(strategy: str) -> EvaluationProtocol:
    """DSA's protocol with the strategy that was matched with, whatever the data and the network.

    Raises:
      ValueError: if the strategy names an unknown op.

    >>> dsa_protocol("crop_flip").name
    'dsa, crop_flip'
    """
    augment = dsa_or_none(strategy)
    for name in ("dsa", "dsa-no-flip"):
        if PROTOCOLS[name].augment == augment:
            return PROTOCOLS[name]
    return dataclasses.replace(PROTOCOLS["dsa"], name=f"dsa, {strategy or 'none'}", augment=augment)


def cafe_protocol(data: str, strategy: str) -> EvaluationProtocol:
    """CAFE's protocol: DC's with twice its epochs, or with augmentation DSA's.

    Raises:
      ValueError: if the strategy names an unknown op.

    >>> cafe_protocol("cifar10", "none").name, cafe_protocol("cifar10", "crop").name
    ('cafe', 'dsa, crop')
    """
    if not dsa_or_none(strategy).is_none:
        return dsa_protocol(strategy)
    protocol = dc_protocol(data)
    return PROTOCOLS["cafe"] if protocol.name == "dc" else protocol
