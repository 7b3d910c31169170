"""The experiment's own few lines: when a run is resumed, and what is kept of it."""

from __future__ import annotations

import importlib.util
import json
import signal
import threading
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def table():
    file = Path(__file__).parents[2] / "experiments" / "dsa_main_table.py"
    spec = importlib.util.spec_from_file_location("dsa_main_table", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_is_resumed_where_there_is_one(table, tmp_path):
    assert "--resume" not in table.command("cifar10-dsa-ipc1", "data", 0, tmp_path)
    (tmp_path / "config.json").write_text("{}")
    arguments = table.command("cifar10-dsa-ipc10", "data", 3, tmp_path)
    assert arguments[:4] == ["distill", "dsa", "--data", "cifar10"] and "--resume" in arguments
    assert arguments[arguments.index("--ipc") + 1] == "10"


@pytest.mark.parametrize("losses", [1, 200, 1001])
def test_evaluations_are_all_kept(table, losses):
    records = [{"step": i, "loss": 1.0} for i in range(losses)]
    records.insert(losses // 2, {"step": losses // 2, "accuracy": 0.5})
    records += [{"step": losses, "accuracy": 0.6}, {"step": losses, "baseline": "random"}]
    kept = [json.loads(line) for line in table.thinned([json.dumps(r) for r in records])]
    assert [r for r in kept if "loss" not in r] == [r for r in records if "loss" not in r]
    steps = [r["step"] for r in kept if "loss" in r]
    assert steps[0] == 0 and steps[-1] == losses - 1
    assert min(losses, 100) <= len(steps) <= 201
    assert kept == [r for r in records if r in kept]


def test_a_partial_run_is_kept_as_far_as_it_came(table, tmp_path):
    run, kept = tmp_path / "run", tmp_path / "a" / "kept"
    run.mkdir()
    (run / "config.json").write_text("{}")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    table.keep(run, kept)
    assert sorted(path.name for path in kept.iterdir()) == ["config.json", "metrics.jsonl"]


def test_stopping_is_as_by_the_keyboard(table, monkeypatch):
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    monkeypatch.setattr(table, "jdd", lambda arguments: 130 if asked.wait(20) else 0)
    try:
        assert table.run_for([], 1e-4) == 130
        asked.clear()
        monkeypatch.setattr(table, "jdd", lambda arguments: 0)
        assert table.run_for([], 60) == 0 and not asked.is_set()
    finally:
        signal.signal(signal.SIGINT, before)
