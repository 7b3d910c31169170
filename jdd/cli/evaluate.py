"""``jdd evaluate``: what a distilled set, or as many random real images, are worth."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jdd import data
from jdd import evaluate as protocols
from jdd.artefact import DistilledSet, Metadata, versions
from jdd.cli import report, scoring
from jdd.cli.errors import UsageError, blame, require
from jdd.cli.experiment import load, network, with_epochs
from jdd.cli.options import DataOptions, Evaluate, NetworkOptions
from jdd.cli.places import new_file, set_file
from jdd.cli.progress import Reporter, duration, reporter
from jdd.names import one_of
from jdd.nn import Model


class _Setting(NamedTuple):
    dataset: data.Dataset
    train: data.ClassTable
    test: data.ClassTable
    network: NetworkOptions
    model: Model
    protocol: protocols.Protocol


class _Row(NamedTuple):
    images: str
    train: Callable[[scoring.OnNetwork], np.ndarray]


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
    random = command.set == "random"
    setting, rows = (_random if random else _distilled)(command)
    out = report.console()
    report.facts(out, _facts(setting))
    with reporter(None, 0) as progress:
        scores = [_timed(row, setting.protocol, progress) for row in rows]
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
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _random(command: Evaluate) -> tuple[_Setting, list[_Row]]:
    ipc = 1 if command.ipc is None else command.ipc
    with blame("--protocol"):
        name = one_of("protocol", command.protocol or "dc", protocols.PROTOCOLS)
    setting = _setting(command, DataOptions(), {}, protocols.PROTOCOLS[name], None)
    smallest = int(setting.dataset.class_counts().min())
    require(
        1 <= ipc <= smallest,
        "--ipc",
        f"must be from 1 to {smallest}, the smallest class of {setting.dataset.name}, got {ipc}",
    )
    sets = 1 if command.sets is None else command.sets
    return setting, [_random_row(command, setting, ipc, sets, command.networks)]


def _distilled(command: Evaluate) -> tuple[_Setting, list[_Row]]:
    for option, given in (
        ("--classes", command.classes),
        ("--ipc", command.ipc),
        ("--sets", command.sets),
    ):
        require(not given, option, "goes with random only: a distilled set has its own")
    with blame("SET"):
        distilled = DistilledSet.load(set_file(command.set))
    metadata = distilled.metadata
    options = dict(metadata.options)
    meant = DataOptions(
        data=options.get("data", metadata.dataset), classes=tuple(options.get("classes", ()))
    )
    setting = _setting(command, meant, options, _protocol(command, metadata), metadata)
    dataset = setting.dataset
    require(
        dataset.image_shape == distilled.image_shape,
        "--data",
        f"the images of the set are {distilled.image_shape}, those of {dataset.name} "
        f"{dataset.image_shape}",
    )
    key = jax.random.fold_in(jax.random.key(command.seed), 0)
    images = jnp.asarray(distilled.normalised()), jnp.asarray(distilled.labels)
    rows = [
        _Row(
            f"distilled images, {distilled.ipc} per class",
            lambda done: scoring.of_set(
                key,
                setting.model,
                *images,
                setting.test,
                setting.protocol,
                command.networks,
                done,
            ),
        )
    ]
    if command.baseline == "random":
        smallest = int(dataset.class_counts().min())
        require(
            distilled.ipc <= smallest,
            "--baseline",
            f"{dataset.name} has a class of {smallest} images only: give none",
        )
        sets = min(5, command.networks)
        each = math.ceil(command.networks / sets)
        rows.append(_random_row(command, setting, distilled.ipc, sets, each))
    return setting, rows


def _random_row(command: Evaluate, setting: _Setting, ipc: int, sets: int, networks: int) -> _Row:
    key = jax.random.fold_in(jax.random.key(command.seed), 1)
    return _Row(
        f"random real images, {ipc} per class, {report.count(sets, 'set')}",
        lambda done: scoring.of_random_real(
            key,
            setting.model,
            setting.train,
            setting.test,
            ipc,
            setting.protocol,
            sets=sets,
            networks=networks,
            on_network=done,
        ),
    )


def _timed(row: _Row, protocol: protocols.Protocol, progress: Reporter) -> scoring.Score:
    began = time.perf_counter()
    found = row.train(lambda n, total: progress.training(row.images, n, total))
    seconds = round(time.perf_counter() - began, 3)
    score = scoring.Score(row.images, found.tolist(), protocol.name, protocol.describe(), seconds)
    networks = report.count(len(found), "network")
    progress.note(f"{row.images}: {score} ({networks} in {duration(seconds)})")
    return score


def _setting(
    command: Evaluate,
    meant: DataOptions,
    options: dict[str, Any],
    protocol: protocols.Protocol,
    metadata: Metadata | None,
) -> _Setting:
    """The data, network and protocol: the command's where it says so, else those that are meant."""
    protocol = with_epochs(protocol, command.eval_epochs)
    dataset = load(
        DataOptions(
            data=command.data or meant.data,
            data_dir=command.data_dir,
            classes=command.classes or meant.classes,
        )
    )
    if metadata is not None and dataset.class_names != metadata.class_names:
        raise UsageError(
            f"the set stands for {metadata.dataset}, whose classes are not those of {dataset.name} "
            "(option --data)"
        )
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


def _protocol(command: Evaluate, metadata: Metadata) -> protocols.Protocol:
    known = protocols.PROTOCOLS
    if command.protocol is not None:
        with blame("--protocol"):
            return known[one_of("protocol", command.protocol, known)]
    if metadata.protocol in known:
        return known[metadata.protocol]
    # A strategy of its own: "dsa, color_crop" is the protocol "dsa" with that augmentation.
    base = known.get(metadata.protocol.split(",")[0])
    if base is None:
        raise UsageError(
            f"the set is meant for the protocol {metadata.protocol!r}, which this jdd does not know: "
            f"choose one of {', '.join(known)} (option --protocol)"
        )
    strategy = metadata.augmentation.strategy if metadata.augmentation else "none"
    return dataclasses.replace(base, name=metadata.protocol, augmentation=strategy)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _facts(setting: _Setting) -> dict[str, str]:
    dataset = setting.dataset
    return {
        "data set": f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.test)} test images",
        "network": f"{setting.model.name}, width {setting.network.width}",
        "device": f"{jax.devices()[0].device_kind}; jax {jax.__version__}",
    }
