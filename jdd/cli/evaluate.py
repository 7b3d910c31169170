"""``jdd evaluate``: what a distilled set, or real images, are worth."""

from __future__ import annotations

import functools
import json
import math
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jdd import baselines, nn
from jdd import evaluate as evaluation
from jdd.artefact import DistilledSet, Metadata, versions
from jdd.artefact.decoding import unknown_choices
from jdd.atomic_write import write_atomically
from jdd.cli import report
from jdd.cli.configure import chosen, network_flags, parsed
from jdd.cli.errors import naming, print_warning, require, warnings_as_lines
from jdd.cli.options import Evaluate
from jdd.cli.places import UNREGISTERED, new_file, set_file
from jdd.configuration import DataChoice
from jdd.data import ClassTable, class_table, whitened_table
from jdd.datasets import Dataset, load_dataset
from jdd.runs.errors import Interrupted
from jdd.runs.experiment import check_augmentation
from jdd.runs.machine import device, peak_memory_mb
from jdd.runs.progress import RunProgress, duration
from jdd.runs.scores import Score, networks_per_dispatch
from jdd.synthetic import Initial
from jdd.validation import one_of

_NETWORKS = 20
_WORDS = (*baselines.BASELINES, "whole")


class _Evaluator(NamedTuple):
    """An evaluation network and its protocol."""

    network: nn.Network
    model: nn.Model
    protocol: evaluation.EvaluationProtocol


class _Setting(NamedTuple):
    dataset: Dataset
    train: ClassTable
    test: ClassTable
    evaluators: list[_Evaluator]


class _Row(NamedTuple):
    """Images to train on, and how: ``train(evaluator, report) -> Evaluation``."""

    images: str
    train: Callable[[_Evaluator, Callable[[int, int], None]], evaluation.Evaluation]


