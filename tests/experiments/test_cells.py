"""The experiment's own few lines: when a run is resumed, and what is kept of it."""

from __future__ import annotations

import importlib
import json
import signal
import threading
from argparse import Namespace

import pytest


@pytest.fixture
def cells(load_script):
    return load_script("cells")


def test_the_command_of_a_cell(cells):
    main_table = importlib.import_module("main_table")
    options = Namespace(data="cifar10", method="dm", ipc=10, data_dir="d", seed=3, networks=None)
    options.strategy, options.init, options.rule = None, None, None
    options.eval_networks, options.no_random = 20, False
    arguments = main_table.command(options)
    assert arguments[:4] == ["distill", "dm", "--data", "cifar10"]
    assert arguments[arguments.index("--ipc") + 1] == "10" and "--networks" not in arguments
    assert main_table.name(options) == "cifar10-dm-ipc10-seed3"
    options.networks = 50
    assert main_table.command(options)[-2:] == ["--networks", "50"]
    assert main_table.name(options) == "cifar10-dm-ipc10-networks50-seed3"
    options.method, options.strategy = "cafe", "crop_flip"
    assert main_table.command(options)[-2:] == ["--strategy", "crop_flip"]
    assert main_table.name(options) == "cifar10-cafe-crop_flip-ipc10-networks50-seed3"
    options.init, options.no_random = "real", True
    assert main_table.command(options)[-4:] == ["--init", "real", "--random", "no"]
    assert "-cafe-crop_flip-real-ipc10-" in main_table.name(options)


def test_the_ablation_of_cafe_is_understood_by_the_command_line(cells):
    from jdd.cli.parse import parse

    ablation = importlib.import_module("cafe_ablation")
    found = {}
    for variant, (method, words) in ablation.VARIANTS.items():
        found[variant] = parse(["distill", method, *words])
    assert found["layer2"].layer_weights == (0.0, 1.0, 0.0, 0.0, 0.0)
    assert found["layer4"].layer_weights == (0.0, 0.0, 0.0, 1.0, 1.0)
    assert found["alignment"].discrimination == 0 and found["full"].layer_weights == ()
    assert found["discrimination"].layer_weights == (0.0,) * 5
    assert found["fixed"].method == "cafe-fixed"
    loops = ablation.same_loops({"updates_mean": 11.4, "epochs_mean": 124.8})
    assert loops == ["--updates", "11", "--net-epochs", "12"]


def test_a_run_is_resumed_where_there_is_one(cells, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(cells, "jdd", lambda arguments: seen.append(arguments) or 0)
    run, kept = tmp_path / "run", tmp_path / "kept"
    assert cells.run_cell(["distill", "dc"], run, kept) == 0 and not kept.exists()
    run.mkdir()
    (run / "config.json").write_text("{}")
    cells.run_cell(["distill", "dc"], run, kept)
    assert "--resume" not in seen[0] and seen[1][-1] == "--resume"
    assert (kept / "config.json").is_file()


@pytest.mark.parametrize("losses", [1, 200, 1001])
def test_evaluations_are_all_kept(cells, losses):
    records = [{"step": i, "loss": 1.0} for i in range(losses)]
    records.insert(losses // 2, {"step": losses // 2, "accuracy": 0.5})
    records += [{"step": losses, "accuracy": 0.6}, {"step": losses, "baseline": "random"}]
    kept = [json.loads(line) for line in cells.thinned([json.dumps(r) for r in records])]
    assert [r for r in kept if "loss" not in r] == [r for r in records if "loss" not in r]
    steps = [r["step"] for r in kept if "loss" in r]
    assert steps[0] == 0 and steps[-1] == losses - 1
    assert min(losses, 100) <= len(steps) <= 201
    assert kept == [r for r in records if r in kept]


def test_a_partial_run_is_kept_as_far_as_it_came(cells, tmp_path):
    run, kept = tmp_path / "run", tmp_path / "a" / "kept"
    run.mkdir()
    (run / "config.json").write_text("{}")
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    cells.keep(run, kept)
    assert sorted(path.name for path in kept.iterdir()) == ["config.json", "metrics.jsonl"]


def test_stopping_is_as_by_the_keyboard(cells, monkeypatch):
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    monkeypatch.setattr(cells, "jdd", lambda arguments: 130 if asked.wait(20) else 0)
    try:
        assert cells.run_for([], 1e-4) == 130
        asked.clear()
        monkeypatch.setattr(cells, "jdd", lambda arguments: 0)
        assert cells.run_for([], 60) == 0 and not asked.is_set()
    finally:
        signal.signal(signal.SIGINT, before)
