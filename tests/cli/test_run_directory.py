"""The folder of a run: never overwritten, never half-written, resumed only as what it was."""

from __future__ import annotations

import json
import os
import resource

import pytest
from jdd.cli.run_directory import RunDirectory

from jdd.cli.errors import UsageError

CONFIG = {"options": {"ipc": 1, "classes": ["0"]}, "versions": {"jax": "1"}}


def opened(path, config, *, resume):
    """A run directory that was opened and closed again."""
    with RunDirectory.open(path, config, resume=resume) as run:
        return run


def test_a_fresh_one(tmp_path):
    run = opened(tmp_path / "a" / "b", CONFIG, resume=False)
    assert json.loads((run.path / "config.json").read_text()) == CONFIG
    assert run.metrics() == [] and run.checkpoints.latest() is None


def test_an_empty_folder_will_do(tmp_path):
    # What a process leaves that was killed before it wrote its config counts as nothing.
    for name in (".lock", ".config.json.4711.tmp"):
        (tmp_path / name).write_text("")
    opened(tmp_path, CONFIG, resume=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.json"]


def test_only_one_at_a_time(tmp_path):
    with RunDirectory.open(tmp_path / "a", CONFIG, resume=False) as run:
        before = (run.path / "config.json").read_bytes()
        mine = rf"in use by process {os.getpid()} on .*--out"
        with (
            pytest.raises(UsageError, match=mine),
            RunDirectory.open(run.path, CONFIG, resume=True),
        ):
            pass
    opened(run.path, CONFIG, resume=True)
    assert (run.path / "config.json").read_bytes() == before


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"already exists.*--out"):
        opened(tmp_path, CONFIG, resume=False)
    with pytest.raises(UsageError, match=r"already exists.*--out"):
        opened(tmp_path / "mine.txt", CONFIG, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UsageError, match=r"no run in.*--resume"):
        opened(tmp_path / "a", CONFIG, resume=True)
    assert not (tmp_path / "a").exists()


def test_resuming_keeps_the_config(tmp_path):
    opened(tmp_path, CONFIG, resume=False)
    run = opened(tmp_path, {**CONFIG, "versions": {"jax": "2"}}, resume=True)
    assert run.config == CONFIG


def test_what_changed_but_is_no_reason_to_refuse(tmp_path):
    began = {**CONFIG, "device": {"kind": "cpu", "cores": 2}}
    opened(tmp_path, began, resume=False)
    now = {"versions": {"jax": "1", "jaxlib": "3"}, "device": {"kind": "cpu", "cores": 4}}
    run = opened(tmp_path, {**CONFIG, **now}, resume=True)
    assert run.changed(now) == ["jaxlib unknown, now 3", "cores 2, now 4"]
    assert run.changed({"versions": began["versions"], "device": began["device"]}) == []


def test_other_training_images_are_refused(tmp_path):
    opened(tmp_path, {"options": {"train_split": "aa"}}, resume=False)
    with pytest.raises(UsageError, match=r'train_split "aa", not "bb" \(option --data\)'):
        opened(tmp_path, {"options": {"train_split": "bb"}}, resume=True)


def test_files_are_written_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    run = opened(tmp_path, CONFIG, resume=False)
    run.append({"step": 1, "loss": 0.5})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        run.rewind(0)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}


def test_resuming_with_other_options_names_the_first(tmp_path):
    opened(tmp_path, CONFIG, resume=False)
    before = (tmp_path / "config.json").read_bytes()
    other = {**CONFIG, "options": {"ipc": 2, "classes": []}}
    with pytest.raises(UsageError, match=r"has ipc 1, not 2 \(option --ipc\)"):
        opened(tmp_path, other, resume=True)
    with pytest.raises(UsageError, match="learning_rate null, not 1"):
        opened(tmp_path, {"options": {**CONFIG["options"], "learning_rate": 1}}, resume=True)
    assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"options": []}', b"\xff"])
def test_a_damaged_config_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read.*--resume"):
        opened(tmp_path, CONFIG, resume=True)


def test_metrics_are_cut_back_and_mended(tmp_path):
    run = opened(tmp_path, CONFIG, resume=False)
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


def test_damaged_lines_of_metrics_are_passed_over(tmp_path):
    run = opened(tmp_path, CONFIG, resume=False)
    run.append({"step": 1, "loss": 0.5})
    damage = b'\xff\x00\n{"step": 2, "loss": NaN}\n[2]\n{"step": "2"}\n{"loss": 1}\n\n'
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(damage)
    run.append({"step": 3, "loss": 0.25})
    assert run.metrics() == [{"step": 1, "loss": 0.5}, {"step": 3, "loss": 0.25}]
    run.rewind(3)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == run.metrics()


@pytest.mark.parametrize("room", [0, 10])
def test_a_line_for_which_there_is_no_room_is_not_there_at_all(tmp_path, room):
    run = opened(tmp_path, CONFIG, resume=False)
    run.append({"step": 1, "loss": 0.5})
    before = (tmp_path / "metrics.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            run.append({"step": 2, "loss": 0.25})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_numbers_that_are_not_json_are_refused(tmp_path):
    run = opened(tmp_path, CONFIG, resume=False)
    with pytest.raises(ValueError, match="JSON"):
        run.append({"step": 1, "loss": float("nan")})
    assert run.metrics() == []
