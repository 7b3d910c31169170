"""From the options of `jdd distill` to a configuration; each value is refused by its option's name."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jdd import artefact as artefact  # registers from_set
from jdd import choice, nn
from jdd.cli.errors import UsageError, naming
from jdd.cli.options import Evaluate, NetworkOptions, PlanOptions
from jdd.cli.parse import Distill, method_options
from jdd.cli.places import expanded
from jdd.cli.recipe_options import RecipeOptions, TrajectoryOptions
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.file_names import file_name
from jdd.methods import PRESETS, Recipe, TrajectoryRecipe
from jdd.methods.presets.constants import data_name
from jdd.validation import one_of

T = TypeVar("T")

# Options that change one argument of a choice: (field of the recipe, argument).
SHORTCUTS: Mapping[str, tuple[str, str]] = {
    "learning_rate": ("optimizer", "learning_rate"),
    "momentum": ("optimizer", "momentum"),
    "real_batch": ("sampler", "n"),
    "net_epochs": ("motion", "epochs"),
}
# Options that replace a number of the recipe.
_NUMBERS = {
    "networks": ("networks", "updates", "networks_per_update"),
    "trajectories": ("expert_epochs", "iterations", "skip_above", "average"),
}
AnyRecipe = Recipe | TrajectoryRecipe
AnyOptions = RecipeOptions | TrajectoryOptions
NETWORK_OPTIONS = tuple(
    field.name for field in dataclasses.fields(NetworkOptions) if field.name != "model"
)
# On digits a run is to last two minutes on two cores; elsewhere the papers' number.
_EVAL_NETWORKS = {"digits": 3}


def configuration(command: Distill) -> Configuration:
    """The configuration that a command asks for; the data set is not loaded yet.

    Raises:
      UsageError: one line that names the option.
    """
    network = matched_network(command.network)
    own = inspect.signature(PRESETS[command.method].recipe).parameters
    options = command.recipe
    if isinstance(options, RecipeOptions):
        options = dataclasses.replace(options, **{n: None for n in SHORTCUTS if n in own})
    recipe = edited(preset(command, network), options)
    _require_effect(recipe, command.recipe)
    with naming("--seed"):
        configuration = Configuration(
            recipe,
            DataChoice(command.data.data, command.data.classes, command.data.test_share),
            network,
            plan(command.plan, recipe, command.data.data),
            command.run.seed,
        )
    with naming("--eval-norm"):
        _ = configuration.eval_network
    return configuration


def preset(command: Distill, network: nn.Network) -> AnyRecipe:
    """The recipe of the method, with its own options.

    Raises:
      UsageError: for a value that is not possible.
    """
    make = PRESETS[command.method].recipe
    arguments: dict[str, Any] = dict(command.method_options)
    # Some methods depend on the length of the run (the warm-up of DCC).
    for field in dataclasses.fields(command.recipe):
        value = getattr(command.recipe, field.name)
        if value is not None and field.name in inspect.signature(make).parameters:
            arguments[field.name] = value
    flags = ["--ipc", *map(flag, arguments)]
    with naming(*flags, usual=[each for each in command.given if each in flags]):
        return make(
            command.ipc,
            data=command.data.data,
            architecture=network.architecture,
            **arguments,
        )


def edited(recipe: AnyRecipe, options: AnyOptions) -> AnyRecipe:
    """A recipe with the choices and numbers of the command line in place of its own.

    Raises:
      UsageError: for a call that cannot be read, a choice of another kind, or a number out of range.
    """
    for name, kind in recipe.choices.items():
        text = getattr(options, name)
        if text is not None:
            with naming(flag(name)):
                value = parsed(text, kind)
                recipe = dataclasses.replace(recipe, **{name: value})
    for name in _NUMBERS[recipe.family]:
        value = getattr(options, name)
        if value is not None:
            with naming(flag(name)):
                recipe = dataclasses.replace(recipe, **{name: value})
    if not isinstance(options, RecipeOptions):
        return recipe
    if options.over_classes is not None:
        text = options.over_classes
        with naming("--over-classes"):
            over = int(text) if text.isdecimal() else text
            recipe = dataclasses.replace(recipe, over_classes=over)
    for name, (field, argument) in SHORTCUTS.items():
        value = getattr(options, name)
        if value is not None:
            with naming(flag(name)):
                changed = getattr(recipe, field).with_arguments(**{argument: value})
                recipe = dataclasses.replace(recipe, **{field: changed})
    return recipe


def parsed(text: str, kind: type[T]) -> T:
    """The choice that an expression makes.

    Raises:
      ValueError: for a name that is not registered, an expression that cannot be read, or a choice of
        another kind.
    """
    name = text.partition("(")[0].strip()
    if name.isidentifier() and name not in choice.FACTORIES:
        one_of("choice", name, factories_of(kind))
    value = choice.parse(text)
    if not isinstance(value, kind):
        raise ValueError(
            f"{text} is of kind {type(value).__name__}, not {kind.__name__} "
            f"(allowed: {', '.join(factories_of(kind))})"
        )
    return value


def factories_of(kind: type) -> list[str]:
    """The names of the registered factories that state to make this kind of choice."""

    def result(factory: Any) -> Any:
        try:
            return typing.get_type_hints(factory).get("return")
        except (NameError, TypeError):  # annotations of a user's that cannot be resolved
            return None

    return [name for name, factory in choice.FACTORIES.items() if result(factory) is kind]


def _require_effect(recipe: AnyRecipe, options: AnyOptions) -> None:
    """Refuses training of the network that was asked for, where no update of the set follows it."""
    if not isinstance(recipe, Recipe):
        return
    flags = [flag(n) for n in ("net_epochs", "motion") if getattr(options, n) not in (None, 0)]
    call = recipe.motion.expression
    if not flags or recipe.updates > 1 or call is None:
        return
    epochs_or_images = {"on_synthetic": "epochs", "on_real": "images"}.get(call.name)
    arguments = dict(call.arguments)
    if epochs_or_images and arguments[epochs_or_images] and not arguments.get("first_images"):
        message = f"{call} has no effect with one update per network: give --updates above 1"
        raise UsageError(f"{message} (option {flags[0]})")


def plan(options: PlanOptions, recipe: AnyRecipe, data: str) -> EvaluationPlan:
    """What is measured.

    Raises:
      UsageError: for a number that is out of range.
    """
    networks = options.eval_networks
    every = -(-recipe.rounds // 2) if options.eval_every is None else options.eval_every
    with naming("--eval-networks"):
        base = EvaluationPlan(
            _EVAL_NETWORKS.get(data_name(data), 20) if networks is None else networks,
            norm=options.eval_norm,
            random=options.random == "yes",
            whole=options.whole,
        )
    with naming("--eval-every"):
        base = dataclasses.replace(base, every=every)
    with naming("--eval-epochs"):
        return dataclasses.replace(base, epochs=options.eval_epochs)


def matched_network(options: NetworkOptions) -> nn.Network:
    """The network that is matched on.

    Raises:
      UsageError: if there is no such network, or it has no such option.
    """
    with naming("--model"):
        nn.network(options.model)
    with naming(*network_flags(options)):
        return nn.network(options.model, **chosen(options))


def chosen(options: NetworkOptions | Evaluate) -> dict[str, Any]:
    """The options of a network that the command line gives."""
    values = {name: getattr(options, name) for name in NETWORK_OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


def network_flags(options: NetworkOptions | Evaluate) -> tuple[str, ...]:
    """The flags that choose the network."""
    first = "--models" if isinstance(options, Evaluate) else "--model"
    return first, *(flag(name) for name in chosen(options))


def data_flags(command: Distill) -> list[str]:
    """The flags of the data, and of what is measured with it."""
    records = (command.data, command.plan)
    return [flag(field.name) for record in records for field in dataclasses.fields(record)]


def recipe_flags(command: Distill) -> list[str]:
    """The flags of the recipe."""
    flags = choice_flags(command)
    others = (flag(field.name) for field in dataclasses.fields(command.recipe))
    return [*flags, "--ipc", *(each for each in others if each not in flags)]


def choice_flags(command: Distill) -> list[str]:
    """The flags of the choices of the recipe, and of what they are made of."""
    preset = PRESETS[command.method]
    shortcuts = SHORTCUTS if preset.family is Recipe else ()
    return [flag(n) for n in (*preset.family.choices, *shortcuts, *method_options(preset))]


def option_of(entry: str, command: Distill) -> str:
    """The option that sets an entry of a configuration, such as "recipe.sampler.n".

    >>> command = Distill("dsa", 1, {}, *(None,) * 5)
    >>> [
    ...     option_of(entry, command)
    ...     for entry in ("recipe.sampler.n", "recipe.augment.strategy", "network.width")
    ... ]
    ['--real-batch', '--strategy', '--width']
    """
    part, _, name = entry.partition(".")
    special = {"recipe.name": "METHOD", "network.architecture": "--model"}
    special |= {"data.name": "--data", "data.fingerprint": "--data"}
    if entry in special:
        return special[entry]
    if part == "evaluation" and name not in ("random", "whole"):
        return flag(f"eval_{name}")
    if part != "recipe":
        return flag(name or part)
    field, _, argument = name.partition(".")
    for option, place in SHORTCUTS.items():
        if place == (field, argument):
            return flag(option)
    # The protocol follows from the strategy, where a method has one.
    last = "strategy" if field == "protocol" else argument.rpartition(".")[2]
    preset = PRESETS[command.method]
    if last in method_options(preset):
        return flag(last)
    known = ["ipc", *preset.family.choices, *_NUMBERS[preset.family.family], "over_classes"]
    return flag(field) if field in known else "METHOD"


def flag(name: str) -> str:
    """The flag of a field: ``--real-batch`` of ``real_batch``."""
    return "--" + name.replace("_", "-")


def run_folder(configuration: Configuration, out: Path | None) -> Path:
    """The run directory: as given, or runs/METHOD-DATA-ipcN-seedS."""
    if out is not None:
        with naming("--out"):
            return expanded(out)
    name = "-".join(
        [
            configuration.recipe.name,
            configuration.data.name,
            *map(str, configuration.data.classes),
            f"ipc{configuration.recipe.ipc}",
            f"seed{configuration.seed}",
        ]
    )
    return Path("runs", file_name(name))
