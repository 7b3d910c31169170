"""From options to what runs: data, network, method and protocol, each refused by its option's name."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jdd import augment, data, evaluate, matching, methods, nn, synthetic
from jdd.artefact import Augmentation
from jdd.cli import real_images
from jdd.cli.errors import UsageError, blame, require, said
from jdd.cli.options import DataOptions, Distill, NetworkOptions
from jdd.names import did_you_mean, one_of

DISTANCES: dict[str, Callable[[], matching.Stage]] = {
    "layerwise-cosine": matching.layerwise_cosine,
    "flat-cosine": matching.flat_cosine,
    "squared-error": matching.squared_error,
}
INITIAL = {"real": synthetic.real, "noise": synthetic.noise}
STARTS = (*INITIAL, *evaluate.SELECTIONS)

# On digits a run is to last two minutes on two cores; elsewhere the paper's numbers.
_NETWORKS, _EVAL_NETWORKS = {"digits": 30}, {"digits": 3}
_NO_FLIP = ("digits", "mnist", "svhn", "svhn_cropped")
_NETWORK_OPTIONS = tuple(f"--{field.name}" for field in dataclasses.fields(NetworkOptions))


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
    dataset: data.Dataset
    train: data.ClassTable
    test: data.ClassTable
    model: nn.Model
    eval_model: nn.Model
    method: methods.Method
    meant: evaluate.Protocol
    protocol: evaluate.Protocol
    augmentation: Augmentation | None


def prepare(command: Distill) -> Experiment:
    """Checks every option and builds what it stands for.

    Raises:
      UsageError: one line that names the option.
    """
    _check_numbers(command)
    loops = _loops(command)
    with blame("--distance"):
        one_of("distance", command.loop.distance, DISTANCES)
    over_classes = _over_classes(command.loop.over_classes)
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
    model = network(command.network, dataset)
    given: dict[str, Any] = {
        "loops": loops,
        "start": functools.partial(_start(command.init, model, coreset_epochs), ipc=command.ipc),
        "learning_rate": command.loop.learning_rate,
        "momentum": command.loop.momentum,
        "real_batch": command.loop.real_batch,
        "distance": DISTANCES[command.loop.distance](),
        "over_classes": over_classes,
    }
    own = _own(command)
    eval_norm = command.report.eval_norm or default_eval_norm(command.network.norm)
    entry = methods.METHODS[command.method]
    meant = base_protocol(command.method, command.data.data, eval_norm, **own)
    check_augmentation(meant, dataset, "--strategy" if "strategy" in own else "--eval-norm")
    resolved = {
        **_resolved(command, loops),
        **own,
        "eval_norm": eval_norm,
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
        _eval_network(command.network, eval_norm, dataset),
        entry.factory(model, command.ipc, **given, **own),
        meant,
        with_epochs(meant, command.report.eval_epochs),
        augmentation_of(meant),
    )


def load(options: DataOptions) -> data.Dataset:
    """The data set, or a ``UsageError``; files that are not the published ones are warned of."""
    with blame("--data"), said(data.NotPublished):
        dataset = data.load_dataset(options.data, data_dir=options.data_dir)
    with blame("--classes"):
        return dataset.restrict(options.classes) if options.classes else dataset


def network(options: NetworkOptions, dataset: data.Dataset) -> nn.Model:
    """The ConvNet for a data set, or a ``UsageError``."""
    require(dataset.num_classes > 1, "--classes", f"{dataset.name} needs at least 2 classes, has 1")
    with blame(*_NETWORK_OPTIONS):
        return nn.convnet(dataset.num_classes, dataset.image_shape, **dataclasses.asdict(options))


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


def augmentation_of(protocol: evaluate.Protocol) -> Augmentation | None:
    """What a protocol augments with, as artefacts say it."""
    if protocol.augmentation == "none":
        return None
    return Augmentation(protocol.augmenter, protocol.augmentation)


def with_epochs(protocol: evaluate.Protocol, epochs: int | None) -> evaluate.Protocol:
    """The protocol with another number of epochs, named so that no one takes it for the original."""
    if epochs is None or epochs == protocol.epochs:
        return protocol
    require(epochs >= 1, "--eval-epochs", f"must be at least 1, got {epochs}")
    return dataclasses.replace(protocol, name=f"{protocol.name}, {epochs} epochs", epochs=epochs)


def base_protocol(method: str, dataset: str, eval_norm: str, **own: Any) -> evaluate.Protocol:
    """The protocol that belongs to a method: the papers' where they have one."""
    return methods.METHODS[method].protocol(base_name(dataset), eval_norm=eval_norm, **own)


