"""The folder of a run: never overwritten, never half-written, resumed only as what it was."""

from __future__ import annotations

import json
import os

import pytest

from jdd.cli.errors import UsageError
from jdd.cli.run_directory import RunDirectory

CONFIG = {"options": {"ipc": 1, "classes": ["0"]}, "versions": {"jax": "1"}}


def test_a_fresh_one(tmp_path):
    run = RunDirectory.open(tmp_path / "a" / "b", CONFIG, resume=False)
    assert json.loads((run.path / "config.json").read_text()) == CONFIG
    assert run.metrics() == [] and run.checkpoints.latest() is None


def test_an_empty_folder_will_do(tmp_path):
    RunDirectory.open(tmp_path, CONFIG, resume=False)


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"already exists.*--out"):
        RunDirectory.open(tmp_path, CONFIG, resume=False)
    with pytest.raises(UsageError, match=r"already exists.*--out"):
        RunDirectory.open(tmp_path / "mine.txt", CONFIG, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UsageError, match=r"no run in.*--resume"):
        RunDirectory.open(tmp_path / "a", CONFIG, resume=True)
    assert not (tmp_path / "a").exists()


def test_resuming_keeps_the_config(tmp_path):
    RunDirectory.open(tmp_path, CONFIG, resume=False)
    run = RunDirectory.open(tmp_path, {**CONFIG, "versions": {"jax": "2"}}, resume=True)
    assert run.config == CONFIG


def test_what_changed_but_is_no_reason_to_refuse(tmp_path):
    began = {**CONFIG, "device": {"kind": "cpu", "cores": 2}}
    RunDirectory.open(tmp_path, began, resume=False)
    now = {"versions": {"jax": "1", "jaxlib": "3"}, "device": {"kind": "cpu", "cores": 4}}
    run = RunDirectory.open(tmp_path, {**CONFIG, **now}, resume=True)
    assert run.changed(now) == ["jaxlib unknown, now 3", "cores 2, now 4"]
    assert run.changed({"versions": began["versions"], "device": began["device"]}) == []


def test_other_training_images_are_refused(tmp_path):
    RunDirectory.open(tmp_path, {"options": {"train_split": "aa"}}, resume=False)
    with pytest.raises(UsageError, match=r'train_split "aa", not "bb" \(option --data\)'):
        RunDirectory.open(tmp_path, {"options": {"train_split": "bb"}}, resume=True)


def test_files_are_written_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    run = RunDirectory.open(tmp_path, CONFIG, resume=False)
    run.append({"step": 1, "loss": 0.5})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        run.rewind(0)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_resuming_with_other_options_names_the_first(tmp_path):
    RunDirectory.open(tmp_path, CONFIG, resume=False)
    before = (tmp_path / "config.json").read_bytes()
    other = {**CONFIG, "options": {"ipc": 2, "classes": []}}
    with pytest.raises(UsageError, match=r"has ipc 1, not 2 \(option --ipc\)"):
        RunDirectory.open(tmp_path, other, resume=True)
    with pytest.raises(UsageError, match="learning_rate null, not 1"):
        RunDirectory.open(
            tmp_path, {"options": {**CONFIG["options"], "learning_rate": 1}}, resume=True
        )
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_damaged_config_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"cannot read.*--resume"):
        RunDirectory.open(tmp_path, CONFIG, resume=True)


def test_metrics_are_cut_back_and_mended(tmp_path):
    run = RunDirectory.open(tmp_path, CONFIG, resume=False)
    for step in (1, 2, 2, 3):
        run.append({"step": step, "loss": step / 3})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert [record["step"] for record in run.metrics()] == [1, 2, 2, 3]
    run.rewind(2)
    run.append({"step": 3, "loss": 0.5})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 2, 3]
    assert json.loads(lines[0])["loss"] == 1 / 3  # every bit


def test_numbers_that_are_not_json_are_refused(tmp_path):
    run = RunDirectory.open(tmp_path, CONFIG, resume=False)
    with pytest.raises(ValueError, match="JSON"):
        run.append({"step": 1, "loss": float("nan")})
    assert run.metrics() == []
