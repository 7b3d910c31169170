"""What all scripts share: help, exit codes, and files that state how they were made."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
import sys
import time
from pathlib import Path

import pytest

from jdd.runs import Interrupted, RunError

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SCRIPTS = sorted(
    file.relative_to(EXPERIMENTS).as_posix()
    for file in EXPERIMENTS.rglob("*.py")
    if 'if __name__ == "__main__"' in file.read_text(encoding="utf-8")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Of a script for these tests."""

    number: int = 1


@pytest.fixture
def script(load_script):
    return load_script("benchmarks/script")


def test_all_scripts_are_tested():
    assert len(SCRIPTS) == 21 and {"main_table.py", "benchmarks/choices.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("columns", ["1", "100"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_help(load_script, name, columns, monkeypatch, capsys):
    load_script("benchmarks/script" if "/" in name else "cells")  # on sys.path, and removed later
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(EXPERIMENTS / name), run_name="__main__")
    printed = capsys.readouterr().out
    assert end.value.code == 0 and f"python experiments/{name}" in printed
    assert "{None}" not in printed, "an option without a metavar"
    flag = "--rounds" if "/" in name else "--seed"
    assert flag in printed


def documented() -> list[str]:
    """The commands of scripts in docs/ and in the docstrings of the scripts."""
    files = [*(EXPERIMENTS.parent / "docs").glob("*.md"), *(EXPERIMENTS / name for name in SCRIPTS)]
    texts = [file.read_text(encoding="utf-8").replace("\\\n", " ") for file in files]
    written = [
        " ".join(command.split())
        for text in texts
        for command in re.findall(r"python experiments/([\w/]+\.py[^`#\n]*)", text)
    ]
    return sorted(set(written))


@pytest.mark.parametrize("command", documented())
def test_documented_commands_are_understood(load_script, script, command):
    file, *words = command.split()
    loaded = load_script(file.removesuffix(".py"))
    options = getattr(loaded, "Options", None) or loaded.common.ComparisonOptions
    assert script.parse(loaded.__file__, "", options, words) is not None


@pytest.mark.parametrize("words", [["--number", "x"], ["--numbr", "1"], ["more"]])
def test_arguments_that_cannot_be_read(script, words, capsys):
    file = str(EXPERIMENTS / "main_table.py")
    with pytest.raises(SystemExit) as end:
        script.main(file, "", Options, lambda options, command: None, words)
    assert end.value.code == 2 and words[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (
            Interrupted("stopped at update 3 of 5; to continue: the same command"),
            130,
            "stopped at update 3 of 5; to continue: the same command",
        ),
        (RunError("no space\nleft"), 1, "no space left"),
        (OSError("no space left"), 1, "no space left"),
        (ValueError("ipc must be\nat least 1"), 2, "error: ipc must be at least 1"),
    ],
)
def test_exit_codes(script, error, code, line, capsys):
    def body(options, command):
        raise error

    file = str(EXPERIMENTS / "main_table.py")
    assert script.main(file, "", Options, body, []) == code
    assert capsys.readouterr().err == f"main_table.py: {line}\n"


def test_other_errors_are_defects(script):
    def body(options, command):
        raise TypeError("a defect")

    with pytest.raises(TypeError):
        script.main(str(EXPERIMENTS / "main_table.py"), "", Options, body, [])


def test_a_script_receives_options_and_command(script):
    seen = []
    file = str(EXPERIMENTS / "benchmarks" / "choices.py")
    words = ["--number", "3"]
    assert script.main(file, "", Options, lambda *args: seen.append(args), words) == 0
    assert seen == [(Options(number=3), "python experiments/benchmarks/choices.py --number 3")]


def test_commands_hold_no_paths_of_this_machine(script):
    words = ["dc=/a/set", "sets/b", "--data-dir", "/c d", "--out=/e/f.json", "--strategy", "a_b"]
    command = script.command_line(str(EXPERIMENTS / "main_table.py"), words)
    assert command == (
        "python experiments/main_table.py dc=FOLDER sets/b --data-dir FOLDER --out=FOLDER --strategy a_b"
    )


def test_files_state_how_they_were_made(script, tmp_path):
    file = tmp_path / "a" / "b.json"
    script.write_json(file, {"rows": [1]}, "python x", time.perf_counter() - 2)
    content = json.loads(file.read_text())
    assert content["rows"] == [1] and content["command"] == "python x"
    assert 2 <= content["seconds"] < 60
    assert {"platform", "kind", "count", "processor", "avx512"} <= set(content["device"])
    assert {"python", "jdd", "jax"} <= set(content["versions"])
    if (EXPERIMENTS.parent / ".git").exists():
        assert re.fullmatch(r"\S*[0-9a-f]{7,}(-dirty)?", content["versions"]["commit"])
    with pytest.raises(ValueError):
        script.write_json(file, {"loss": float("nan")}, "python x", 0.0)
    assert json.loads(file.read_text()) == content
