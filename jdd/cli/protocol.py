"""Which protocol a distilled set is judged by."""

from __future__ import annotations

import dataclasses

from jdd.artefact import Metadata
from jdd.cli.errors import UsageError, blame, one_line
from jdd.cli.experiment import base_protocol
from jdd.cli.networks import protocol_norm
from jdd.evaluate import PROTOCOLS, EvaluationProtocol
from jdd.nn import Network
from jdd.validation import one_of


def meant_protocol(
    chosen: str | None, metadata: Metadata, usual: Network, data: str, judge: Network
) -> EvaluationProtocol:
    """The protocol for an evaluation network: the chosen one, else what the set is meant for.

    A set says a name and, but for the oldest, the recipe itself. Where this version has another
    recipe by that name, the set's own is used, and what it is called says so.

    Args:
      chosen: the name of a protocol; None for that of the set.
      metadata: of the set.
      usual: the evaluation network that the set means.
      data: the name of the data set.
      judge: the evaluation network.

    Raises:
      UsageError: if there is no such protocol, or the recipe cannot be followed.
    """
    if chosen is not None:
        with blame("--protocol"):
            return PROTOCOLS[one_of("protocol", chosen, PROTOCOLS)]
    name = metadata.protocol
    # DC's and CAFE's go by the network, and this may be another one than the set means. They share those for
    # BatchNorm: whose it is, the method says.
    norms = [protocol_norm(each) for each in (judge, usual)]
    if name in PROTOCOLS and name.split("-")[0] in ("dc", "cafe") and norms.count("batch") == 1:
        if name == "cafe" or metadata.method in ("cafe", "cafe-fixed"):
            return base_protocol("cafe", data, norms[0], strategy="none")
        return base_protocol("dc", data, norms[0])
    choice = f"choose one of {', '.join(PROTOCOLS)} (option --protocol)"
    named = _by_name(metadata)
    if not metadata.recipe:
        if named is None:
            unknown = f"the protocol {name!r}, which this jdd does not know"
            raise UsageError(f"the set is meant for {unknown}: {choice}")
        return named
    try:
        stored = EvaluationProtocol.read(name, metadata.recipe)
    except ValueError as error:
        raise UsageError(f"{one_line(error)}: {choice}") from error
    if named in (None, stored):
        return stored
    return dataclasses.replace(stored, name=f"{name}, recipe of the set")


def _by_name(metadata: Metadata) -> EvaluationProtocol | None:
    """What this version has by the name that a set says; None for nothing."""
    if metadata.protocol in PROTOCOLS:
        return PROTOCOLS[metadata.protocol]
    # A strategy of its own: "dsa, color_crop" is the protocol "dsa" with that augmentation.
    base = PROTOCOLS.get(metadata.protocol.split(",")[0])
    if base is None:
        return None
    strategy = metadata.augmentation.strategy if metadata.augmentation else "none"
    with blame("SET"):
        return dataclasses.replace(base, name=metadata.protocol, augmentation=strategy)
