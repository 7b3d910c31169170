"""``jdd distill cafe``: a run whose networks decide how long they last, stopped inside one and resumed."""

from __future__ import annotations

import json

import pytest

from jdd import augment
from jdd.artefact import DistilledSet
from jdd.runs.directory import RunDirectory
from tests.cli.conftest import QUICK

pytestmark = pytest.mark.slow

TINY = (
    "--classes 0 1 --width 4 --depth 1 --real-batch 8 --networks 4 --window 2 --query 8 --max-updates 3 "
    "--max-epochs 2 --eval-networks 1 --eval-epochs 1 --eval-every 0 --whole no"
).split()


class Killed(BaseException):
    """Ends a run at once."""


def test_a_run_reports_its_schedule_and_continues_where_it_stopped(cli, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    outcome = cli("distill", "cafe", *TINY, "--out", whole)
    assert outcome.code == 0, outcome.err
    assert "by_queries(window=2, query=8, max_epochs=2)" in outcome.out
    assert "4 networks x at most 3 updates" in outcome.out
    assert "step 12/12: loss" in outcome.err
    assert "updates mean" in outcome.out and "share of networks capped" in outcome.out
    result = json.loads((whole / "result.json").read_text())
    assert result["updates"] == 4 * result["schedule"]["updates_mean"]
    assert result["schedule"]["networks"] == 4
    assert 2 <= result["schedule"]["updates_mean"] <= 3
    recipe = json.loads((whole / "config.json").read_text())["configuration"]["recipe"]
    assert recipe["updates"] == 3
    motion = {"choice": "by_queries", "window": 2, "query": 8, "max_epochs": 2}
    assert motion.items() <= recipe["motion"].items()
    distilled = DistilledSet.load(whole / "set.safetensors")
    assert distilled.metadata.method == "cafe" and distilled.metadata.protocol["name"] == "cafe"

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
    again = DistilledSet.load(parts / "set.safetensors")
    assert again.images.tobytes() == distilled.images.tobytes()
    for record in (result, ended):
        record["scores"] = [{**score, "seconds": 0} for score in record["scores"]]
    assert ended["scores"] == result["scores"]


def test_fixed_loops_are_a_method_of_their_own(cli, tmp_path):
    words = "--classes 0 1 --width 4 --depth 1 --real-batch 8 --networks 2 --ipc 2 --updates 2 --net-epochs 1"
    command = f"distill cafe-fixed {words} --layer-weights 0 0 1 --discrimination 0 --strategy crop"
    outcome = cli(*command.split(), *QUICK, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    metadata = DistilledSet.load(tmp_path / "run" / "set.safetensors").metadata
    objective = metadata.configuration["recipe"]["objective"]
    assert objective["layer_weights"] == [0.0, 0.0, 1.0]
    assert objective["discrimination_weight"] == 0.0
    assert metadata.augmentation() == augment.dsa_augmentation("crop")
