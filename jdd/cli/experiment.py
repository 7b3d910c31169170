"""From options to what runs: data, network, method and protocol, each refused by its option's name."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jdd import augment, data, datasets, evaluate, matching, methods, nn, synthetic
from jdd.artefact import Augmentation
from jdd.cli import real_images, schedule
from jdd.cli.commands import Cafe, Distill, FixedLoops, GradientMatching
from jdd.cli.errors import UsageError, blame, require, said
from jdd.cli.networks import build, evaluated, flags, matched, protocol_norm, record
from jdd.cli.options import DataOptions, LoopOptions
from jdd.validation import did_you_mean, one_of

DISTANCES: dict[str, Callable[[], matching.Stage]] = {
    "layerwise-cosine": matching.layerwise_cosine,
    "flat-cosine": matching.flat_cosine,
    "squared-error": matching.squared_error,
}
INITIAL = {"real": synthetic.real, "noise": synthetic.noise}
STARTS = (*INITIAL, *evaluate.SELECTIONS)

# On digits a run is to last two minutes on two cores; elsewhere the paper's number.
_EVAL_NETWORKS = {"digits": 3}
_NO_FLIP = ("digits", "mnist", "svhn", "svhn_cropped")


class Experiment(NamedTuple):
    """Everything that a run of a method needs.

    Attributes:
      name: of the method.
      options: every option that makes one run another, resolved (JSON).
      dataset: in host memory.
      train, test: on the device.
      model: the network that is matched on.
      eval_model: the network of evaluations.
      method: as pure functions.
      meant: the protocol that belongs to the method.
      protocol: the one that is used, with another number of epochs if the user wants that.
      augmentation: what the artefact says to augment with.
    """

    name: str
    options: dict[str, Any]
    dataset: datasets.Dataset
    train: data.ClassTable
    test: data.ClassTable
    model: nn.Model
    eval_model: nn.Model
    method: methods.Method
    meant: evaluate.EvaluationProtocol
    protocol: evaluate.EvaluationProtocol
    augmentation: Augmentation | None


def prepare(command: Distill) -> Experiment:
    """Checks every option and builds what it stands for.

    Raises:
      UsageError: one line that names the option.
    """
    _check_numbers(command)
    name = base_name(command.data.data)
    make_schedule = schedule.maker(command, name)
    gradient = _gradient(command)
    own = _own(command)
    network = matched(command.network)
    entry = methods.METHODS[command.method]
    as_it_is = network.norm if entry.pool == "SS" and "norm" in network.options else None
    eval_network = evaluated(network, command.report.eval_norm or as_it_is)
    learning_rate = command.match.learning_rate or entry.learning_rate(command.ipc, network, name)
    over_classes = _over_classes(command.match.over_classes)
    with blame("--init"):
        one_of("init", command.init, STARTS)
    coreset_epochs = real_images.coreset_epochs(command.coreset_epochs, command.init)
    dataset = load(command.data)
    smallest = int(dataset.class_counts().min())
    require(
        command.ipc <= smallest,
        "--ipc",
        f"must be from 1 to {smallest}, the smallest class of {dataset.name}, got {command.ipc}",
    )
    model = build(network, dataset, *flags(command.network))
    with blame("--layer-weights"):
        methods.check_layer_weights(model, own.get("layer_weights") or None)
    decided = make_schedule(dataset)
    given: dict[str, Any] = {
        "loops" if isinstance(decided, methods.Loops) else "rule": decided,
        "start": functools.partial(_start(command.init, model, coreset_epochs), ipc=command.ipc),
        "learning_rate": learning_rate,
        "momentum": command.match.momentum,
        "real_batch": command.match.real_batch,
        "over_classes": over_classes,
        **gradient,
    }
    strategy = {"strategy": own["strategy"]} if "strategy" in own else {}
    norm = protocol_norm(eval_network)
    meant = base_protocol(command.method, command.data.data, norm, **strategy)
    check_augmentation(meant, dataset, "--strategy" if strategy else "--eval-norm")
    resolved = {
        **_resolved(command, decided, network),
        **own,
        "learning_rate": learning_rate,
        "eval_norm": eval_network.norm,
        "train_split": fingerprint(dataset),
        # Only where it says something: runs of before this option was there can be resumed.
        **({"coreset_epochs": coreset_epochs} if command.init in evaluate.SELECTIONS else {}),
    }
    return Experiment(
        command.method,
        resolved,
        dataset,
        data.class_table(dataset.train, dataset.num_classes, dataset.mean, dataset.std),
        data.class_table(dataset.test, dataset.num_classes, dataset.mean, dataset.std),
        model,
        build(eval_network, dataset, "--eval-norm"),
        entry.factory(model, command.ipc, **given, **_for_factory(own)),
        meant,
        with_epochs(meant, command.report.eval_epochs),
        augmentation_of(meant),
    )


def load(options: DataOptions) -> datasets.Dataset:
    """The data set, or a ``UsageError``; files that are not the published ones are warned of."""
    with blame("--data"), said(datasets.DataWarning):
        dataset = datasets.load_dataset(options.data, data_dir=options.data_dir)
    with blame("--classes"):
        return dataset.restrict(options.classes) if options.classes else dataset


def base_name(name: str) -> str:
    """The name of a data set without its source: "mnist" for "tfds:mnist"."""
    kind, colon, rest = name.partition(":")
    return rest.split("/")[0].split(":")[0] if colon and kind == "tfds" else name


def default_strategy(name: str) -> str:
    """DSA's strategy for a data set: without flip where a mirrored image means something else."""
    return augment.STRATEGY_NO_FLIP if base_name(name) in _NO_FLIP else augment.STRATEGY


