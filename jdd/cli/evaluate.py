"""``jdd evaluate``: what a distilled set, or real images, are worth."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jdd import data, datasets
from jdd import evaluate as protocols
from jdd.artefact import DistilledSet, Metadata, versions
from jdd.atomic_write import write_atomically
from jdd.cli import real_images, report, scoring
from jdd.cli.errors import Interrupted, blame, require
from jdd.cli.experiment import check_augmentation, load, with_epochs
from jdd.cli.networks import build, evaluated, flags, judging, recorded
from jdd.cli.options import DataOptions, Evaluate
from jdd.cli.places import new_file, set_file
from jdd.cli.protocol import meant_protocol
from jdd.nn import Model, Network, network
from jdd.runs.progress import RunProgress as Reporter
from jdd.runs.progress import RunProgress as reporter
from jdd.runs.progress import duration
from jdd.validation import count, one_of


class _Judge(NamedTuple):
    network: Network
    model: Model
    protocol: protocols.EvaluationProtocol


_NETWORKS = 20


class _Setting(NamedTuple):
    dataset: datasets.Dataset
    train: data.ClassTable
    test: data.ClassTable
    judges: list[_Judge]


class _Meant(NamedTuple):
    """What a set says about itself: the options of the run that made it, and two networks."""

    options: dict[str, Any]
    trained: Network
    evaluated: Network


class _Row(NamedTuple):
    images: str
    train: Callable[[_Judge, Callable[[int, int], None]], protocols.Evaluation]
    note: str = ""


def evaluate(command: Evaluate) -> None:
    """Runs the command.

    Raises:
      UsageError: for a value that is not possible, before anything is written.
      Interrupted: if the user stopped it; the scores so far are in the file that was asked for.
    """
    for option, value in (("--networks", command.networks), ("--sets", command.sets)):
        require(value is None or value >= 1, option, f"must be at least 1, got {value}")
    require(
        0 <= command.seed < 2**32, "--seed", f"must be from 0 to {2**32 - 1}, got {command.seed}"
    )
    file = command.out and new_file(command.out, "--out")
    real = command.set in real_images.WORDS
    setting, rows = (_real if real else _distilled)(command)
    out = report.console()
    report.facts(out, _facts(setting))

    def keep(scores: list[scoring.Score], complete: bool) -> None:
        if file is not None:
            content = _content(command, setting, scores, complete)
            write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())

    try:
        scores = _scores(setting, rows, keep)
    except KeyboardInterrupt:
        if file is None or not file.exists():
            raise
        raise Interrupted(f"stopped; the scores so far are in {file}") from None
    (report.cross_architecture if len(setting.judges) > 1 else report.scores)(out, scores)


def _scores(
    setting: _Setting, rows: list[_Row], keep: Callable[[list[scoring.Score], bool], None]
) -> list[scoring.Score]:
    """Every row for every network; what there is, and whether it is all, is kept after each."""
    wanted = [(judge, row) for judge in setting.judges for row in rows]
    scores: list[scoring.Score] = []
    with reporter(None, 0) as progress:
        for judge, row in wanted:
            scores.append(_timed(judge, row, progress))
            keep(scores, len(scores) == len(wanted))
    return scores


def _content(
    command: Evaluate, setting: _Setting, scores: list[scoring.Score], complete: bool
) -> dict[str, Any]:
    """What the file of the result says, as JSON."""
    return {
        "complete": complete,
        "set": command.set,
        "data": setting.dataset.name,
        "networks": [
            {"model": judge.network.architecture, **judge.network.options}
            for judge in setting.judges
        ],
        "scores": [score.record() for score in scores],
        "seed": command.seed,
        "peak_memory_mb": report.peak_memory_mb(),
        "device": report.device(),
        "versions": versions(),
    }


def _real(command: Evaluate) -> tuple[_Setting, list[_Row]]:
    whole = command.set == "whole"
    for option, given in (("--ipc", command.ipc), ("--sets", command.sets)):
        require(
            not whole or given is None, option, "does not go with whole: there is one set, of all"
        )
    require(
        command.baseline == "random",
        "--baseline",
        "goes with a distilled set only: real images are the baseline",
    )
    epochs = real_images.coreset_epochs(command.coreset_epochs, command.set)
    protocol = protocols.WHOLE_SET
    if command.protocol is not None or not whole:
        with blame("--protocol"):
            name = one_of("protocol", command.protocol or "dc", protocols.PROTOCOLS)
        protocol = protocols.PROTOCOLS[name]
    ipc = 1 if command.ipc is None else command.ipc
    usual = _Meant({}, network("convnet"), network("convnet"))
    setting = _setting(command, DataOptions(), usual, lambda *_: protocol, None)
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
        ("--classes", command.classes or None),
        ("--ipc", command.ipc),
        ("--sets", command.sets),
    ):
        require(given is None, option, "goes with real images only: a distilled set has its own")
    epochs = real_images.coreset_epochs(command.coreset_epochs, command.baseline)
    with blame("SET"):
        distilled = DistilledSet.load(set_file(command.set, words=real_images.WORDS))
    metadata = distilled.metadata
    with blame("SET"):
        meant = _meant(metadata)
    source = DataOptions(
        data=meant.options.get("data", metadata.dataset),
        classes=tuple(meant.options.get("classes", ())),
    )
    setting = _setting(
        command,
        source,
        meant,
        lambda *about: meant_protocol(command.protocol, metadata, meant.evaluated, *about),
        distilled,
    )
    dataset = setting.dataset
    key = jax.random.fold_in(jax.random.key(command.seed), 0)
    images = jnp.asarray(distilled.normalised()), jnp.asarray(distilled.labels)
    networks = command.networks or _NETWORKS
    rows = [
        _Row(
            f"distilled images, {distilled.ipc} per class",
            lambda judge, done: protocols.evaluate(
                key,
                judge.model,
                *images,
                setting.test,
                judge.protocol,
                num_networks=networks,
                networks_per_dispatch=scoring.networks_per_dispatch(),
                report=done,
            ),
        )
    ]
    word = command.baseline
    if word == "whole":
        own = protocols.WHOLE_SET
        rows.append(_real_row(command, setting, word, distilled.ipc, 1, 1, epochs, own))
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
    command: Evaluate,
    setting: _Setting,
    word: str,
    ipc: int,
    sets: int,
    networks: int,
    epochs: int,
    protocol: protocols.EvaluationProtocol | None = None,
) -> _Row:
    """Networks trained on real images; under the judge's protocol where none is given."""
    key = jax.random.fold_in(jax.random.key(command.seed), 1)

    def train(judge: _Judge, done: Callable[[int, int], None]) -> protocols.Evaluation:
        return real_images.training(
            *(word, key, judge.model, setting.train, setting.test, protocol or judge.protocol),
            ipc=ipc,
            sets=sets,
            networks=networks,
            epochs=epochs,
        )(done)

    return _Row(real_images.title(word, ipc, sets), train, real_images.note(word, epochs))


