"""What the README, the pages of docs/ and `jdd --help` write of the command line exists."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from jdd import nn
from jdd.cli import options, parse
from jdd.cli.configure import configuration
from jdd.cli.evaluate import named_protocol, real_images
from jdd.methods import PRESETS

ROOT = Path(__file__).parents[2]
PAGES = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / "docs").glob("*.md")}
PAGES["README.md"] = (ROOT / "README.md").read_text(encoding="utf-8")
# Their text is about the options of experiments.
OF_EXPERIMENTS = ("results.md", "performance.md", "performance-choices.md")


def commands() -> list[str]:
    """The commands of all shell blocks, and the examples of the help."""
    written = re.findall(r"^  (jdd .*?)(?:  |$)", parse.HELP, re.MULTILINE)
    for text in PAGES.values():
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["jdd"]:
                    written.append(shlex.join(word for word in words if word != "..."))
    return sorted(set(written))


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood(command):
    record = parse.parse(shlex.split(command)[1:])
    assert record is not None
    if isinstance(record, parse.Distill):
        configuration(record)
    if isinstance(record, options.Evaluate):
        real_images(record.set, "SET", is_set_allowed=True)
        real_images(record.baseline, "--baseline")
        nn.parse_networks(record.models or "SS", trained=nn.network("convnet"))
        if record.protocol is not None:
            named_protocol(record.protocol)


@pytest.fixture(scope="module")
def flags() -> set[str]:
    """The options of all commands."""
    helps = [["evaluate"], ["show"], ["experts"], ["export"], ["distill", "--config", "FILE"]]
    helps += [["distill", method] for method in PRESETS]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for words in helps:
            parse.parse([*words, "--help"])
    return {"--version", *re.findall(r"--[a-z][a-z-]*", printed.getvalue())}


@pytest.mark.parametrize("page", sorted(PAGES.keys() - set(OF_EXPERIMENTS)))
def test_options_in_the_text_exist(page, flags):
    text = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    spans = [span for span in re.findall(r"`([^`]*)`", text) if re.match("--|jdd ", span)]
    written = {flag for span in spans for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", span)}
    assert written <= flags, written - flags
