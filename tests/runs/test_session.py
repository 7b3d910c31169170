"""Runs through Python: their files, longer runs of a finished one, and ends of every kind."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jdd
from jdd import evaluate, methods, nn, synthetic
from jdd.artefact import DistilledSet
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.runs import Experiment, Interrupted, Result, RunError, prepare, run, session
from jdd.runs.directory import RunDirectory

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

RECIPE = dataclasses.replace(
    jdd.dm(1, data="digits", strategy="none"), networks=2, sampler=jdd.data.uniform(8)
)
RUN = Configuration(
    RECIPE,
    DataChoice("digits", ("0", "1")),
    nn.network("convnet", width=4, depth=1),
    EvaluationPlan(networks=1, epochs=1, whole="no"),
)


@pytest.fixture(scope="module", autouse=True)
def untrained():
    """Evaluations whose accuracy is a number of the images, in place of training networks."""

    def training(key, model, images, labels, test, protocol, *, num_networks, report, **options):
        for n in range(1, num_networks + 1):
            report(n, num_networks)
        accuracies = np.full(num_networks, float(np.abs(np.asarray(images)).mean() % 1))
        return evaluate.Evaluation(accuracies, protocol, model.name)

    def real(key, initial, model, train, test, ipc, protocol, *, sets, num_networks, **options):
        return evaluate.Evaluation(np.full(sets * num_networks, 0.5), protocol, model.name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jdd.evaluate.evaluate", training)
        patch.setattr("jdd.baselines.evaluate_real_sets", real)
        yield


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return prepare(RUN)


@pytest.fixture(scope="module")
def finished(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "run"
    run(experiment, path, command="jdd ...")
    return path


def changed(**recipe: Any) -> Experiment:
    return prepare(dataclasses.replace(RUN, recipe=dataclasses.replace(RECIPE, **recipe)))


def contents(path: Path) -> dict[str, bytes]:
    names = (p for p in path.rglob("*") if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(path)): p.read_bytes() for p in names}


def test_a_run_from_python(experiment: Experiment, tmp_path):
    announced: dict[str, str] = {}
    result = run(experiment, str(tmp_path / "run"), announce=announced.update)
    assert isinstance(result, Result) and not result.was_complete and result.schedule == {}
    assert [score.images for score in result.scores] == ["distilled images", "random real images"]
    assert result.path == tmp_path / "run"
    facts = ["data set", "method", "objective", "network", "budget", "evaluation", "loops"]
    facts += ["device", "run"]
    assert list(announced) == [*facts, "program"]
    assert announced["loops"] == "2 networks x 1 updates of the set"
    made = DistilledSet.load(tmp_path / "run" / "set.safetensors")
    assert made.metadata.configuration == experiment.configuration.record()
    again = run(experiment, tmp_path / "run", resume=True)
    assert again.was_complete and again.scores == result.scores


def test_a_run_in_the_users_home(experiment: Experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(experiment, "~/run").path == tmp_path / "run"


def test_a_finished_run_with_more_networks_is_the_longer_run(finished: Path, tmp_path):
    """Bit for bit, and the baselines are not computed again."""
    longer = changed(networks=5)
    whole = run(longer, tmp_path / "whole")
    parts = tmp_path / "parts"
    shutil.copytree(finished, parts)
    before = (parts / "metrics.jsonl").read_text()
    result = run(longer, parts, resume=True)
    assert not result.was_complete and result.scores[0].accuracies == whole.scores[0].accuracies
    for name in ("set.safetensors", "set.json", "grid.png"):
        assert (parts / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    config = json.loads((parts / "config.json").read_text())
    assert config["configuration"] == longer.configuration.record()
    lines = (parts / "metrics.jsonl").read_text()
    assert lines.startswith(before) and lines.count('"baseline"') == before.count('"baseline"') == 1
    assert json.loads((parts / "result.json").read_text())["updates"] == 5
    assert run(longer, parts, resume=True).was_complete


def test_a_stopped_run_states_what_continues_it(experiment: Experiment, tmp_path):
    def announce(facts):
        if "program" in facts:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        run(experiment, tmp_path / "run", announce=announce)
    ending = "to continue: the same call with resume=True"
    assert str(caught.value) == f"stopped at update 1 of 2; {ending}"
    assert len(run(experiment, tmp_path / "run", resume=True).scores) == 2


def test_an_interrupt_saves_the_state_where_nobody_reads_stderr(
    experiment: Experiment, tmp_path, monkeypatch, without_reader
):
    def announce(facts):
        if "program" in facts:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("jdd.runs.progress._LINE_SECONDS", 0.0)
    with pytest.raises(Interrupted, match="stopped at update 1 of 2"):
        run(experiment, tmp_path / "run", announce=announce)
    assert (tmp_path / "run" / "checkpoints" / "1").is_dir()


def test_no_baseline_begins_after_an_interrupt(tmp_path, monkeypatch):
    """The one before it is kept."""
    experiment = prepare(
        dataclasses.replace(RUN, evaluation=EvaluationPlan(networks=1, epochs=1, whole="yes"))
    )

    def interrupted(key, initial, model, train, test, ipc, protocol, **options):
        signal.raise_signal(signal.SIGINT)
        return evaluate.Evaluation(np.array([0.25]), protocol, model.name)

    def whole(key, model, train, test, **options):
        assert is_resumed, "begun after an interrupt"
        return evaluate.Evaluation(np.array([0.75]), experiment.protocol, model.name)

    is_resumed = False
    monkeypatch.setattr("jdd.baselines.evaluate_real_sets", interrupted)
    monkeypatch.setattr("jdd.baselines.evaluate_whole_set", whole)
    with pytest.raises(Interrupted, match="stopped at update 2 of 2"):
        run(experiment, tmp_path / "run")
    is_resumed = True
    result = run(experiment, tmp_path / "run", resume=True)
    assert [score.mean for score in result.scores[1:]] == [0.25, 0.75]


@pytest.mark.parametrize("minutes", [-1, float("nan"), float("inf"), "10"])
def test_a_time_between_checkpoints_that_cannot_be(experiment: Experiment, tmp_path, minutes):
    with pytest.raises(ValueError, match=r"^save_minutes must be at least 0 and finite, got "):
        run(experiment, tmp_path / "run", save_minutes=minutes)
    assert not (tmp_path / "run").exists()


def fails_to_compile(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def advance(method, most):
        raise error

    monkeypatch.setattr(methods, "advance", advance)


ENDS = [
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB"),
    MemoryError(),
    KeyboardInterrupt(),
    OSError(28, "No space left on device"),
]


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
def test_a_start_that_fails_leaves_nothing(experiment, tmp_path, monkeypatch, error):
    fails_to_compile(monkeypatch, error)
    with pytest.raises(RunError if isinstance(error, OSError) else type(error)) as caught:
        run(experiment, tmp_path / "run", command="jdd distill dm")
    assert not (tmp_path / "run").exists()
    if isinstance(error, OSError):
        ending = "No space left on device; no state was saved; to begin again: jdd distill dm"
        assert str(caught.value).endswith(ending)
        monkeypatch.undo()
        assert len(run(experiment, tmp_path / "run").scores) == 2


def test_an_extension_that_fails_leaves_the_finished_run(finished: Path, tmp_path, monkeypatch):
    parts = tmp_path / "parts"
    shutil.copytree(finished, parts)
    before = contents(parts)
    longer = changed(networks=5)
    fails_to_compile(monkeypatch, MemoryError())
    with pytest.raises(MemoryError):
        run(longer, parts, resume=True)
    assert contents(parts) == before


def test_an_extension_that_is_killed_is_continued(finished: Path, tmp_path, monkeypatch):
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    shutil.copytree(finished, parts)
    longer = changed(networks=5)
    run(longer, whole)
    append = RunDirectory.append

    def dying(self, record):
        append(self, record)
        if record["step"] > 2:
            raise KeyError("a kill")

    monkeypatch.setattr(RunDirectory, "append", dying)
    with pytest.raises(KeyError):
        run(longer, parts, resume=True)
    assert not (parts / "result.json").exists()
    monkeypatch.setattr(RunDirectory, "append", append)
    assert not run(longer, parts, resume=True).was_complete
    assert (parts / "set.safetensors").read_bytes() == (whole / "set.safetensors").read_bytes()


@jdd.register
def forgetful_in_a_run() -> synthetic.Parametrisation:
    """Pixels whose file holds other numbers than were learned."""
    pixels = synthetic.pixels
    return synthetic.Parametrisation(
        pixels.init, pixels.decode, stored=lambda params: {"images": 2 * params["images"]}
    )


def test_a_parametrisation_that_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"^forgetful_in_a_run\(\): restored\(stored\(params\)\) does not"
    ):
        run(changed(synthetic=forgetful_in_a_run()), tmp_path / "run")


def test_a_recipe_that_cannot_be_saved_is_refused_before_anything_is_made(tmp_path):
    nameless = changed(sampler=dataclasses.replace(jdd.data.uniform(8)))
    with pytest.raises(ValueError, match=r"^the recipe cannot be saved: sampler: .*jdd.register"):
        run(nameless, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_steps_of_evaluations(experiment: Experiment):
    def steps(networks: int, updates: int, every: int) -> list[int]:
        recipe = dataclasses.replace(RECIPE, networks=networks, updates=updates)
        plan = EvaluationPlan(every=every)
        configuration = dataclasses.replace(RUN, recipe=recipe, evaluation=plan)
        method = experiment.method._replace(recipe=recipe)
        made = experiment._replace(configuration=configuration, method=method)
        return session.evaluation_steps(made)

    assert steps(5, 2, 2) == [4, 8, 10]
    assert steps(4, 1, 2) == [2, 4]
    assert steps(4, 3, 0) == [12]
    assert steps(2, 1, 9) == [2]