def _timed(judge: _Judge, row: _Row, progress: Reporter) -> scoring.Score:
    if row.note:
        progress.note(row.note)
    began = time.perf_counter()
    what = f"{row.images}: {judge.model.name}"
    found = row.train(judge, lambda n, total: progress.training(what, n, total))
    score = scoring.Score.of(row.images, found, time.perf_counter() - began)
    networks = count(len(score.accuracies), "network")
    progress.note(f"{what}: {score} ({networks} in {duration(score.seconds)})")
    return score


def _setting(
    command: Evaluate,
    source: DataOptions,
    meant: _Meant,
    protocol_for: Callable[[str, Network], protocols.EvaluationProtocol],
    distilled: DistilledSet | None,
) -> _Setting:
    """The data, networks and protocols: the command's where it says so, else those that are meant."""
    name = command.data or source.data
    judged = [
        (each, with_epochs(protocol_for(name, each), command.eval_epochs))
        for each in judging(command, meant.trained, meant.evaluated)
    ]
    dataset = load(
        DataOptions(
            data=name,
            data_dir=command.data_dir,
            classes=command.classes or source.classes,
        )
    )
    if distilled is not None:
        _check_fits(distilled, dataset)
    for _, protocol in judged:
        check_augmentation(protocol, dataset, "--protocol")
    # Networks see the test images in the space of the set they were trained on.
    space = dataset if distilled is None else distilled.metadata

    def table(split: data.Split) -> data.ClassTable:
        return data.class_table(split, dataset.num_classes, space.mean, space.std)

    judges = [
        _Judge(each, build(each, dataset, *flags(command)), protocol) for each, protocol in judged
    ]
    return _Setting(dataset, table(dataset.train), table(dataset.test), judges)


def _check_fits(distilled: DistilledSet, dataset: datasets.Dataset) -> None:
    metadata = distilled.metadata
    require(
        dataset.class_names == metadata.class_names,
        "--data",
        f"the set stands for {metadata.dataset}, whose classes are not those of {dataset.name}",
    )
    require(
        dataset.image_shape == distilled.image_shape,
        "--data",
        f"the images of the set are {distilled.image_shape}, those of {dataset.name} "
        f"{dataset.image_shape}",
    )


def _meant(metadata: Metadata) -> _Meant:
    """What the run that made a set says about data and network.

    Raises:
      ValueError: if a value is of the wrong type, or names no network: a set need not be made by
        this command line.
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
    trained = recorded(options)
    norm = options.get("eval_norm") if "norm" in trained.options else None
    return _Meant(options, trained, evaluated(trained, norm))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "data": ("a text", _is_text),
    "classes": ("a list of texts", _is_texts),
    "model": ("a text", _is_text),
    "width": ("a whole number", _is_whole),
    "depth": ("a whole number", _is_whole),
    "norm": ("a text", _is_text),
    "eval_norm": ("a text", _is_text),
    "activation": ("a text", _is_text),
    "pooling": ("a text", _is_text),
    "downsampling": ("a text", _is_text),
}


def _facts(setting: _Setting) -> dict[str, str]:
    dataset = setting.dataset
    return {
        "data set": f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.test)} test images",
        "network": ", ".join(judge.model.name for judge in setting.judges),
        "device": f"{jax.devices()[0].device_kind}; jax {jax.__version__}",
    }
