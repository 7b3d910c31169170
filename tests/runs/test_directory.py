"""The folder of a run: never overwritten, never half-written, resumed only as what it was."""

from __future__ import annotations

import dataclasses
import json
import os
import resource

import pytest

import jdd
from jdd import data, methods, nn
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.runs import FolderError, OtherConfiguration, directory
from jdd.runs.directory import RunDirectory, read_config

DIGITS = DataChoice("digits", ("0",), fingerprint="aa")
SMALL = nn.network("convnet", width=4, depth=1)
RUN = Configuration(jdd.dc(1, data="digits"), DIGITS, SMALL)


def opened(path, configuration=RUN, *, resume):
    """A run directory that was opened and closed again."""
    with RunDirectory.open(path, configuration, resume=resume, command="jdd ...") as run:
        return run


def changed(*, recipe=None, data=None, evaluation=None, **fields):
    """The run with other entries."""
    return dataclasses.replace(
        RUN,
        recipe=dataclasses.replace(RUN.recipe, **recipe or {}),
        data=dataclasses.replace(RUN.data, **data or {}),
        evaluation=dataclasses.replace(RUN.evaluation, **evaluation or {}),
        **fields,
    )


def kept(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_a_fresh_one(tmp_path):
    run = opened(tmp_path / "a" / "b", resume=False)
    content = json.loads((run.path / "config.json").read_text())
    assert content["configuration"] == RUN.record() and content["command"] == "jdd ..."
    assert content["versions"]["jax"] and content["device"]["platform"]
    assert read_config(run.path) == read_config(run.path / "config.json") == (content, RUN)
    assert run.metrics() == [] and run.checkpoints.latest() is None and not run.is_complete()


def test_an_empty_folder_will_do(tmp_path):
    # What a process leaves that was killed before it wrote its config counts as nothing.
    for name in (".lock", ".config.json.4711.tmp"):
        (tmp_path / name).write_text("")
    opened(tmp_path, resume=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.json"]


def test_only_one_at_a_time(tmp_path):
    with RunDirectory.open(tmp_path / "a", RUN, resume=False) as run:
        before = (run.path / "config.json").read_bytes()
        mine = rf"^folder: {run.path} is in use by process {os.getpid()} on "
        with (
            pytest.raises(FolderError, match=mine),
            RunDirectory.open(run.path, RUN, resume=True),
        ):
            pass
    opened(run.path, resume=True)
    assert (run.path / "config.json").read_bytes() == before


def test_files_of_others_are_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(FolderError, match=r" already exists: choose another folder$"):
            opened(place, resume=False)
    with pytest.raises(FolderError, match=r"^folder: cannot write in .*mine.txt/a"):
        opened(tmp_path / "mine.txt" / "a", resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FolderError, match=r"^resume: there is no run in"):
        opened(tmp_path / "a", resume=True)
    assert not (tmp_path / "a").exists()


def test_names_that_no_file_system_takes(tmp_path):
    for resume in (False, True):
        with pytest.raises(FolderError, match="name too long"):
            opened(tmp_path / ("x" * 300), resume=resume)


def test_a_start_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), RunDirectory.open(tmp_path / "a", RUN, resume=False) as run:
        run.append({"step": 0, "loss": 1.0})
        raise KeyError("no program")
    assert not (tmp_path / "a").exists()
    opened(tmp_path / "a", resume=False)


def test_a_start_that_fails_leaves_the_files_of_others(tmp_path):
    with pytest.raises(KeyError), RunDirectory.open(tmp_path / "a", RUN, resume=False) as run:
        (run.path / "notes.txt").write_text("mine")
        raise KeyError("no program")
    assert kept(tmp_path / "a") == {"notes.txt": b"mine"}


def test_a_failure_after_results_or_of_a_resumed_run_keeps_the_folder(tmp_path):
    with pytest.raises(KeyError), RunDirectory.open(tmp_path / "a", RUN, resume=False) as run:
        (run.path / "set.safetensors").write_text("a set")
        raise KeyError("later")
    assert set(kept(tmp_path / "a")) == {"config.json", "set.safetensors"}
    opened(tmp_path / "b", resume=False)
    with pytest.raises(KeyError), RunDirectory.open(tmp_path / "b", RUN, resume=True):
        raise KeyError("no program")
    assert set(kept(tmp_path / "b")) == {"config.json"}


def test_a_config_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        opened(tmp_path / "a", resume=False)
    assert not (tmp_path / "a").exists()


def test_resuming_keeps_the_config(tmp_path, monkeypatch):
    opened(tmp_path, resume=False)
    before = (tmp_path / "config.json").read_bytes()
    monkeypatch.setattr(directory, "versions", lambda: {"jax": "2"})
    run = opened(tmp_path, resume=True)
    assert run.config == json.loads(before)
    assert (tmp_path / "config.json").read_bytes() == before


def test_what_changed_but_is_no_reason_to_refuse(tmp_path, monkeypatch):
    monkeypatch.setattr(directory, "versions", lambda: {"jax": "1"})
    monkeypatch.setattr(directory, "device", lambda: {"kind": "cpu", "cores": 2})
    assert opened(tmp_path, resume=False).changed() == []
    monkeypatch.setattr(directory, "versions", lambda: {"jax": "1", "jaxlib": "3"})
    monkeypatch.setattr(directory, "device", lambda: {"kind": "cpu", "cores": 4})
    run = opened(tmp_path, resume=True)
    assert run.changed() == ["jaxlib unknown, now 3", "cores 2, now 4"]


@pytest.mark.parametrize(
    "other",
    [
        {"data": {"name": "npz:elsewhere/digits.npz"}},
        {"data": {"classes": ("zero",)}},
        {"data": {"name": "folder:a", "test_share": 0.2}},
    ],
    ids=str,
)
def test_the_same_images_under_another_name_are_resumed(tmp_path, other):
    opened(tmp_path, resume=False)
    before = kept(tmp_path)
    assert opened(tmp_path, changed(**other), resume=True).config["configuration"] == RUN.record()
    assert kept(tmp_path) == before


@pytest.mark.parametrize(
    ("other", "entry", "values"),
    [
        ({"recipe": {"ipc": 2}}, "recipe.ipc", "1, not 2"),
        ({"recipe": {"ipc": 2}, "seed": 1}, "recipe.ipc", "1, not 2"),
        ({"seed": 1}, "seed", "0, not 1"),
        ({"recipe": {"name": "own"}}, "recipe.name", '"dc", not "own"'),
        ({"recipe": {"sampler": data.uniform(8)}}, "recipe.sampler.n", "256, not 8"),
        (
            {"recipe": {"optimizer": methods.adam(0.1)}},
            "recipe.optimizer",
            '"sgd", not "adam"',
        ),
        (
            {"recipe": {"optimizer": methods.sgd(0.1, 0.25)}},
            "recipe.optimizer.momentum",
            "0.5, not 0.25",
        ),
        ({"recipe": {"decay": methods.halved_after()}}, "recipe.decay", "null, not"),
        ({"recipe": {"networks": 29}}, "recipe.networks", "30, not 29"),
        (
            {"recipe": {"sampler": data.uniform(8), "updates": 2}},
            "recipe.updates",
            "1, not 2",
        ),
        ({"data": {"fingerprint": "bb"}}, "data.fingerprint", '"aa", not "bb"'),
        (
            {"data": {"fingerprint": "bb", "classes": ("1",), "name": "npz:a"}},
            "data.classes",
            '["0"], not ["1"]',
        ),
        (
            {"data": {"fingerprint": "bb", "name": "mnist"}},
            "data.name",
            '"digits", not "mnist"',
        ),
        ({"network": SMALL.replace(width=5)}, "network.width", "4, not 5"),
        ({"network": nn.network("mlp")}, "network.architecture", '"convnet", not "mlp"'),
        ({"evaluation": {"networks": 3}}, "evaluation.networks", "20, not 3"),
        ({"evaluation": {"every": 3}}, "evaluation.every", "0, not 3"),
    ],
    ids=str,
)
def test_another_configuration_is_refused_by_entry_and_both_values(tmp_path, other, entry, values):
    opened(tmp_path, resume=False)
    before = kept(tmp_path)
    with pytest.raises(OtherConfiguration) as caught:
        opened(tmp_path, changed(**other), resume=True)
    assert caught.value.entry == entry
    message = str(caught.value)
    assert f"the run in {tmp_path} has {entry} {values}" in message and "\n" not in message
    assert kept(tmp_path) == before


def test_long_values_are_cut(tmp_path):
    many = tuple(map(str, range(1000)))
    opened(tmp_path, changed(data={"classes": many, "fingerprint": "cc"}), resume=False)
    with pytest.raises(OtherConfiguration) as caught:
        opened(tmp_path, resume=True)
    assert len(str(caught.value)) < 600 + len(str(tmp_path))


def test_more_networks_are_an_extension_that_changes_nothing_before_it_begins(tmp_path):
    run = opened(tmp_path, resume=False)
    run.write_json("result.json", {"scores": []})
    before = kept(tmp_path)
    longer = changed(recipe={"networks": 60}, evaluation={"every": 7})
    with RunDirectory.open(tmp_path, longer, resume=True) as run:
        assert run.is_extension and not run.is_complete()
        assert kept(tmp_path) == before
        run.extend()
    assert "result.json" not in kept(tmp_path)
    assert read_config(tmp_path)[1] == longer
    again = opened(tmp_path, longer, resume=True)
    assert not again.is_extension
    with pytest.raises(OtherConfiguration, match=r"recipe.networks 60, not 30"):
        opened(tmp_path, resume=True)


@pytest.mark.parametrize(
    "recipe",
    [
        {"decay": methods.halved_after()},
        {"motion": methods.by_queries(), "updates": 50},
        {"objective": jdd.dcc(1, networks=30).objective, "updates": 10},
    ],
    ids=str,
)
def test_a_run_whose_steps_depend_on_its_length_is_not_extended(tmp_path, recipe):
    opened(tmp_path, changed(recipe=recipe), resume=False)
    longer = recipe | {"networks": 60}
    if "objective" in recipe:
        longer["objective"] = jdd.dcc(1, networks=60).objective
    with pytest.raises(OtherConfiguration, match=r"recipe.networks 30, not 60"):
        opened(tmp_path, changed(recipe=longer), resume=True)


def test_a_run_with_more_networks_and_another_choice_is_no_extension(tmp_path):
    opened(tmp_path, resume=False)
    other = changed(recipe={"networks": 60, "sampler": data.uniform(8)})
    with pytest.raises(OtherConfiguration, match=r"recipe.networks 30, not 60"):
        opened(tmp_path, other, resume=True)


def test_a_run_of_version_0_1_is_refused_with_that_reason(tmp_path):
    (tmp_path / "config.json").write_text('{"options": {"method": "dc"}, "versions": {}}')
    with pytest.raises(
        FolderError, match=r"config.json is of a run of jdd 0.1, which this version"
    ):
        opened(tmp_path, resume=True)


NOT_A_RUN = {
    "{": "Expecting property name",
    "[]": "it has no configuration",
    "{}": "it has no configuration",
    '{"configuration": []}': "it has no configuration",
    '{"configuration": {}}': "the configuration has version None",
    "\xff": "can't decode",
}


@pytest.mark.parametrize("content", NOT_A_RUN)
def test_a_damaged_config_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(FolderError) as caught:
        opened(tmp_path, resume=True)
    message = str(caught.value)
    assert message.startswith(f"cannot read {tmp_path / 'config.json'}: ")
    assert NOT_A_RUN[content] in message and "\n" not in message


EDITED = [
    ({"data": {"classes": 3}}, ""),
    ({"data": {"name": "digits", "colour": 1}}, "colour"),
    ({"network": []}, ""),
    ({"network": {"architecture": "convnt"}}, "did you mean 'convnet'?"),
    ({"evaluation": {"networks": 0}}, "networks must be at least 1, got 0"),
    ({"evaluation": {"whole": 3}}, "unknown whole 3"),
    ({"seed": "a"}, "seed must be"),
    ({"recipe": 3}, "recipe"),
    ({"recipe": RUN.record()["recipe"] | {"sampler": {"choice": "by_somebody"}}}, "JDD_IMPORT"),
    ({"recipe": RUN.record()["recipe"] | {"sampler": {"choice": "uniform", "n": 0}}}, "at least 1"),
]


@pytest.mark.parametrize(("change", "words"), EDITED, ids=str)
def test_an_edited_config_is_one_line(tmp_path, change, words):
    (tmp_path / "config.json").write_text(json.dumps({"configuration": RUN.record() | change}))
    with pytest.raises(FolderError) as caught:
        read_config(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"cannot read {tmp_path / 'config.json'}: ") and words in message
    assert "\n" not in message


def test_a_configuration_is_its_json():
    plan = EvaluationPlan(3, 2, 7, "batch", random=False, whole="no")
    run = changed(evaluation=dataclasses.asdict(plan), seed=7)
    assert Configuration.from_record(json.loads(json.dumps(run.record()))) == run


def test_files_are_written_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    run = opened(tmp_path, resume=False)
    run.append({"step": 1, "loss": 0.5})
    before = kept(tmp_path)

    def full(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        run.rewind(0)
    assert kept(tmp_path) == before


def test_metrics_are_cut_back_and_mended(tmp_path):
    run = opened(tmp_path, resume=False)
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
    run = opened(tmp_path, resume=False)
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
    run = opened(tmp_path, resume=False)
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
    run = opened(tmp_path, resume=False)
    with pytest.raises(ValueError, match="JSON"):
        run.append({"step": 1, "loss": float("nan")})
    assert run.metrics() == []