def default_eval_networks(name: str) -> int:
    """How many networks the final number takes."""
    return _EVAL_NETWORKS.get(base_name(name), 20)


def augmentation_of(protocol: evaluate.EvaluationProtocol) -> Augmentation | None:
    """What a protocol augments with, as artefacts say it."""
    if protocol.augmentation == "none":
        return None
    return Augmentation(protocol.augmenter, protocol.augmentation)


def with_epochs(
    protocol: evaluate.EvaluationProtocol, epochs: int | None
) -> evaluate.EvaluationProtocol:
    """The protocol with another number of epochs, named so that no one takes it for the original."""
    if epochs is None or epochs == protocol.epochs:
        return protocol
    require(epochs >= 1, "--eval-epochs", f"must be at least 1, got {epochs}")
    return dataclasses.replace(protocol, name=f"{protocol.name}, {epochs} epochs", epochs=epochs)


def base_protocol(
    method: str, dataset: str, eval_norm: str, **own: Any
) -> evaluate.EvaluationProtocol:
    """The protocol that belongs to a method: the papers' where they have one.

    ``eval_norm`` is ``protocol_norm`` of the evaluation network.
    """
    return methods.METHODS[method].protocol(base_name(dataset), eval_norm=eval_norm, **own)


def check_augmentation(
    protocol: evaluate.EvaluationProtocol, dataset: datasets.Dataset, option: str
) -> None:
    """Refuses a protocol whose augmentation does not take the images, before anything is trained.

    Raises:
      UsageError: one line that names the option.
    """
    augmentation = protocol.augment()
    if augmentation is None:
        return
    images = jax.ShapeDtypeStruct((1, *dataset.image_shape), jnp.float32)
    try:
        jax.eval_shape(augmentation, jax.random.key(0), images)
    except ValueError:
        height, width, _ = dataset.image_shape
        raise UsageError(
            f"the augmentation {protocol.augmentation} of the protocol {protocol.name} takes square "
            f"images, and those of {dataset.name} are {height}x{width} (option {option})"
        ) from None


def fingerprint(dataset: datasets.Dataset) -> str:
    """A short hash of the training images, their labels and their normalisation."""
    return dataset.fingerprint


def _gradient(command: Distill) -> dict[str, Any]:
    """What a method that matches gradients takes of these options; nothing for others."""
    if not isinstance(command, GradientMatching):
        return {}
    with blame("--distance"):
        distance = DISTANCES[one_of("distance", command.gradient.distance, DISTANCES)]
    with blame("--norm-policy"):
        known = methods.NORM_POLICIES
        policy = known[one_of("norm-policy", command.gradient.norm_policy, known)]
    return {"distance": distance(), "norm_policy": policy()}


def _own(command: Distill) -> dict[str, Any]:
    """The method's own options, resolved."""
    own = command.own()
    if "layer_weights" in own:
        _check_weights(own)
        own["layer_weights"] = list(own["layer_weights"])  # as JSON has it
    if isinstance(command, FixedLoops) and "warm_up_networks" in own:
        loops = schedule.loops(command, base_name(command.data.data))
        usual = methods.WarmUp.of(loops)
        for name in usual._fields:
            given = own[f"warm_up_{name}"]
            own[f"warm_up_{name}"] = getattr(usual, name) if given is None else given
        with blame("--warm-up-networks", "--warm-up-updates"):
            _warm_up(own).check(loops)
    if "networks_per_update" in own:
        count = own["networks_per_update"]
        require(count >= 1, "--networks-per-update", f"must be at least 1, got {count}")
    if "strategy" in own:
        given = own["strategy"]
        with blame("--strategy"):
            strategy = default_strategy(command.data.data) if given is None else given
            own["strategy"] = strategy if augment.parse_strategy(strategy) else "none"
    return own


