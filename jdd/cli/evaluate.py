"""``jdd evaluate``: what a distilled set, or real images, are worth."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jdd import data
from jdd import evaluate as protocols
from jdd.artefact import DistilledSet, Metadata, versions
from jdd.cli import real_images, report, scoring
from jdd.cli.errors import UsageError, blame, require
from jdd.cli.experiment import (
    base_protocol,
    check_augmentation,
    default_eval_norm,
    load,
    network,
    with_epochs,
)
from jdd.cli.options import DataOptions, Evaluate, NetworkOptions
from jdd.cli.places import new_file, set_file
from jdd.cli.progress import Reporter, duration, reporter
from jdd.files import write_atomically
from jdd.names import did_you_mean, one_of
from jdd.nn import Model

_NETWORKS = 20


class _Setting(NamedTuple):
    dataset: data.Dataset
    train: data.ClassTable
    test: data.ClassTable
    network: NetworkOptions
    model: Model
    protocol: protocols.Protocol


class _Row(NamedTuple):
    images: str
    train: real_images.Training
    note: str = ""


def evaluate(command: Evaluate) -> None:
    """Runs the command.

    Raises:
      UsageError: for a value that is not possible, before anything is written.
    """
    for option, value in (("--networks", command.networks), ("--sets", command.sets)):
        require(value is None or value >= 1, option, f"must be at least 1, got {value}")
    require(
        0 <= command.seed < 2**32, "--seed", f"must be from 0 to {2**32 - 1}, got {command.seed}"
    )
    file = command.out and new_file(command.out, "--out")
    real = command.set in real_images.WORDS
    if not real and not Path(command.set).expanduser().exists():
        hint = did_you_mean(command.set, real_images.WORDS)
        require(not hint, "SET", f"{command.set}: there is no such file{hint}")
    setting, rows = (_real if real else _distilled)(command)
    out = report.console()
    report.facts(out, _facts(setting))
    with reporter(None, 0) as progress:
        scores = [_timed(row, progress) for row in rows]
    report.scores(out, scores)
    if file is not None:
        content = {
            "set": command.set,
            "data": setting.dataset.name,
            "network": dataclasses.asdict(setting.network),
            "scores": [score.record() for score in scores],
            "seed": command.seed,
            "peak_memory_mb": report.peak_memory_mb(),
            "device": report.device(),
            "versions": versions(),
        }
        write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())


def _real(command: Evaluate) -> tuple[_Setting, list[_Row]]:
    whole = command.set == "whole"
    for option, given in (("--ipc", command.ipc), ("--sets", command.sets)):
        require(
            not whole or given is None, option, "does not go with whole: there is one set, of all"
        )
    epochs = real_images.coreset_epochs(command.coreset_epochs, command.set)
    protocol = protocols.WHOLE_SET
    if command.protocol is not None or not whole:
        with blame("--protocol"):
            name = one_of("protocol", command.protocol or "dc", protocols.PROTOCOLS)
        protocol = protocols.PROTOCOLS[name]
    ipc = 1 if command.ipc is None else command.ipc
    setting = _setting(command, DataOptions(), {}, lambda *_: protocol, None)
    smallest = int(setting.dataset.class_counts().min())
    require(
        1 <= ipc <= smallest,
        "--ipc",
        f"must be from 1 to {smallest}, the smallest class of {setting.dataset.name}, got {ipc}",
    )
    sets, networks = command.sets or 1, command.networks or (1 if whole else _NETWORKS)
    return setting, [_real_row(command, setting, command.set, ipc, sets, networks, epochs)]


def _distilled(command: Evaluate) -> tuple[_Setting, list[_Row]]:
    for option, given in (
        ("--classes", command.classes),
        ("--ipc", command.ipc),
        ("--sets", command.sets),
    ):
        require(not given, option, "goes with real images only: a distilled set has its own")
    epochs = real_images.coreset_epochs(command.coreset_epochs, command.baseline)
    with blame("SET"):
        distilled = DistilledSet.load(set_file(command.set))
    metadata = distilled.metadata
    with blame("SET"):
        options = _options(metadata)
    meant = DataOptions(
        data=options.get("data", metadata.dataset), classes=tuple(options.get("classes", ()))
    )
    setting = _setting(
        command, meant, options, lambda *about: _protocol(command, metadata, *about), metadata
    )
    dataset = setting.dataset
    require(
        dataset.image_shape == distilled.image_shape,
        "--data",
        f"the images of the set are {distilled.image_shape}, those of {dataset.name} "
        f"{dataset.image_shape}",
    )
    key = jax.random.fold_in(jax.random.key(command.seed), 0)
    images = jnp.asarray(distilled.normalised()), jnp.asarray(distilled.labels)
    networks = command.networks or _NETWORKS
    rows = [
        _Row(
            f"distilled images, {distilled.ipc} per class",
            lambda done: protocols.evaluate(
                key,
                setting.model,
                *images,
                setting.test,
                setting.protocol,
                num_networks=networks,
                networks_per_dispatch=scoring.networks_per_dispatch(),
                report=done,
            ),
        )
    ]
    word = command.baseline
    if word == "whole":
        whole = setting._replace(protocol=protocols.WHOLE_SET)
        rows.append(_real_row(command, whole, word, distilled.ipc, 1, 1, epochs))
    elif word != "none":
        smallest = int(dataset.class_counts().min())
        require(
            distilled.ipc <= smallest,
            "--baseline",
            f"{dataset.name} has a class of {smallest} images only: give none",
        )
        # A chosen set takes a network trained on all images: one of it, several random ones.
        sets = min(5, networks) if word == "random" else 1
        each = math.ceil(networks / sets)
        rows.append(_real_row(command, setting, word, distilled.ipc, sets, each, epochs))
    return setting, rows


def _real_row(
    command: Evaluate, setting: _Setting, word: str, ipc: int, sets: int, networks: int, epochs: int
) -> _Row:
    key = jax.random.fold_in(jax.random.key(command.seed), 1)
    train = real_images.training(
        *(word, key, setting.model, setting.train, setting.test, setting.protocol),
        ipc=ipc,
        sets=sets,
        networks=networks,
        epochs=epochs,
    )
    return _Row(real_images.title(word, ipc, sets), train, real_images.note(word, epochs))


def _timed(row: _Row, progress: Reporter) -> scoring.Score:
    if row.note:
        progress.note(row.note)
    began = time.perf_counter()
    found = row.train(lambda n, total: progress.training(row.images, n, total))
    score = scoring.Score.of(row.images, found, time.perf_counter() - began)
    networks = report.count(len(score.accuracies), "network")
    progress.note(f"{row.images}: {score} ({networks} in {duration(score.seconds)})")
    return score


def _setting(
    command: Evaluate,
    meant: DataOptions,
    options: dict[str, Any],
    protocol_for: Callable[[str, str], protocols.Protocol],
    metadata: Metadata | None,
) -> _Setting:
    """The data, network and protocol: the command's where it says so, else those that are meant."""
    name = command.data or meant.data
    norm = _first(command.norm, options.get("norm"), NetworkOptions.norm)
    protocol = with_epochs(protocol_for(name, norm), command.eval_epochs)
    dataset = load(
        DataOptions(
            data=name,
            data_dir=command.data_dir,
            classes=command.classes or meant.classes,
        )
    )
    if metadata is not None and dataset.class_names != metadata.class_names:
        raise UsageError(
            f"the set stands for {metadata.dataset}, whose classes are not those of {dataset.name} "
            "(option --data)"
        )
    check_augmentation(protocol, dataset, "--protocol")
    # Networks see the test images in the space of the set they were trained on.
    space = dataset if metadata is None else metadata
    chosen = {
        field.name: _first(
            getattr(command, field.name),
            options.get(field.name),
            getattr(NetworkOptions, field.name),
        )
        for field in dataclasses.fields(NetworkOptions)
    }
    options_of_network = NetworkOptions(**chosen)

    def table(split: data.Split) -> data.ClassTable:
        return data.class_table(split, dataset.num_classes, space.mean, space.std)

    return _Setting(
        dataset,
        table(dataset.train),
        table(dataset.test),
        options_of_network,
        network(options_of_network, dataset),
        protocol,
    )


