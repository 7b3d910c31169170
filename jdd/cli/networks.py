"""From options, and from what a set says, to networks; each refused by its option's name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jdd import datasets, nn
from jdd.cli.errors import blame, require
from jdd.cli.options import Evaluate, NetworkOptions

OF_NETWORKS = tuple(
    field.name for field in dataclasses.fields(NetworkOptions) if field.name != "model"
)


def matched(options: NetworkOptions) -> nn.Network:
    """The network that is matched on.

    Raises:
      UsageError: if there is no such network, or it has no such option.
    """
    with blame("--model"):
        nn.network(options.model)
    with blame(*flags(options)):
        return nn.network(options.model, **chosen(options))


def judging(command: Evaluate, trained: nn.Network, usual: nn.Network) -> list[nn.Network]:
    """The networks that ``jdd evaluate`` trains: those asked for, else the usual one.

    Raises:
      UsageError: if there is no such network, or an option that none of them has.
    """
    names, own = ("SS", usual) if command.models is None else (command.models, trained)
    with blame("--models"):
        nn.parse_networks(names, trained=own)
    with blame(*flags(command)):
        return nn.parse_networks(names, trained=own, **chosen(command))


def chosen(options: NetworkOptions | Evaluate) -> dict[str, Any]:
    """What the user says about a network of whatever architecture."""
    said = {name: getattr(options, name) for name in OF_NETWORKS}
    return {name: value for name, value in said.items() if value is not None}


def flags(options: NetworkOptions | Evaluate) -> tuple[str, ...]:
    """The options of the command line that the user chose a network with."""
    first = "--models" if isinstance(options, Evaluate) else "--model"
    return first, *(f"--{name}" for name in chosen(options))


def evaluated(network: nn.Network, norm: str | None) -> nn.Network:
    """The network of evaluations, with this norm: the papers' if None (their pool S).

    They evaluate on the usual norm what BatchNorm matched, and then on strides what avg_pool did.

    Raises:
      UsageError: if it has no norm.
    """
    base = network if norm == "batch" else network.without_batch_norm()
    if norm is None:
        return base
    require("norm" in base.options, "--eval-norm", f"{base.architecture} has no norm")
    return base.replace(norm=norm)


def build(network: nn.Network, dataset: datasets.Dataset, *options: str) -> nn.Model:
    """The network for a data set.

    Args:
      network: what to build.
      dataset: the images it is to take.
      options: of the command line, to blame (see ``flags``).

    Raises:
      UsageError: if the network cannot be that, or the images do not fit.
    """
    require(dataset.num_classes > 1, "--classes", f"{dataset.name} needs at least 2 classes, has 1")
    with blame(*options):
        return network.model(dataset.num_classes, dataset.image_shape)


def protocol_norm(network: nn.Network) -> str:
    """The norm that DC's protocol goes by: its code augments for ConvNetBN and no other BatchNorm."""
    if network.architecture != "convnet" or network.options["activation"] != "relu":
        return "none"
    return network.norm


def record(network: nn.Network) -> dict[str, Any]:
    """A network among the options of a run.

    The ConvNet is not named, so that runs from before there was a choice are resumed.
    """
    name = {} if network.architecture == "convnet" else {"model": network.architecture}
    return {**name, **network.options}


def recorded(options: Mapping[str, Any]) -> nn.Network:
    """The network that ``record`` wrote; what is not said is as usual.

    Raises:
      ValueError: if there is no such network, or it has no such option.
    """
    said = {name: options[name] for name in OF_NETWORKS if name in options}
    return nn.network(options.get("model", "convnet"), **said)
