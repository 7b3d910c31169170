"""Options of `jdd experts`. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from jdd.cli.options import NUMBER, PATH, TEXT, WHOLE, DataOptions, NetworkOptions, option


@dataclasses.dataclass(frozen=True)
class ExpertData(DataOptions):
    """What experts are trained on."""


@dataclasses.dataclass(frozen=True)
class ExpertNetwork(NetworkOptions):
    """The network of the experts, and of the students that match them; without batch norm."""


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How experts are trained; the defaults are MTT's, apart from the numbers of experts and epochs."""

    experts: Annotated[
        int, WHOLE, option("N", "Networks that the store has at the end; 100 in MTT.")
    ] = 20
    epochs: Annotated[
        int,
        WHOLE,
        option(
            "E",
            "Of each network, after each of which its parameters are stored. A run reads from the latest epoch "
            "at which a student starts so many epochs as it matches: 1 + 2 for MTT, CIFAR-10, IPC 1.",
        ),
    ] = 4
    learning_rate: Annotated[float, NUMBER, option("RATE", "Of SGD, constant.")] = 0.01
    momentum: Annotated[float, NUMBER, option("SHARE", "Of SGD.")] = 0.0
    weight_decay: Annotated[float, NUMBER, option("SHARE", "Of SGD.")] = 0.0
    batch_size: Annotated[int, WHOLE, option("N", "Images of a minibatch.")] = 256
    augment: Annotated[
        str,
        TEXT,
        option(
            "CALL",
            "Of each minibatch: no_augmentation, dsa_augmentation('color_crop'), "
            "batch_standardised(dsa_augmentation) as in HaBa's code.",
        ),
    ] = "dsa_augmentation"
    normalisation: Annotated[
        str, TEXT, option("CALL", "Of the images: per_channel, or zca for ZCA whitening.")
    ] = "per_channel"
    flatness: Annotated[
        str | None,
        TEXT,
        option("CALL", "Flat trajectories: flat_trajectory (FTD), sharpness_aware(0.05).", "none"),
    ] = None


@dataclasses.dataclass(frozen=True)
class StoreOptions:
    """Where experts are stored."""

    seed: Annotated[int, WHOLE, option("INT", "Same seed, same experts.")] = 0
    out: Annotated[Path | None, PATH, option("FOLDER", "The store.", "experts/DATA-NETWORK")] = None
    at_once: Annotated[
        int | None,
        WHOLE,
        option("K", "Networks trained together.", "1 on a CPU, 8 elsewhere (not measured)"),
    ] = None
    buffers: Annotated[
        tuple[str, ...],
        option(
            "FILE",
            "Store the experts of these replay_buffer_N.pt of the original code, and train none. The other "
            "options state how they were trained. Needs PyTorch.",
            "none",
        ),
    ] = ()


@dataclasses.dataclass(frozen=True)
class Experts:
    """Train networks on the real data, and store their parameters after every epoch.

    Methods that match trajectories (MTT, HaBa) need them. The same command continues a store, and so does one
    with more experts: those that are complete are kept. Damaged ones are trained anew.
    """

    training: TrainingOptions = TrainingOptions()
    data: ExpertData = ExpertData()
    network: ExpertNetwork = ExpertNetwork()
    store: StoreOptions = StoreOptions()