def evaluate(command: Evaluate, arguments: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      UsageError: for a value that is not possible, before anything is written.
      Interrupted: if the user stopped it; the scores so far are in the file that was asked for.
    """
    for flag, value in (("--networks", command.networks), ("--sets", command.sets)):
        require(value is None or value >= 1, flag, f"must be at least 1, got {value}")
    seeds = f"must be from 0 to {2**32 - 1}, got {command.seed}"
    require(0 <= command.seed < 2**32, "--seed", seeds)
    file = command.out and new_file(command.out, "--out")
    initial = real_images(command.set, "SET", is_set_allowed=True)
    is_real = initial is not None or command.set == "whole"
    setting, rows = _real(command, initial) if is_real else _distilled(command)
    out = report.console()
    report.facts(out, _facts(setting))
    keep = functools.partial(_write, file, command, arguments, setting)
    try:
        scores = _scores(setting, rows, keep)
    except KeyboardInterrupt:
        if file is None or not file.exists():
            raise
        raise Interrupted(f"stopped; the scores so far are in {file}") from None
    (report.cross_architecture if len(setting.evaluators) > 1 else report.scores)(out, scores)


def real_images(word: str, flag: str, *, is_set_allowed: bool = False) -> Initial | None:
    """The subset of real images that a word or a call names; None for "whole", "none" or a set.

    Raises:
      UsageError: for a call that is none of real images.
    """
    if word in ("whole", "none") or (is_set_allowed and Path(word).exists()):
        return None
    if word in baselines.BASELINES:
        return baselines.BASELINES[word]()
    if "(" not in word and is_set_allowed:
        return None
    with naming(flag):
        if "(" not in word:
            one_of("baseline", word, (*_WORDS, "none"))
        return parsed(word, Initial)


def _scores(
    setting: _Setting, rows: list[_Row], keep: Callable[[list[Score], bool], None]
) -> list[Score]:
    """Every row for every network; the scores so far, and whether they are all, are kept after each."""
    pairs = [(evaluator, row) for evaluator in setting.evaluators for row in rows]
    scores: list[Score] = []
    with RunProgress(None) as progress:
        for evaluator, row in pairs:
            began = time.perf_counter()
            what = f"{row.images}: {evaluator.model.name}"
            result = row.train(evaluator, lambda n, m, what=what: progress.training(what, n, m))
            score = Score.of(row.images, result, time.perf_counter() - began)
            took = f"{len(score.accuracies)} networks in {duration(score.seconds)}"
            progress.note(f"{what}: {score} ({took})")
            scores.append(score)
            keep(scores, len(scores) == len(pairs))
    return scores


def _write(
    file: Path | None,
    command: Evaluate,
    arguments: Sequence[str],
    setting: _Setting,
    scores: list[Score],
    complete: bool,
) -> None:
    """Writes the scores so far."""
    if file is None:
        return
    content = {
        "complete": complete,
        "set": command.set,
        "data": setting.dataset.name,
        "networks": [evaluator.network.to_json() for evaluator in setting.evaluators],
        "scores": [score.record() for score in scores],
        "seed": command.seed,
        "command": shlex.join(["jdd", *arguments]),
        "peak_memory_mb": peak_memory_mb(),
        "device": device(),
        "versions": versions(),
    }
    write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())


def _real(command: Evaluate, initial: Initial | None) -> tuple[_Setting, list[_Row]]:
    for flag, value in (("--ipc", command.ipc), ("--sets", command.sets)):
        allowed = initial is not None or value is None
        require(allowed, flag, "does not go with whole: there is one set, of all images")
    require(command.baseline == "random", "--baseline", "goes with a distilled set only")
    protocol = baselines.WHOLE_SET
    if command.protocol is not None or initial is not None:
        protocol = named_protocol(command.protocol or "dc")
    data = DataChoice(command.data or "digits", command.classes, command.test_share)
    convnet = nn.network("convnet")
    setting = _setting(command, data, convnet, convnet, protocol, None)
    ipc = 1 if command.ipc is None else command.ipc
    networks = command.networks or (1 if initial is None else _NETWORKS)
    with naming("--ipc"):
        _check_ipc(ipc, setting.dataset)
    return setting, [_real_row(command, setting, initial, ipc, command.sets or 1, networks)]


def _distilled(command: Evaluate) -> tuple[_Setting, list[_Row]]:
    for flag, value in (
        ("--classes", command.classes or None),
        ("--ipc", command.ipc),
        ("--sets", command.sets),
    ):
        require(value is None, flag, "goes with real images only: a distilled set has its own")
    baseline = real_images(command.baseline, "--baseline")
    file = set_file(command.set, words=_WORDS)
    with naming("SET"):
        distilled = DistilledSet.load(file)
        metadata = distilled.metadata
        for name in metadata.unknown_choices():
            raise ValueError(f"{file}: {UNREGISTERED.format(name)}")
        data = metadata.data_choice()
        network = metadata.network() or nn.network("convnet")
        eval_network = metadata.eval_network() or network
        images = jnp.asarray(distilled.normalised())
    if command.protocol is not None:
        protocol = named_protocol(command.protocol)
    else:
        with naming("--protocol"):
            protocol = _protocol_of(metadata)
    data = DataChoice(
        command.data or data.name,
        data.classes,
        data.test_share if command.test_share is None else command.test_share,
        data.fingerprint,
    )
    setting = _setting(command, data, network, eval_network, protocol, distilled)
    key = jax.random.fold_in(jax.random.key(command.seed), 0)
    labels, networks = jnp.asarray(distilled.labels), command.networks or _NETWORKS

    def train(evaluator: _Evaluator, done: Callable[[int, int], None]) -> evaluation.Evaluation:
        return evaluation.evaluate(
            key,
            evaluator.model,
            images,
            labels,
            setting.test,
            evaluator.protocol,
            num_networks=networks,
            learning_rate=metadata.learning_rate,
            networks_per_dispatch=networks_per_dispatch(),
            report=done,
        )

    rows = [_Row(f"distilled images, {distilled.ipc} per class", train)]
    if command.baseline == "whole":
        rows.append(_real_row(command, setting, None, distilled.ipc, 1, 1, baselines.WHOLE_SET))
    elif baseline is not None:
        with naming("--baseline"):
            _check_ipc(distilled.ipc, setting.dataset)
        # A chosen set takes a network trained on all images: one of it, several random ones.
        sets = min(5, networks) if command.baseline == "random" else 1
        each = math.ceil(networks / sets)
        rows.append(_real_row(command, setting, baseline, distilled.ipc, sets, each))
    return setting, rows


def _protocol_of(metadata: Metadata) -> evaluation.EvaluationProtocol:
    """The protocol that a set holds; a ``ValueError`` where it has none that can be followed."""
    known = f"choose one of {', '.join(evaluation.PROTOCOLS)}"
    for name in unknown_choices(metadata.protocol):
        raise ValueError(f"{UNREGISTERED.format(name)}, or {known}")
    protocol = metadata.evaluation_protocol()
    if protocol is None:
        raise ValueError(f"the set has no evaluation protocol: {known}")
    return protocol


def _real_row(
    command: Evaluate,
    setting: _Setting,
    initial: Initial | None,
    ipc: int,
    sets: int,
    networks: int,
    protocol: evaluation.EvaluationProtocol | None = None,
) -> _Row:
    """Networks trained on real images, all if ``initial`` is None; by the evaluator's protocol if None."""
    key = jax.random.fold_in(jax.random.key(command.seed), 1)
    group = networks_per_dispatch()

    def train(evaluator: _Evaluator, done: Callable[[int, int], None]) -> evaluation.Evaluation:
        used = protocol or evaluator.protocol
        if initial is None:
            return baselines.evaluate_whole_set(
                *(key, evaluator.model, setting.train, setting.test, used),
                num_networks=networks,
                networks_per_dispatch=group,
                report=done,
            )
        return baselines.evaluate_real_sets(
            *(key, initial, evaluator.model, setting.train, setting.test, ipc, used),
            sets=sets,
            num_networks=networks,
            networks_per_dispatch=group,
            report=done,
        )

    if initial is None:
        return _Row("whole training set", train)
    words = {make(): word for word, make in baselines.BASELINES.items()}
    word = words.get(initial, repr(initial))
    which = "random real images" if word == "random" else f"real images by {word}"
    return _Row(f"{which}, {ipc} per class, {sets} set{'s' * (sets > 1)}", train)


def _check_ipc(ipc: int, dataset: Dataset) -> None:
    smallest = int(dataset.class_counts().min())
    if not 1 <= ipc <= smallest:
        raise ValueError(
            f"ipc must be from 1 to {smallest}, the smallest class of {dataset.name}, got {ipc}"
        )


def named_protocol(name: str) -> evaluation.EvaluationProtocol:
    """A protocol by its name.

    Raises:
      UsageError: if there is none.
    """
    with naming("--protocol"):
        return evaluation.PROTOCOLS[one_of("protocol", name, evaluation.PROTOCOLS)]


def _setting(
    command: Evaluate,
    data: DataChoice,
    network: nn.Network,
    eval_network: nn.Network,
    protocol: evaluation.EvaluationProtocol,
    distilled: DistilledSet | None,
) -> _Setting:
    """The data, the networks and their protocols."""
    names, trained = ("SS", eval_network) if command.models is None else (command.models, network)
    with naming("--models"):
        nn.parse_networks(names, trained=trained)
    with naming(*network_flags(command)):
        networks = nn.parse_networks(names, trained=trained, **chosen(command))
    with naming("--eval-epochs"):
        protocol = protocol.with_epochs(command.eval_epochs)
    with naming("--data", "--data-dir", "--test-share"), warnings_as_lines():
        dataset = load_dataset(data.name, data_dir=command.data_dir, test_share=data.test_share)
    if distilled is not None:
        with naming("--data"):
            dataset = _data_of_set(distilled, dataset)
        _warn_of_other_data(data, dataset)
    elif data.classes:
        with naming("--classes"):
            dataset = dataset.restrict(data.classes)
    classes = f"{dataset.name} needs at least 2 classes, has 1"
    require(dataset.num_classes > 1, "SET" if distilled else "--classes", classes)
    protocols = [protocol.for_network(each) for each in networks]
    with naming("--protocol"):
        for each in protocols:
            check_augmentation(each, dataset)
    # Networks see the test images in the space of the set they were trained on.
    space = dataset if distilled is None else distilled.metadata
    shape, classes = dataset.image_shape, dataset.num_classes
    with naming(*network_flags(command)):
        models = [each.model(classes, shape) for each in networks]
    evaluators = [_Evaluator(*each) for each in zip(networks, models, protocols, strict=True)]
    whitening = None if distilled is None else distilled.whitening
    train, test = (
        class_table(split, classes, space.mean, space.std)
        if whitening is None
        else whitened_table(split, classes, whitening)
        for split in (dataset.train, dataset.test)
    )
    return _Setting(dataset, train, test, evaluators)


def _data_of_set(distilled: DistilledSet, dataset: Dataset) -> Dataset:
    """The classes of a set in a data set; a ``ValueError`` with both values where there are no such classes."""
    names, images = distilled.metadata.class_names, distilled.image_shape
    try:
        restricted = dataset.restrict(names)
    except ValueError:
        restricted = dataset
    if restricted.class_names != names:
        raise ValueError(
            f"the set has the classes {_short(names)}, {dataset.name} has {_short(dataset.class_names)}"
        )
    if dataset.image_shape != images:
        raise ValueError(
            f"the images of the set are {images}, those of {dataset.name} {dataset.image_shape}"
        )
    return restricted


def _warn_of_other_data(data: DataChoice, dataset: Dataset) -> None:
    """Warns where a set is tested on other data than it was distilled from."""
    if data.fingerprint not in ("", dataset.fingerprint):
        print_warning(
            f"the set was distilled from other training images than those of {dataset.name} (their "
            f"fingerprints: {data.fingerprint}, {dataset.fingerprint})"
        )


def _short(names: Sequence[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


def _facts(setting: _Setting) -> dict[str, Any]:
    dataset = setting.dataset
    return {
        "data set": f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.test)} test images",
        "network": ", ".join(evaluator.model.name for evaluator in setting.evaluators),
        "device": f"{jax.devices()[0].device_kind}; jax {jax.__version__}",
    }
