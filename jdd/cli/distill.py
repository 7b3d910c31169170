"""``jdd distill``: from options to a run directory with everything in it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from jdd.cli import report
from jdd.cli.configure import (
    choice_flags,
    configuration,
    data_flags,
    network_flags,
    option_of,
    recipe_flags,
    run_folder,
)
from jdd.cli.errors import UsageError, naming, naming_first, require, warnings_as_lines
from jdd.cli.options import Repeat, RunOptions
from jdd.cli.parse import Distill
from jdd.cli.places import expanded
from jdd.cli.stores import store_for
from jdd.runs.directory import check_folder, read_config
from jdd.runs.errors import FolderError, OtherConfiguration, one_line
from jdd.runs.experiment import ChoicesDoNotFit, Experiment, prepare, require_compilation
from jdd.runs.session import run


def distill(command: Distill, arguments: Sequence[str]) -> None:
    """Runs ``jdd distill METHOD``.

    Raises:
      UsageError: for a value that is not possible, before anything is written.
      Interrupted: if the user stopped it; the message tells how to continue.
      RunError: if it diverged, or could not be saved; what was finite last is in the run directory.
    """
    options = command.run
    _check(options)
    chosen = configuration(command)
    folder = run_folder(chosen, options.out)
    with _naming_folder(options.resume):
        check_folder(folder, resume=options.resume)
    folder_of_experts = getattr(command.recipe, "experts", None)
    with naming("--norm", "--experts", usual=["--experts"]):
        store = store_for(chosen, folder_of_experts, data_dir=command.data.data_dir)
    with _naming_prepared(command), warnings_as_lines():
        experiment = prepare(chosen, data_dir=command.data.data_dir, experts=store)
    _run(experiment, folder, options, arguments, lambda entry: option_of(entry, command))


def repeat(command: Repeat, arguments: Sequence[str]) -> None:
    """Runs ``jdd distill --config FILE``.

    Raises:
      UsageError, Interrupted, RunError: as `distill`.
    """
    _check(command)
    with naming("--config"):
        chosen = read_config(expanded(command.config))[1]
    if command.data is not None:
        chosen = dataclasses.replace(
            chosen, data=dataclasses.replace(chosen.data, name=command.data)
        )
    if command.seed is not None:
        with naming("--seed"):
            chosen = dataclasses.replace(chosen, seed=command.seed)
    folder = run_folder(chosen, command.out)
    with _naming_folder(command.resume):
        check_folder(folder, resume=command.resume)
    with naming("--experts"):
        store = store_for(chosen, command.experts, data_dir=command.data_dir)
    with naming("--data", "--data-dir", "--experts", usual=["--config"]), warnings_as_lines():
        experiment = prepare(chosen, data_dir=command.data_dir, experts=store)
    _run(experiment, folder, command, arguments, lambda entry: "--config")


def _run(
    experiment: Experiment,
    folder: Path,
    options: RunOptions | Repeat,
    arguments: Sequence[str],
    option_of: Callable[[str], str],
) -> None:
    out = report.console()
    with _naming_folder(options.resume, option_of):
        result = run(
            experiment,
            folder,
            resume=options.resume,
            save_minutes=options.save_every,
            announce=lambda facts: report.facts(out, facts),
            command=shlex.join(["jdd", *arguments]),
        )
    if result.was_complete:
        out.print(f"{result.path} is complete.", soft_wrap=True, markup=False)
    report.scores(out, result.scores)
    if result.schedule:
        words = (f"{name.replace('_', ' ')} {x:,.4g}" for name, x in result.schedule.items())
        report.facts(out, {experiment.configuration.recipe.length: ", ".join(words)})
    if not result.was_complete:
        files = "set.safetensors, grid.png, curve.png, result.json, ..."
        out.print(f"Everything is in {result.path} ({files})", soft_wrap=True, markup=False)


@contextlib.contextmanager
def _naming_prepared(command: Distill) -> Iterator[None]:
    """Names the option that a run is refused for.

    That which the message begins with; else those of the command that it mentions; else all choices of
    the command, because a message about choices that do not fit has the names of many.
    """
    recipe, network = recipe_flags(command), network_flags(command.network)
    sets = [choice_flags(command), recipe, network]
    usual = next(filter(None, ([f for f in command.given if f in flags] for flags in sets)), [])
    try:
        with naming_first("METHOD", *data_flags(command), *recipe, *network):
            yield
    except ChoicesDoNotFit as error:
        with naming(usual=usual):
            raise error
    except (ValueError, OSError) as error:
        with naming(*command.given, usual=usual):
            raise error


@contextlib.contextmanager
def _naming_folder(resume: bool, option_of: Callable[[str], str] | None = None) -> Iterator[None]:
    """Names the option of what is wrong with a run directory; other errors pass."""
    try:
        yield
    except OtherConfiguration as error:
        option = "--resume" if option_of is None else option_of(error.entry)
        raise UsageError(f"{one_line(error)} (option {option})") from error
    except FolderError as error:
        with naming("--out", "--resume", usual=["--resume" if resume else "--out"]):
            raise error


def _check(options: RunOptions | Repeat) -> None:
    """Refuses what no run can have, before anything is read."""
    minutes = options.save_every
    require(0 <= minutes < math.inf, "--save-every", f"must be at least 0, got {minutes}")
    with naming(usual=()):
        require_compilation()
