"""Every mistake on the command line is one line that names the option, and every --help prints."""

from __future__ import annotations

import io
import subprocess
import sys
from importlib.metadata import version

import pytest

from jdd.cli import main, parse
from jdd.methods import CHOICES, PRESETS

MISTAKES = [
    ("distil", ["'distil'", "did you mean 'distill'?", "evaluate"]),
    ("distill", ["a method is missing", "dsa", "dc"]),
    ("distill --ipc 3", ["a method is missing", "dsa"]),
    ("distill dsaa", ["'dsaa'", "did you mean 'dsa'?"]),
    ("distill dsa --ipc x", ["--ipc: must be a whole number, got 'x'"]),
    ("distill dsa --learning-rate fast", ["--learning-rate: must be a number, got 'fast'"]),
    ("distill dsa --ipcc 3", ["Unrecognized options: --ipcc", "--ipc N"]),
    ("distill dsa --whole maybe", ["'maybe'", "'auto'", "--whole"]),
    ("distill dsa --data", ["--data"]),
    ("distill dc --strategy color", ["--strategy"]),
    ("distill dcc --warm-up-networks 1.5", ["--warm-up-networks: must be a whole number"]),
    ("distill cafe --layer-weights a", ["--layer-weights", "'a'"]),
    ("distill --config", ["--config", "jdd distill --config FILE --help"]),
    ("show", ["Missing from jdd show: SET"]),
    ("show one two", ["two"]),
    ("evaluate x --baseline best", ["'best'", "--baseline"]),
    ("methods all", ["all"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_one_line(cli, refused, arguments, words):
    outcome = cli(*arguments.split())
    assert refused(outcome, *words), outcome


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            "distill dm --distance squared-error",
            "Unrecognized options: --distance, squared-error (jdd distill dm --help)",
        ),
        (
            "distill dm --ipc 2 --warm-up-networks 1",
            "Unrecognized options: --warm-up-networks, 1 (jdd distill dm --help)",
        ),
        (
            "distill cafe --rule corect",
            "invalid choice 'corect' for argument '--rule'. Expected one of ('corrected', 'original'). "
            "(jdd distill cafe --help)",
        ),
        (
            "distill dc --learning-rate 0,1",
            "Error parsing --learning-rate: must be a number, got '0,1' (jdd distill dc --help)",
        ),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_parsers_message_in_one_line_without_its_box(
    capsys, monkeypatch, encoding, arguments, line
):
    """Where the output has no Unicode, the parser draws its box with hyphens."""
    boxes, plain = [], parse._plain

    def recorded(text):
        boxes.append(text)
        return plain(text)

    monkeypatch.setattr(parse, "_plain", recorded)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert main(arguments.split()) == 2
    assert capsys.readouterr().err == f"jdd: error: {line}\n"
    (box,) = boxes
    assert ("╭" in box) == (encoding == "utf-8") and "For full" in box


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["distill", "evaluate", "show", "methods", "JAX_COMPILATION_CACHE_DIR", "JDD_IMPORT"]),
        ("--help", ["jdd distill dsa"]),
        ("-h", ["jdd distill dsa"]),
        ("distill --help", ["dsa", "dc", "--config FILE"]),
        ("distill dsa --help", ["--strategy", "--resume", "--ipc", "Siamese"]),
        ("distill dc --help", ["--initial", "--distance"]),
        ("distill dm --help", [f"--{name.replace('_', '-')} CALL" for name in CHOICES]),
        ("distill mtt --help", ["--experts FOLDER", "--steps N", "--iterations N"]),
        ("distill dcc --help", ["--warm-up-networks N", "class-wise matching; None for a"]),
        ("distill cafe --help", ["--outer X", "(default: 0.04)", "{corrected,original}"]),
        ("distill --config FILE --help", ["--data-dir", "--seed", "--out", "--resume"]),
        ("evaluate --help", ["--protocol", "random"]),
        ("show --help", ["--out"]),
        ("methods --help", ["usage: jdd methods"]),
    ],
)
def test_help(cli, arguments, words):
    outcome = cli(*arguments.split())
    assert outcome.code == 0 and not outcome.err
    assert all(word in outcome.out for word in words)


@pytest.mark.parametrize("method", PRESETS)
def test_the_help_of_every_method_has_its_options(cli, method):
    outcome = cli("distill", method, "--help")
    assert outcome.code == 0 and f"usage: jdd distill {method}" in outcome.out
    assert "(default: None)" not in outcome.out and "(default: )" not in outcome.out


def test_version(cli):
    assert cli("--version") == (0, f"jdd {version('jdd')}\n", "")


def test_help_does_not_wait_for_jax():
    program = "import sys; from jdd.cli import main; main(['--help']); print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
