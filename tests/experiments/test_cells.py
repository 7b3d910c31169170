"""Cells: run once, continued where they were stopped, and what is kept of them."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import threading
import time
from typing import Any

import pytest

import jdd
from jdd import evaluate, nn
from jdd.augment import no_augmentation
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.runs import Interrupted, Score

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

NAMES = ["config.json", "curve.png", "grid.png", "metrics.jsonl", "result.json", "set.safetensors"]


@pytest.fixture(scope="module")
def cells(load_script):
    return load_script("cells")


@pytest.fixture(scope="module")
def finished(cells, tmp_path_factory):
    """A folder with the ``results`` and the ``runs`` of a finished cell, "a"."""
    path = tmp_path_factory.mktemp("finished")
    folders: dict[str, Any] = {"results": path / "results", "runs": path / "runs"}
    cells.run_cell(tiny(), "a", **folders, command="python experiments/main_table.py")
    return path


@pytest.fixture
def folders(tmp_path) -> dict[str, Any]:
    """Arguments of ``run_cell``."""
    return {"results": tmp_path / "results", "runs": tmp_path / "runs"}


def tiny(networks=3) -> Configuration:
    """A run on the digits that takes seconds."""
    recipe = dataclasses.replace(
        jdd.dm(1, data="digits"), augment=no_augmentation(), networks=networks
    )
    plan = EvaluationPlan(1, epochs=1, random=False, whole="no")
    network = nn.network("convnet", width=2, depth=1)
    return Configuration(recipe, DataChoice("digits"), network, plan)


def stop_at_the_first_dispatch(cells, monkeypatch):
    """The signal of the keyboard, once the program of the run is compiled."""

    def announce(facts):
        if "program" in facts:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cells, "_print_facts", announce)


def test_a_cell_runs_and_is_skipped_when_it_is_finished(cells, finished, monkeypatch, capsys):
    kept = finished / "results" / "a"
    assert sorted(file.name for file in kept.iterdir()) == NAMES
    result = json.loads((kept / "result.json").read_text())
    assert result["command"] == "python experiments/main_table.py" and "distil" in result["seconds"]
    assert {"device", "versions"} <= set(result) and result["updates"] == 3
    Score.read(result["scores"][0])
    before = {file: file.read_bytes() for file in kept.iterdir()}

    def prepare(*args, **kwargs):
        raise AssertionError("a finished cell was run")

    monkeypatch.setattr(cells, "prepare", prepare)
    cells.run_cell(tiny(), "a", kept.parent, runs=finished / "runs")
    assert capsys.readouterr().out.startswith("a is finished: skipped")
    assert before == {file: file.read_bytes() for file in kept.iterdir()}


def test_a_cell_that_was_stopped_is_continued(cells, finished, folders, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at_the_first_dispatch(cells, patch)
        with pytest.raises(Interrupted, match="stopped at update 1 of 3"):
            cells.run_cell(tiny(), "a", **folders)
    kept = folders["results"] / "a"
    assert sorted(file.name for file in kept.iterdir()) == [NAMES[0], NAMES[3], NAMES[5]]
    cells.run_cell(tiny(), "a", **folders)
    assert sorted(file.name for file in kept.iterdir()) == NAMES
    sets = [kept / NAMES[5], finished / "results" / "a" / NAMES[5]]
    resumed, whole = (jdd.DistilledSet.load(file).images for file in sets)
    assert resumed.tobytes() == whole.tobytes()


def test_a_finished_run_whose_files_were_not_kept_is_only_copied(cells, finished, folders):
    shutil.copytree(finished / "runs", folders["runs"])
    cells.run_cell(tiny(), "a", **folders)
    copied, original = (
        path / "a" / "result.json" for path in (folders["results"], finished / "runs")
    )
    assert copied.read_bytes() == original.read_bytes()


def test_another_configuration_is_refused(cells, finished, folders):
    shutil.copytree(finished / "runs", folders["runs"])
    with pytest.raises(ValueError, match=r"has recipe\.networks 3, not 2"):
        cells.run_cell(tiny(2), "a", **folders)
    assert not folders["results"].exists()


@pytest.fixture
def table_of(cells, tmp_path):
    """``table_of(cells, *words)`` runs a script with these cells."""
    file = str(cells.script.EXPERIMENTS / "some_table.py")
    words = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]

    def run(table, *more):
        return cells.main(
            file, "", cells.TableOptions, lambda options: iter(table), [*words, *more]
        )

    return run


def test_a_table_runs_its_cells_and_exits(cells, table_of, tmp_path, monkeypatch, capsys):
    table = [cells.Distilled("a", tiny()), cells.Distilled("b", tiny(2))]
    with monkeypatch.context() as patch:
        stop_at_the_first_dispatch(cells, patch)
        assert table_of(table) == 130
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "some_table.py: stopped at update 1 of 3; to continue: the same command"
    results = tmp_path / "results" / "some_table"
    assert [folder.name for folder in results.iterdir()] == ["a"]
    assert table_of(table) == 0
    assert all((results / name / "result.json").is_file() for name in "ab")
    config = json.loads((results / "b" / "config.json").read_text())
    assert config["command"] == ("python experiments/some_table.py --results FOLDER --runs FOLDER")


def test_a_table_that_cannot_be(cells, table_of, tmp_path, capsys):
    assert table_of([]) == 2 and "no cell to run" in capsys.readouterr().err
    assert table_of([], "--eval-networks", "0") == 2
    assert "--eval-networks must be at least 1, got 0" in capsys.readouterr().err
    assert table_of([], "--stop-after", "-1") == 2
    assert "--stop-after must be above 0 and finite, got -1.0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class Waiting:
    """A cell that waits to be stopped."""

    name = "waiting"

    def __init__(self):
        self.runs = 0

    def run(self, place):
        self.runs += 1
        threading.Event().wait(20)


def test_time_is_over_as_by_the_keyboard(table_of, capsys):
    cell = Waiting()
    assert table_of([cell, cell], "--stop-after", "0.005") == 130 and cell.runs == 1
    assert capsys.readouterr().err == "some_table.py: stopped\n"


def test_no_cell_begins_after_the_time(cells, monkeypatch):
    """A run that is writing its last files when the signal arrives ends normally."""
    arrived = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: arrived.set())
    try:
        with cells.time_limit(1e-4) as check:
            assert arrived.wait(20)
            with pytest.raises(KeyboardInterrupt):
                check()
        arrived.clear()
        with cells.time_limit(0.002) as check:
            check()
        time.sleep(0.3)
        assert not arrived.is_set(), "the timer outlived its block"
    finally:
        signal.signal(signal.SIGINT, before)
    with cells.time_limit(None) as check:
        check()


def test_a_copy_that_was_stopped_is_not_finished(cells, finished, tmp_path, monkeypatch):
    write = cells.write_atomically

    def stopped(path, content):
        if path.name == "curve.png":
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(cells, "write_atomically", stopped)
        with pytest.raises(KeyboardInterrupt):
            cells.keep(finished / "runs" / "a", tmp_path / "a")
    assert not cells.is_finished(tmp_path / "a" / "result.json")
    cells.keep(finished / "runs" / "a", tmp_path / "a")
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == NAMES


@pytest.mark.parametrize("losses", [1, 200, 1001])
def test_evaluations_are_all_kept(cells, losses):
    records: list[dict[str, Any]] = [{"step": i, "loss": 1.0} for i in range(losses)]
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


def test_real_images_are_evaluated_once(cells, load_script, tmp_path, capsys):
    real_images = load_script("real_images")
    cell = real_images.RealImages(
        "a",
        DataChoice("digits", ("3", "5", "8")),
        2,
        evaluate.PROTOCOLS["dc"].with_epochs(1),
        (real_images.Row(sets=2),),
        nn.network("convnet", width=2, depth=1),
    )
    place = cells.Place(tmp_path, command="python x")
    cell.run(place)
    content = json.loads((tmp_path / "a.json").read_text())
    (score,) = content["scores"]
    assert score["images"] == "random real images, 2 per class, 2 sets"
    assert len(score["accuracies"]) == 2 and content["command"] == "python x"
    assert content["classes"] == ["3", "5", "8"] and content["network"]["width"] == 2
    before = (tmp_path / "a.json").read_bytes()
    dataclasses.replace(cell, seed=1).run(place)
    assert (tmp_path / "a.json").read_bytes() == before
    assert "a.json is finished: skipped" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"ipc .* must be between 1 and"):
        dataclasses.replace(cell, name="b", ipc=1000).run(place)
    assert not (tmp_path / "b.json").exists()
