"""``jdd distill``: from options to a run directory with everything in it."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from jdd.cli import report
from jdd.cli.configure import all_flags, configuration, run_folder
from jdd.cli.errors import naming, naming_if_mentioned, require, warnings_as_lines
from jdd.cli.options import Repeat
from jdd.cli.parse import Distill
from jdd.configuration import Configuration
from jdd.runs.directory import check_folder, read_config
from jdd.runs.experiment import prepare
from jdd.runs.session import run


def distill(command: Distill, arguments: Sequence[str]) -> None:
    """Runs ``jdd distill METHOD``.

    Raises:
      UsageError: for a value that is not possible, before anything is written.
      Interrupted: if the user stopped it; the message tells how to continue.
      RunError: if it diverged, or could not be saved; what was finite last is in the run directory.
    """
    options = command.run
    _check_minutes(options.save_every)
    chosen = configuration(command)
    folder = run_folder(chosen, options.out)
    with naming("--out", "--resume"):
        check_folder(folder, resume=options.resume)
    _run(chosen, folder, options, command.data.data_dir, arguments, all_flags(command))


def repeat(command: Repeat, arguments: Sequence[str]) -> None:
    """Runs ``jdd distill --config FILE``.

    Raises:
      UsageError, Interrupted, RunError: as `distill`.
    """
    _check_minutes(command.save_every)
    with naming("--config"):
        content = read_config(command.config.expanduser())
        chosen = Configuration.from_record(content["configuration"])
    if command.seed is not None:
        with naming("--seed"):
            chosen = dataclasses.replace(chosen, seed=command.seed)
    folder = run_folder(chosen, command.out)
    with naming("--out", "--resume"):
        check_folder(folder, resume=command.resume)
    _run(chosen, folder, command, command.data_dir, arguments, ["--config", "--data-dir"])


def _run(
    chosen: Configuration,
    folder: Path,
    options: object,
    data_dir: Path | None,
    arguments: Sequence[str],
    flags: Sequence[str],
) -> None:
    resume, save_every = getattr(options, "resume"), getattr(options, "save_every")  # noqa: B009
    out = report.console()
    with naming_if_mentioned(*flags), warnings_as_lines():
        experiment = prepare(chosen, data_dir=data_dir)
    with naming_if_mentioned("--out", "--resume"):
        result = run(
            experiment,
            folder,
            resume=resume,
            save_minutes=save_every,
            announce=lambda facts: report.facts(out, facts),
            command=shlex.join(["jdd", *arguments]),
        )
    if result.was_complete:
        out.print(f"{result.path} is complete.", soft_wrap=True, markup=False)
    report.scores(out, result.scores)
    if result.schedule:
        words = (f"{name.replace('_', ' ')} {x:,.4g}" for name, x in result.schedule.items())
        report.facts(out, {"networks": ", ".join(words)})
    if not result.was_complete:
        files = "set.safetensors, grid.png, curve.png, result.json, ..."
        out.print(f"Everything is in {result.path} ({files})", soft_wrap=True, markup=False)


def _check_minutes(minutes: float) -> None:
    require(0 <= minutes < math.inf, "--save-every", f"must be at least 0, got {minutes}")
