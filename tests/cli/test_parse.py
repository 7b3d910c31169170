"""Every mistake on the command line is one line that names the option, and every --help prints."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jdd.cli.parse import explain

MISTAKES = [
    ("distil", ["'distil'", "did you mean 'distill'?", "evaluate"]),
    ("distill", ["dsa", "dc"]),
    ("distill dsaa", ["'dsaa'", "did you mean 'dsa'?"]),
    ("distill dsa --ipc x", ["not a whole number: 'x'", "--ipc"]),
    ("distill dsa --learning-rate fast", ["not a number: 'fast'", "--learning-rate"]),
    ("distill dsa --ipcc 3", ["--ipcc", "did you mean --ipc?"]),
    ("distill dsa --whole maybe", ["'maybe'", "'auto'", "--whole"]),
    ("distill dsa --data", ["--data"]),
    ("distill dc --strategy color", ["--strategy"]),
    ("show", ["jdd show needs SET"]),
    ("show one two", ["two"]),
    ("evaluate x --baseline best", ["'best'", "--baseline"]),
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
            "jdd distill dm has no option --distance: see jdd distill dm --help",
        ),
        (
            "distill dm --ipc 2 --warm-up-networks 1",
            "jdd distill dm has no option --warm-up-networks: see jdd distill dm --help",
        ),
        ("distill dsa --distanc x", "unknown option --distanc, did you mean --distance?"),
        ("distill dm --distanc x --ipcc 3", "unknown option --distanc, did you mean --distance?"),
        (
            "distill dcc --warm-up-networks 1.5",
            "not a whole number: '1.5' (option --warm-up-networks)",
        ),
        ("distill dc --learning-rate 0,1", "not a number: '0,1' (option --learning-rate)"),
    ],
)
def test_a_mistake_in_our_words(cli, refused, arguments, line):
    outcome = cli(*arguments.split())
    assert refused(outcome) and outcome.err == f"jdd: error: {line}\n", outcome


@pytest.mark.parametrize("order", [1, -1])
def test_the_hint_is_of_the_option_it_stands_beside(order):
    """The parser lists its hints in the order of a set, which the hash seed decides."""
    hints = [
        "│ Arguments similar to --ipcc:   │\n│     --ipc N   │\n",
        "│ Arguments similar to --distanc:   │\n│     --distance NAME   │\n",
    ][::order]
    rule = f"│ {'─' * 20} │\n"
    title = (
        f"╭─ Unrecognized options {'─' * 8}╮\n│ Unrecognized options: --distanc, x, --ipcc, 3 │\n"
    )
    text = title + rule + rule.join(hints) + f"╰{'─' * 20}╯\n"
    assert explain(text) == "unknown option --distanc, did you mean --distance?"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["distill", "evaluate", "show", "methods", "JAX_COMPILATION_CACHE_DIR"]),
        ("--help", ["jdd distill dsa"]),
        ("distill --help", ["dsa", "dc"]),
        ("distill dsa --help", ["--strategy", "--resume", "--ipc", "Siamese"]),
        ("distill dc --help", ["--init", "(default: noise)"]),
        ("evaluate --help", ["--protocol", "random"]),
        ("show --help", ["--out"]),
    ],
)
def test_help(cli, arguments, words):
    outcome = cli(*arguments.split())
    assert outcome.code == 0 and not outcome.err
    assert all(word in outcome.out for word in words)


def test_help_does_not_wait_for_jax():
    program = "import sys; from jdd.cli import main; main(['--help']); print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False", done.stderr