def _options(metadata: Metadata) -> dict[str, Any]:
    """What the run that made a set says about data and network; "norm" is that of its evaluation.

    Raises:
      ValueError: if a value is of the wrong type: a set need not be made by this command line.
    """
    options: dict[str, Any] = {}
    for name, (kind, is_it) in _KINDS.items():
        if name in metadata.options:
            value = metadata.options[name]
            if not is_it(value):
                raise ValueError(
                    f"the options of the set: {name} is {json.dumps(value)}, not {kind}"
                )
            options[name] = value
    trained = options.get("norm", NetworkOptions.norm)
    options["norm"] = options.pop("eval_norm", default_eval_norm(trained))
    return options


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "data": ("a text", _is_text),
    "classes": ("a list of texts", _is_texts),
    "width": ("a whole number", _is_whole),
    "depth": ("a whole number", _is_whole),
    "norm": ("a text", _is_text),
    "eval_norm": ("a text", _is_text),
    "activation": ("a text", _is_text),
    "pooling": ("a text", _is_text),
}


def _protocol(command: Evaluate, metadata: Metadata, name: str, norm: str) -> protocols.Protocol:
    """The protocol for a data set and the norm of the evaluation network."""
    known = protocols.PROTOCOLS
    if command.protocol is not None:
        with blame("--protocol"):
            return known[one_of("protocol", command.protocol, known)]
    if metadata.protocol in known:
        # DC's goes by the network that is evaluated, and the command may have chosen another one.
        if metadata.protocol.split("-")[0] == "dc" and command.norm is not None:
            return base_protocol("dc", name, norm)
        return known[metadata.protocol]
    # A strategy of its own: "dsa, color_crop" is the protocol "dsa" with that augmentation.
    base = known.get(metadata.protocol.split(",")[0])
    if base is None:
        raise UsageError(
            f"the set is meant for the protocol {metadata.protocol!r}, which this jdd does not know: "
            f"choose one of {', '.join(known)} (option --protocol)"
        )
    strategy = metadata.augmentation.strategy if metadata.augmentation else "none"
    with blame("SET"):
        return dataclasses.replace(base, name=metadata.protocol, augmentation=strategy)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _facts(setting: _Setting) -> dict[str, str]:
    dataset = setting.dataset
    return {
        "data set": f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.test)} test images",
        "network": setting.model.name,
        "device": f"{jax.devices()[0].device_kind}; jax {jax.__version__}",
    }
