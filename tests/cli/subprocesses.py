"""Commands in a process of their own, which starts once for many of them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jdd
from tests.cli.conftest import Outcome

ROOT = str(Path(jdd.__file__).parents[1])


def environment(changes: Mapping[str, str] = {}) -> dict[str, str]:
    """The environment of a process that imports this jdd."""
    path = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **changes}


def in_one_process(
    commands: Sequence[Sequence[object]], changes: Mapping[str, str], cwd: Path
) -> list[Outcome]:
    """The outcomes of commands that run one after the other in one new process."""
    text = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.subprocesses"],
        input=text,
        env=environment(changes),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(*outcome) for outcome in json.loads(done.stdout)]


def traced(words: Sequence[str]) -> int:
    """Traces a whole run of ``jdd distill`` and compiles nothing; the exit code."""
    import jax

    from jdd import methods
    from jdd.cli.configure import configuration
    from jdd.cli.parse import parse
    from jdd.runs import prepare

    try:
        experiment = prepare(configuration(parse(words)))
        method, data = experiment.method, experiment.data
        state = jax.eval_shape(method.init, jax.random.key(0), data)
        methods.advance(method, 4).lower(state, data, 1)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> None:
    """Runs the commands on stdin; writes their outcomes to stdout. ``trace`` is `traced`."""
    from jdd.cli import main as command_line

    outcomes = []
    for words in json.load(sys.stdin):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = traced(words[1:]) if words[0] == "trace" else command_line(words)
        outcomes.append((code, out.getvalue(), err.getvalue()))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
