"""``jdd experts``: from options to a store of experts."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence

import jax
import numpy as np

from jdd.augment import Augmentation
from jdd.cli import report
from jdd.cli.configure import flag, matched_network, network_flags, parsed
from jdd.cli.errors import UsageError, naming, naming_first, require, warnings_as_lines
from jdd.cli.expert_options import Experts, TrainingOptions
from jdd.cli.places import expanded
from jdd.configuration import DataChoice
from jdd.data import Batch, Normalisation
from jdd.datasets import Dataset
from jdd.experts import ExpertPlan, default_folder, record
from jdd.experts.buffers import import_buffers
from jdd.runs.errors import FolderError, OtherConfiguration, one_line
from jdd.runs.experiment import loaded, require_compilation
from jdd.training import SGD, Flatness
from jdd.validation import at_least

_SGD = ("learning_rate", "momentum", "weight_decay", "batch_size")


def experts(command: Experts, arguments: Sequence[str]) -> None:
    """Runs ``jdd experts``.

    Raises:
      UsageError: for a value that is not possible, before anything is written.
      Interrupted: if the user stopped it; complete experts are kept.
      RunError: if an expert diverged, or a file could not be written; complete experts are kept.
    """
    with naming(usual=()):
        require_compilation()
    plan, number = _plan(command), command.training.experts
    with naming("--experts"):
        at_least("experts", number, 1)
    if command.store.at_once is not None:
        with naming("--at-once"):
            at_least("at_once", command.store.at_once, 1)
    with naming("--out"):
        folder = expanded(command.store.out or default_folder(plan))
    with naming_first("--data", "--data-dir", "--classes", "--test-share"), warnings_as_lines():
        dataset = loaded(plan.data, command.data.data_dir)
    require(dataset.num_classes > 1, "--classes", "there must be at least 2 classes")
    _check_fit(plan, dataset, command)
    text = shlex.join(["jdd", *arguments])
    out = report.console()
    try:
        if command.store.buffers:
            with naming("--buffers"):
                store = import_buffers(command.store.buffers, plan, dataset, folder, command=text)
            report.facts(out, {"experts": f"{store.num_experts} in {folder}"})
            return
        result = record(
            plan,
            dataset,
            folder,
            experts=number,
            at_once=command.store.at_once,
            announce=lambda facts: report.facts(out, facts),
            command=text,
        )
    except OtherConfiguration as error:
        raise UsageError(f"{one_line(error)} (option {_option_of(error.entry)})") from error
    except FolderError as error:
        with naming("--out"):
            raise error
    accuracies = 100 * result.accuracies[np.isfinite(result.accuracies)]
    tested = (
        f"{accuracies.mean():.2f} +- {accuracies.std():.2f} %" if accuracies.size else "unknown"
    )
    report.facts(
        out,
        {
            "test accuracy": f"{tested} after the last epoch, {number} experts",
            "fingerprint": result.store.fingerprint,
        },
    )


def _plan(command: Experts) -> ExpertPlan:
    """The plan that the options ask for.

    Raises:
      UsageError: one line that names the option.
    """
    options = command.training
    network = matched_network(command.network)
    with naming("--augment"):
        augment = parsed(options.augment, Augmentation)
    with naming("--normalisation"):
        normalisation = parsed(options.normalisation, Normalisation)
    with naming("--flatness"):
        flatness = None if options.flatness is None else parsed(options.flatness, Flatness)
    with naming("--epochs", "--seed", "--norm", *map(flag, _SGD)):
        return ExpertPlan(
            options.epochs,
            DataChoice(command.data.data, command.data.classes, command.data.test_share),
            network,
            SGD(*(getattr(options, name) for name in _SGD)),
            augment,
            normalisation,
            flatness,
            command.store.seed,
        )


def _check_fit(plan: ExpertPlan, dataset: Dataset, command: Experts) -> None:
    """Refuses a network or an augmentation that does not take the images."""
    with naming(*network_flags(command.network)):
        model = plan.network.model(dataset.num_classes, dataset.image_shape)
    images = jax.ShapeDtypeStruct((2, *dataset.image_shape), "float32")
    labels = jax.ShapeDtypeStruct((2,), "int32")

    def augmented(images: jax.Array, labels: jax.Array) -> Batch:
        key = jax.random.key(0)
        return plan.augment.augmented(key, Batch(images, labels), model.num_classes)

    with naming("--augment"):
        jax.eval_shape(augmented, images, labels)


def _option_of(entry: str) -> str:
    """The option that sets an entry of a plan.

    >>> _option_of("network.width"), _option_of("sgd.batch_size"), _option_of("data.fingerprint")
    ('--width', '--batch-size', '--data')
    """
    part, _, name = entry.partition(".")
    special = {
        "network.architecture": "--model",
        "data.name": "--data",
        "data.fingerprint": "--data",
    }
    if entry in special:
        return special[entry]
    own = {field.name for field in dataclasses.fields(TrainingOptions)} | {"seed"}
    return flag(part if part in own else name.partition(".")[0] or part)