def default_eval_norm(norm: str) -> str:
    """The norm of evaluation networks: the papers evaluate on instance norm what BatchNorm matched."""
    return "instance" if norm == "batch" else norm


def check_augmentation(protocol: evaluate.Protocol, dataset: data.Dataset, option: str) -> None:
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


def fingerprint(dataset: data.Dataset) -> str:
    """A short hash of the training images, their labels and their normalisation."""
    train = dataset.train
    digest = hashlib.blake2b(digest_size=8)
    for array in (train.images, train.labels):
        digest.update(np.ascontiguousarray(array).reshape(-1).data)
    digest.update(repr((train.images.shape, dataset.mean, dataset.std)).encode())
    return digest.hexdigest()


def _eval_network(options: NetworkOptions, norm: str, dataset: data.Dataset) -> nn.Model:
    chosen = dataclasses.asdict(dataclasses.replace(options, norm=norm))
    with blame("--eval-norm"):
        return nn.convnet(dataset.num_classes, dataset.image_shape, **chosen)


def _own(command: Distill) -> dict[str, Any]:
    """The method's own options, resolved."""
    own = command.own()
    if "strategy" in own:
        given = own["strategy"]
        with blame("--strategy"):
            strategy = default_strategy(command.data.data) if given is None else given
            own["strategy"] = strategy if augment.parse_strategy(strategy) else "none"
    return own


def _check_numbers(command: Distill) -> None:
    loop, report, run = command.loop, command.report, command.run
    require(command.ipc >= 1, "--ipc", f"must be at least 1, got {command.ipc}")
    least = {
        "--networks": (loop.networks, 1),
        "--updates": (loop.updates, 1),
        "--net-epochs": (loop.net_epochs, 0),
        "--real-batch": (loop.real_batch, 1),
        "--eval-networks": (report.eval_networks, 1),
        "--eval-every": (report.eval_every, 0),
        "--eval-epochs": (report.eval_epochs, 1),
    }
    for option, (value, low) in least.items():
        require(value is None or value >= low, option, f"must be at least {low}, got {value}")
    rate, momentum, minutes = loop.learning_rate, loop.momentum, run.save_every
    require(0 < rate < math.inf, "--learning-rate", f"must be above 0, got {rate}")
    require(0 <= momentum < 1, "--momentum", f"must be at least 0 and below 1, got {momentum}")
    require(0 <= minutes < math.inf, "--save-every", f"must be at least 0, got {minutes}")
    require(0 <= run.seed < 2**32, "--seed", f"must be from 0 to {2**32 - 1}, got {run.seed}")


def _loops(command: Distill) -> methods.Loops:
    networks = command.loop.networks or _NETWORKS.get(base_name(command.data.data), 1000)
    loops = methods.dc_loops(command.ipc, networks=networks)
    updates, epochs = command.loop.updates, command.loop.net_epochs
    given = updates is not None or epochs is not None
    return loops._replace(
        updates=loops.updates if updates is None else updates,
        net_epochs=loops.net_epochs if epochs is None else epochs,
        interpolated=loops.interpolated and not given,
    )


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


def _resolved(command: Distill, loops: methods.Loops) -> dict[str, Any]:
    """Every option but those that say where files lie and when they are written."""
    eval_networks = command.report.eval_networks
    eval_every = command.report.eval_every
    return {
        "method": command.method,
        "data": command.data.data,
        "classes": list(command.data.classes),
        "ipc": command.ipc,
        "seed": command.run.seed,
        "init": command.init,
        **dataclasses.asdict(command.loop),
        **loops._asdict(),
        **dataclasses.asdict(command.network),
        **dataclasses.asdict(command.report),
        "eval_networks": eval_networks or default_eval_networks(command.data.data),
        "eval_every": -(-loops.networks // 2) if eval_every is None else eval_every,
    }
