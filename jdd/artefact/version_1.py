"""The metadata of jdd 0.1: options of the command line instead of a configuration.

Its entries were, beside those that stayed: ``options`` of the run, ``protocol`` (a name), ``recipe`` (that
protocol, not in the first sets), ``augmentation``, ``learned_lr``, and ``decode`` ("none": pixels).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jdd.artefact.checks import json_mapping, require, require_strings
from jdd.artefact.decoding import decoding_text
from jdd.augment import dc_augmentation, dsa_or_none
from jdd.evaluate import PROTOCOLS, EvaluationProtocol, dsa_protocol
from jdd.methods import PRESETS
from jdd.nn import network
from jdd.synthetic import pixels
from jdd.validation import one_of

_OF_NETWORK = ("width", "depth", "norm", "activation", "pooling", "downsampling")


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the metadata with the entries of the present version.

    Args:
      values: the metadata of version 1, whose required entries are present.

    Raises:
      ValueError: naming the entry that is of the wrong type, or a network that this jdd does not have.
    """
    one_of("decode", values.get("decode", "none"), ("none",))
    names = {"method": values["method"], "dataset": values["dataset"]}
    require_strings("metadata", {**names, "protocol": values.get("protocol", "")})
    options = json_mapping("options", values.get("options", {}))
    augmentation = _augmentation(values)
    configuration = _configuration(values["dataset"], options)
    protocol = _protocol(values, options, augmentation)
    if augmentation is not None and not protocol:
        factories = {"dsa": dsa_or_none, "dc": dc_augmentation}
        name, strategy = augmentation
        make = factories[one_of("augmentation", name, factories)]
        configuration["augmentation"] = make(strategy).to_json()
    upgrade = {
        "synthetic": pixels.to_json(),
        "decode": decoding_text(pixels),
        "protocol": protocol,
        "learning_rate": values.get("learned_lr"),
        "configuration": configuration,
    }
    return {**values, **upgrade}


def _configuration(dataset: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options state of a ``Configuration.record()``, and all options as they were."""
    if not options:
        return {}
    texts = {name: options.get(name, "") for name in ("data", "model", "train_split")}
    require_strings("options", texts)
    classes, norm = options.get("classes", []), options.get("eval_norm")
    require(isinstance(classes, list), f"options: classes is {classes!r}, not a list")
    require(norm is None or isinstance(norm, str), f"options: eval_norm is {norm!r}, not a string")
    data = {"name": texts["data"] or dataset, "classes": classes}
    configuration: dict[str, Any] = {
        "data": {**data, "fingerprint": texts["train_split"]},
        "options": dict(options),
    }
    chosen = {name: options[name] for name in _OF_NETWORK if name in options}
    if chosen or texts["model"]:
        # The ConvNet was not named.
        matched = network(texts["model"] or "convnet", **chosen)
        configuration["network"] = matched.to_json()
        configuration["evaluation"] = {"norm": norm if "norm" in matched.options else None}
    return configuration


def _protocol(
    values: Mapping[str, Any], options: Mapping[str, Any], augmentation: tuple[str, str] | None
) -> dict[str, Any]:
    """The protocol of this version; the entries of version 1 where it cannot be read."""
    name = values.get("protocol", "")
    recipe = json_mapping("recipe", values.get("recipe", {}))
    if not name and not recipe:
        return {}
    stated = {**recipe, "name": name}
    try:
        protocol = EvaluationProtocol.from_json(stated) if recipe else _by_name(name, augmentation)
    except ValueError:  # raised again when the protocol is asked for
        return stated
    if protocol is None:
        return stated
    # It was named for the evaluation network of the run. Today a protocol has one for each network.
    if protocol == PROTOCOLS["dc-crop-noise"] and values["method"] in PRESETS:
        data = options.get("data", values["dataset"])
        protocol = PRESETS[values["method"]].recipe(1, data=data).protocol
    return protocol.to_json()


def _by_name(name: str, augmentation: tuple[str, str] | None) -> EvaluationProtocol | None:
    """The protocol of this name, which is all that the first sets state; None for no such one."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    # "dsa, color_crop" is the protocol "dsa" with that augmentation.
    if name.split(",")[0] != "dsa" or augmentation is None:
        return None
    return dataclasses.replace(dsa_protocol(augmentation[1]), name=name)


def _augmentation(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The name and the strategy of the augmentation."""
    if values.get("augmentation") is None:
        return None
    entries = json_mapping("augmentation", values["augmentation"])
    require("name" in entries, "augmentation lacks its name")
    name, strategy = entries["name"], entries.get("strategy", "")
    require_strings("augmentation", {"name": name, "strategy": strategy})
    return name, strategy
