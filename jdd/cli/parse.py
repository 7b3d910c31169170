"""Arguments into records, by tyro; a mistake is one line and not a box."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from typing import Any

import tyro
from tyro import conf

from jdd.cli.commands import Command
from jdd.cli.errors import UsageError
from jdd.validation import did_you_mean

_DESCRIPTION = """Dataset distillation as pure JAX functions.

Distil a real data set into a few images per class, evaluate it, look at it:

  jdd distill dsa                                     the digits, in about two minutes
  jdd distill dsa --data cifar10 --data-dir data      CIFAR-10, one image per class
  jdd show runs/dsa-digits-ipc1-seed0
  jdd evaluate runs/dsa-digits-ipc1-seed0

Compiled programs are kept in the user's cache folder; JAX_COMPILATION_CACHE_DIR names another."""


def parse(arguments: Sequence[str]) -> Any:
    """The record of a command; None where help was asked for (and printed).

    Raises:
      UsageError: if tyro does not understand the arguments.
    """
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(
                Command,  # type: ignore[arg-type]
                args=list(arguments) or ["--help"],
                prog="jdd",
                description=_DESCRIPTION,
                config=(conf.FlagCreatePairsOff, conf.OmitArgPrefixes, conf.OmitSubcommandPrefixes),
            )
    except SystemExit as end:
        if not end.code:
            sys.stderr.write(box.getvalue())
            return None
        raise UsageError(explain(box.getvalue())) from None


def explain(text: str) -> str:
    """One line for the box that tyro draws around a mistake."""
    title, parts = _open_box(text)
    message = parts[0] if parts else title
    more = " ".join(parts[1:])
    if found := re.match(r"Error parsing (\S+): (.*)", message):
        flag, reason = found[1].split("/")[0], found[2]
        if reason.startswith(
            "no type matching"
        ):  # an option that may be None: what the other type says
            reason = reason.rpartition("'>: ")[2]
        reason = re.sub(
            r"invalid literal for int\(\) with base 10: ", "not a whole number: ", reason
        )
        reason = re.sub(r"could not convert string to float: ", "not a number: ", reason)
        return f"{reason} (option {flag})"
    if found := re.match(
        r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of (.*)", message
    ):
        return f"'{found[1]}' is not one of {found[3].rstrip('.')} (option {found[2]})"
    if found := re.match(
        r"Unrecognized or misplaced options: (\S+) \(applied to ([\w -]+)\)", message
    ):
        return f"{found[2]} has no option {found[1]}: see {found[2]} --help"
    if found := re.match(r"Unrecognized options: (\S+)", message):
        word = found[1].rstrip(",")
        if known := re.search(r"Available subcommands: ([\w, -]+?)(?: For full|$)", more):
            names = known[1].split(", ")
            hint = did_you_mean(word, names)
            return f"unknown command or method '{word}'{hint} (known: {', '.join(names)})"
        # One section of hints per unknown option, in the order of a set: that is, in any.
        heads = (f"Arguments similar to {word}: ", "Perhaps you meant: ")
        hints = [part for part in parts if part.startswith(heads)]
        near = re.search(r": (--[\w-]+)", hints[0]) if hints else None
        return f"unknown option {word}" + (f", did you mean {near[1]}?" if near else "")
    if found := re.match(r"Expected one of \{(.*?)\}", message):
        return f"a command or method is missing (one of {found[1]})"
    if found := re.match(r"Missing from (.*?): (\S+)", message):
        return f"{found[1]} needs {found[2]}: see {found[1]} --help"
    if found := re.match(r"Missing value for argument '(\S+)'", message):
        return f"a value is missing (option {found[1]})"
    return message


def _open_box(text: str) -> tuple[str, list[str]]:
    """The title of a box, and its sections as one line each.

    Where stdout is not UTF-8, tyro draws with spaces and hyphens.
    """
    title, sections = "", [""]
    for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():
        content = line.strip("╭╮╰╯│─ ")
        if not title:
            title = content
        elif re.fullmatch("-{5,}", content) or (not content and "─" in line):
            sections.append("")
        else:
            sections[-1] += content + " "
    return title, [" ".join(section.split()) for section in sections if section.strip()]
