"""Arguments into records, by tyro."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import itertools
import os
import shutil
import sys
import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

from jdd.cli import options, recipe_options
from jdd.cli.errors import UsageError
from jdd.cli.expert_options import Experts
from jdd.validation import one_of

HELP = """usage: jdd COMMAND ...

Dataset distillation as pure JAX functions.

commands:
  distill METHOD   distil a data set; `jdd distill` lists the methods
  distill --config FILE
                   repeat a run from its config.json
  experts          train networks on the real data, for methods that match their trajectories
  evaluate SET     train fresh networks on a set and test them
  show SET         describe a set and draw it
  export SET       write all images of a set as PNG files, or as one .npz
  methods          list methods, choices, protocols and networks

`jdd COMMAND --help` lists the options. Examples:

  jdd distill dsa                                   the digits, in about two minutes
  jdd distill dsa --data cifar10 --data-dir DATA    CIFAR-10, one image per class
  jdd distill dm --objective class_gradients        DM with the objective of DC
  jdd show runs/dsa-digits-ipc1-seed0
  jdd evaluate runs/dsa-digits-ipc1-seed0
  jdd export runs/dsa-digits-ipc1-seed0 --out images

Compiled programs are kept in the user's cache folder; JAX_COMPILATION_CACHE_DIR names another.
JDD_IMPORT names Python modules to import first, separated by commas: your own methods and choices.
"""

# By family of recipes.
_RECIPE_OPTIONS = {
    "networks": recipe_options.RecipeOptions,
    "trajectories": recipe_options.TrajectoryOptions,
}
_METAVARS = {"int": "N", "float": "X", "str": "TEXT"}
_READ_BY: dict[Any, Any] = {
    **dict.fromkeys((int, int | None), options.WHOLE),
    **dict.fromkeys((float, float | None), options.NUMBER),
    **dict.fromkeys((str, str | None), options.TEXT),
}
# Narrower than this, help does not fit and tyro's layout does not end.
_NARROWEST = 40


class Distill(NamedTuple):
    """`jdd distill METHOD` with its options.

    Attributes:
      method: name of the preset.
      ipc: stored images per class.
      method_options: options of this method alone, by argument of the preset.
      recipe: as the records of ``cli.recipe_options``.
      data, network, plan, run: as the records of ``cli.options``.
      given: the flags that were written.
    """

    method: str
    ipc: int
    method_options: dict[str, Any]
    recipe: recipe_options.RecipeOptions | recipe_options.TrajectoryOptions
    data: options.DataOptions
    network: options.NetworkOptions
    plan: options.PlanOptions
    run: options.RunOptions
    given: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> Any:
    """The record of a command; None where help was asked for (and printed).

    Raises:
      UsageError: if the arguments are not understood.
    """
    command, *rest = arguments or ["--help"]
    if command in ("--help", "-h"):
        print(HELP, end="")
        return None
    if command == "--version":
        from jdd import __version__

        print(f"jdd {__version__}")
        return None
    records = {
        "experts": Experts,
        "evaluate": options.Evaluate,
        "show": options.Show,
        "export": options.Export,
        "methods": options.Methods,
    }
    try:
        one_of("command", command, ["distill", *records])
    except ValueError as error:
        raise UsageError(str(error)) from None
    return _parse_distill(rest) if command == "distill" else _read(records[command], command, rest)


def _parse_distill(arguments: Sequence[str]) -> Any:
    if any(word == "--config" or word.startswith("--config=") for word in arguments):
        if arguments[0] and not arguments[0].startswith("-"):
            raise UsageError(
                f"the method is in the config.json: write jdd distill --config FILE without {arguments[0]}"
            )
        return _read(options.Repeat, "distill", arguments, help_of="distill --config FILE")
    from jdd.methods import PRESETS

    lines = [f"  {name:<12}{p.title} ({p.paper})" for name, p in PRESETS.items()]
    if arguments and arguments[0] in ("--help", "-h"):
        print("usage: jdd distill METHOD [OPTIONS], or jdd distill --config FILE [OPTIONS]\n")
        print("\n".join(["methods:", *lines]))
        print(
            "\n`jdd distill METHOD --help` and `jdd distill --config FILE --help` list the options."
        )
        return None
    if not arguments or arguments[0].startswith("-"):
        raise UsageError(f"a method is missing (one of {', '.join(PRESETS)})")
    method, *rest = arguments
    try:
        preset = PRESETS[one_of("method", method, PRESETS)]
    except ValueError as error:
        raise UsageError(str(error)) from None
    record = _read(_distill_record(preset), f"distill {method}", rest)
    if record is None:
        return None
    words = [word.split("=")[0].replace("_", "-") for word in rest if word.startswith("--")]
    given = tuple(dict.fromkeys(words))
    return Distill(
        method,
        record.ipc,
        dataclasses.asdict(record.method),
        record.recipe,
        record.data,
        record.network,
        record.plan,
        record.run,
        given,
    )


def method_options(preset: Any) -> dict[str, inspect.Parameter]:
    """The keyword arguments of a preset that are options of this method alone."""
    shared = [field.name for field in dataclasses.fields(_RECIPE_OPTIONS[preset.family.family])]
    shared += ["ipc", "data", "architecture"]
    parameters = inspect.signature(preset.recipe).parameters
    return {name: p for name, p in parameters.items() if name not in shared}


def _distill_record(preset: Any) -> type:
    """The options of a method: those of all methods of its family, and the keyword arguments of its preset."""
    from docstring_parser import parse as parse_docstring

    recipe = preset.recipe
    doc = parse_docstring(inspect.getdoc(recipe) or "")
    helps = {p.arg_name: " ".join((p.description or "").split()) for p in doc.params}
    types = typing.get_type_hints(recipe)
    fields = []
    for name, parameter in method_options(preset).items():
        kind, text = types.get(name, str), helps.get(name, "")
        first = _first_type(kind)
        metavar = _METAVARS.get(getattr(first, "__name__", ""))
        if type(None) in typing.get_args(kind) and typing.get_origin(first) is typing.Literal:
            metavar = "{" + ",".join(typing.get_args(first)) + "}"
        default = "none" if parameter.default in (None, ()) else ""
        conf = options.option(metavar, text, default) if metavar else options.arg(help=text)
        read_by = _READ_BY.get(kind)
        annotated = Annotated[kind, conf] if read_by is None else Annotated[kind, read_by, conf]
        fields.append((name, annotated, dataclasses.field(default=parameter.default)))
    own = dataclasses.make_dataclass("MethodOptions", fields, frozen=True)
    own.__doc__ = "Options of this method."
    groups = {
        "method": own,
        "recipe": _RECIPE_OPTIONS[preset.family.family],
        "data": options.DataOptions,
        "network": options.NetworkOptions,
        "plan": options.PlanOptions,
        "run": options.RunOptions,
    }
    text = options.option("N", "Stored images per class.")
    ipc = ("ipc", Annotated[int, options.WHOLE, text], 1)
    record = dataclasses.make_dataclass(
        "Distill",
        [
            ipc,
            *(
                (name, kind, dataclasses.field(default_factory=kind))
                for name, kind in groups.items()
            ),
        ],
        frozen=True,
    )
    record.__doc__ = "\n\n".join(filter(None, (doc.short_description, doc.long_description)))
    return record


def _first_type(kind: Any) -> Any:
    """``int`` of ``int | None``, ``float`` of ``tuple[float, ...]``; the type itself else."""
    arguments = [a for a in typing.get_args(kind) if a not in (type(None), Ellipsis)]
    return arguments[0] if arguments and typing.get_origin(kind) is not typing.Literal else kind


def _read(record: type, command: str, arguments: Sequence[str], *, help_of: str = "") -> Any:
    """Reads arguments with tyro; its message becomes one line.

    Args:
      record: what the arguments are read into.
      command: that they follow.
      arguments: the words.
      help_of: the command whose help has the options, where it is another.

    Raises:
      UsageError: if tyro does not understand them.
    """
    import tyro
    from tyro import conf

    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box), _wide_enough():
            return tyro.cli(
                record,
                args=list(arguments),
                prog=f"jdd {command}",
                config=(conf.FlagCreatePairsOff, conf.OmitArgPrefixes),
            )
    except SystemExit as end:
        if not end.code:
            sys.stderr.write(box.getvalue())
            return None
        raise UsageError(f"{_plain(box.getvalue())} (jdd {help_of or command} --help)") from None


def _plain(text: str) -> str:
    """The content of the box that tyro draws around a message, as one line without the help."""
    # The first line is the title, and a rule stands before each further part; without Unicode, of hyphens.
    lines = [line.strip("╭╮╰╯│ ") for line in text.strip().splitlines()[1:]]
    parts = [
        " ".join(filter(None, group))
        for is_rule, group in itertools.groupby(lines, lambda line: set(line) in ({"─"}, {"-"}))
        if not is_rule
    ]
    message = " ".join(part for part in parts if not part.startswith(("Argument help", "For full")))
    return message.strip() or "the arguments cannot be read"


@contextlib.contextmanager
def _wide_enough() -> Iterator[None]:
    """Sets COLUMNS to what help needs, where the terminal is narrower."""
    before = os.environ.get("COLUMNS")
    width = shutil.get_terminal_size().columns
    os.environ["COLUMNS"] = str(max(_NARROWEST, width))
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
