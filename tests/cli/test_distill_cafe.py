"""``jdd distill cafe``: a run whose networks decide how long they last, stopped inside one and resumed."""

from __future__ import annotations

import json

import pytest
from jdd.cli.run_directory import RunDirectory

from jdd.artefact import DistilledSet

TINY = (
    "--classes 0 1 --width 4 --depth 1 --real-batch 8 --networks 4 --window 2 --query 8 --max-updates 3 "
    "--max-epochs 2 --eval-networks 1 --eval-epochs 1 --eval-every 0 --whole no"
).split()


class Killed(BaseException):
    """The power went out."""


def test_a_run_reports_its_schedule_and_goes_on_where_it_stopped(cli, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    outcome = cli("distill", "cafe", *TINY, "--out", whole)
    assert outcome.code == 0, outcome.err
    assert "4 networks, each left when 2 queries of 8 images per class range" in outcome.out
    assert "step 12/12: loss" in outcome.err
    assert "updates mean" in outcome.out and "share of networks capped" in outcome.out
    result = json.loads((whole / "result.json").read_text())
    assert result["updates"] == 4 * result["schedule"]["updates_mean"]
    assert result["schedule"]["networks"] == 4
    assert 2 <= result["schedule"]["updates_mean"] <= 3
    options = json.loads((whole / "config.json").read_text())["options"]
    assert options["max_updates"] == 3 and "updates" not in options
    distilled = DistilledSet.load(whole / "set.safetensors")
    assert distilled.metadata.method == "cafe" and distilled.metadata.protocol == "cafe"

    append = RunDirectory.append

    def dying(self, record):
        append(self, record)
        if record.get("step") == 5:  # the second update of the second network
            raise Killed

    monkeypatch.setattr(RunDirectory, "append", dying)
    command = ["distill", "cafe", *TINY, "--save-every", "0", "--out", parts]
    monkeypatch.setattr("jdd.runs.loop.Pace.next", lambda self, limit: 1)
    with pytest.raises(Killed):
        cli(*command)
    monkeypatch.setattr(RunDirectory, "append", append)
    resumed = cli(*command, "--resume")
    assert resumed.code == 0, resumed.err
    ended = json.loads((parts / "result.json").read_text())
    assert ended["schedule"] == result["schedule"]
    assert (
        DistilledSet.load(parts / "set.safetensors").images.tobytes() == distilled.images.tobytes()
    )
    for record in (result, ended):
        record["scores"] = [{**score, "seconds": 0} for score in record["scores"]]
    assert ended["scores"] == result["scores"]


def test_fixed_loops_are_a_method_of_their_own(cli, tmp_path):
    words = "--classes 0 1 --width 4 --depth 1 --real-batch 8 --networks 2 --ipc 2 --updates 2 --net-epochs 1"
    short = "--eval-networks 1 --eval-epochs 1 --eval-every 0 --whole no --layer-weights 0 0 1"
    command = f"distill cafe-fixed {words} {short} --discrimination 0 --strategy crop".split()
    outcome = cli(*command, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    metadata = DistilledSet.load(tmp_path / "run" / "set.safetensors").metadata
    assert metadata.options["layer_weights"] == [0.0, 0.0, 1.0]
    assert metadata.augmentation is not None and metadata.augmentation.strategy == "crop"