def _check_weights(own: dict[str, Any]) -> None:
    weights, discrimination = own["layer_weights"], own["discrimination"]
    for option, given in (("--layer-weights", weights), ("--discrimination", (discrimination,))):
        for weight in given:
            fine = 0 <= weight < math.inf
            require(fine, option, f"must be at least 0 and finite, got {weight}")
    nothing = "and --discrimination are all 0: nothing is matched"
    require(not weights or any(weights) or discrimination > 0, "--layer-weights", nothing)


def _warm_up(own: dict[str, Any]) -> methods.WarmUp:
    return methods.WarmUp(own["warm_up_networks"], own["warm_up_updates"])


def _for_factory(own: dict[str, Any]) -> dict[str, Any]:
    """The method's own options as its factory takes them."""
    rest = {name: value for name, value in own.items() if not name.startswith("warm_up_")}
    if "warm_up_networks" in own:
        rest["warm_up"] = _warm_up(own)
    if "layer_weights" in own:
        rest["layer_weights"] = own["layer_weights"] or None
        rest["discrimination_weight"] = rest.pop("discrimination")
    return rest


def _check_numbers(command: Distill) -> None:
    match, report, run = command.match, command.report, command.run
    loop = command.loop if isinstance(command, FixedLoops) else LoopOptions()
    require(command.ipc >= 1, "--ipc", f"must be at least 1, got {command.ipc}")
    least = {
        "--networks": (match.networks, 1),
        "--updates": (loop.updates, 1),
        "--net-epochs": (loop.net_epochs, 0),
        "--real-batch": (match.real_batch, 1),
        "--eval-networks": (report.eval_networks, 1),
        "--eval-every": (report.eval_every, 0),
        "--eval-epochs": (report.eval_epochs, 1),
    }
    for option, (value, low) in least.items():
        require(value is None or value >= low, option, f"must be at least {low}, got {value}")
    rate, momentum, minutes = match.learning_rate, match.momentum, run.save_every
    above = rate is None or 0 < rate < math.inf
    require(above, "--learning-rate", f"must be above 0 and finite, got {rate}")
    require(0 <= momentum < 1, "--momentum", f"must be at least 0 and below 1, got {momentum}")
    require(0 <= minutes < math.inf, "--save-every", f"must be at least 0, got {minutes}")
    require(0 <= run.seed < 2**32, "--seed", f"must be from 0 to {2**32 - 1}, got {run.seed}")


def _over_classes(given: str | None) -> str | int | None:
    if given is None or given in ("map", "vmap"):
        return given
    try:
        number = int(given)
    except ValueError:
        hint = did_you_mean(given, ["map", "vmap"])
        raise UsageError(
            f"unknown over-classes {given!r}{hint} (allowed: map, vmap, or a whole number of at "
            "least 1) (option --over-classes)"
        ) from None
    require(number >= 1, "--over-classes", f"must be at least 1, got {given}")
    return number


def _start(init: str, model: nn.Model, epochs: int) -> Callable[..., Any]:
    if init in INITIAL:
        return INITIAL[init]
    select = evaluate.SELECTIONS[init]
    return functools.partial(evaluate.coreset_images, select=select, model=model, epochs=epochs)


def _resolved(
    command: Distill, found: methods.Loops | methods.QueryRule, network: nn.Network
) -> dict[str, Any]:
    """Every option but those that say where files lie and when they are written."""
    loop = dataclasses.asdict(command.match)
    if isinstance(command, GradientMatching):
        loop |= dataclasses.asdict(command.gradient)
        if network.norm != "batch":
            del loop["norm_policy"]
    eval_networks = command.report.eval_networks
    eval_every = command.report.eval_every
    return {
        "method": command.method,
        "data": command.data.data,
        "classes": list(command.data.classes),
        "ipc": command.ipc,
        "seed": command.run.seed,
        "init": command.init,
        **loop,
        **schedule.record(found, command.query if isinstance(command, Cafe) else None),
        **record(network),
        **dataclasses.asdict(command.report),
        "eval_networks": eval_networks or default_eval_networks(command.data.data),
        "eval_every": -(-found.networks // 2) if eval_every is None else eval_every,
    }
