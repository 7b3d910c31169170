"""A run that was stopped, killed and resumed ends with the same bits as one that was not."""

from __future__ import annotations

import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import methods
from jdd.checkpoint import Checkpoints
from jdd.cli import main
from jdd.cli.configure import configuration
from jdd.cli.parse import parse
from jdd.runs import loop, prepare
from jdd.runs.directory import RunDirectory

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

CACHE = "JAX_COMPILATION_CACHE_DIR"
# Two updates per network, so that the network, which is trained in between, is a part of the state.
OPTIONS = (
    "--classes 0 1 --ipc 2 --width 4 --depth 1 --real-batch 8 --networks 5 --updates 2 "
    "--net-epochs 1 --eval-networks 2 --eval-epochs 1 --eval-every 3 --whole no --seed 5"
).split()


class Killed(BaseException):
    """Ends a run at once, as a power cut would."""


def distill(out, *more):
    return main(["distill", "dc", *OPTIONS, "--out", str(out), *more])


@pytest.fixture(scope="module")
def experiment():
    return prepare(configuration(parse(["distill", "dc", *OPTIONS])))


def leaves(out, state):
    restored = Checkpoints(out / "checkpoints").restore(None, state)
    return [
        np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
        for x in jax.tree.leaves(restored)
    ]


def records(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def without_seconds(record):
    score = {k: v for k, v in record["score"].items() if k != "seconds"}
    return {**record, "score": score}


@pytest.mark.slow
def test_a_resumed_run_is_the_run(tmp_path, monkeypatch, capsys, experiment):
    # The command line makes no cache of its own where this variable is set.
    monkeypatch.setenv(CACHE, os.environ.get(CACHE, str(tmp_path / "jax")))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert distill(whole) == 0
    saved = json.loads((whole / "config.json").read_text())
    assert saved["configuration"] == experiment.configuration.record()

    append, stops = RunDirectory.append, []

    def at(step, kind, action):
        """Calls ``action`` after the first record of this kind at this step or later."""

        def patched(self, record):
            append(self, record)
            if record["step"] >= step and kind in record and step not in stops:
                stops.append(step)
                action()

        monkeypatch.setattr(RunDirectory, "append", patched)

    def kill():
        raise Killed

    monkeypatch.setattr(
        loop.Pace, "next", lambda self, limit, next=loop.Pace.next: next(self, min(limit, 2))
    )
    # An error before the first checkpoint: there is nothing to continue, and nothing is left.
    at(1, "loss", kill)
    with pytest.raises(Killed):
        distill(parts)
    assert not parts.exists()
    # As a SIGKILL before the first checkpoint leaves it: the next start begins again.
    parts.mkdir()
    shutil.copy(whole / "config.json", parts)
    (parts / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "seconds": 0.5}\n')
    # Ctrl-C: the dispatch ends, the state is saved, and the last line has the command that continues.
    at(3, "loss", lambda: signal.raise_signal(signal.SIGINT))
    capsys.readouterr()
    assert distill(parts, "--resume") == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert "stopped at update 3 of 10" in last and last.endswith(f"--out {parts} --resume")
    # Killed after a dispatch, before its checkpoint.
    at(4, "loss", kill)
    with pytest.raises(Killed):
        distill(parts, "--resume")
    assert records(parts)[-1]["step"] == 4
    assert Checkpoints(parts / "checkpoints").latest() == 3
    with open(parts / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "acc')
    # Killed just after an evaluation was recorded: it is not done again.
    at(6, "accuracy", kill)
    with pytest.raises(Killed):
        distill(parts, "--resume")
    # Stopped in the final evaluation, after the last step.
    at(10, "accuracy", lambda: signal.raise_signal(signal.SIGINT))
    assert distill(parts, "--resume") == 130
    assert not (parts / "result.json").exists()
    assert distill(parts, "--resume") == 0
    assert stops == [1, 3, 4, 6, 10]

    for name in ("set.safetensors", "set.json"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    state = experiment.method.init(jax.random.key(0), experiment.data)
    for a, b in zip(leaves(parts, state), leaves(whole, state), strict=True):
        np.testing.assert_array_equal(a, b)

    scores, expected = ([r for r in records(out) if "score" in r] for out in (parts, whole))
    assert list(map(without_seconds, scores)) == list(map(without_seconds, expected))
    steps = [record["step"] for record in records(parts)]
    assert steps == sorted(steps)
    losses = [record for record in records(parts) if "loss" in record]
    assert len({record["step"] for record in losses}) == len(losses)


def test_the_state_does_not_depend_on_the_dispatches(experiment):
    program = methods.advance(experiment.method, 16)

    def run(*counts):
        state = experiment.method.init(jax.random.key(1), experiment.data)
        losses = []
        for n in counts:
            state, more = program(state, experiment.data, n)
            losses += np.asarray(more)[:n].tolist()
        return np.asarray(experiment.method.decode(state).images), losses

    images, losses = run(7)
    for counts in ([1] * 7, [3, 4]):
        other_images, other_losses = run(*counts)
        np.testing.assert_array_equal(other_images, images)
        assert other_losses == losses
