"""A run: distil, evaluate, and leave everything in a folder; interrupted runs are continued bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jdd import baselines, evaluate, methods
from jdd.artefact import DistilledSet, Metadata, versions
from jdd.runs import loop
from jdd.runs.directory import RESULT, SET, RunDirectory
from jdd.runs.errors import FolderError, Interrupted, RunError, one_line
from jdd.runs.experiment import Experiment, require_compilation
from jdd.runs.facts import facts
from jdd.runs.interrupt import Interrupt
from jdd.runs.machine import device, peak_memory_mb
from jdd.runs.progress import RunProgress
from jdd.runs.scores import Score, networks_per_dispatch
from jdd.runs.stderr import print_line
from jdd.synthetic import equivalent_ipc, flat, from_real

# Given a key and a callback (networks done, of how many), the accuracies.
Training = Callable[[jax.Array, Callable[[int, int], None]], evaluate.Evaluation]
Announce = Callable[[Mapping[str, str]], None]

# A whole real set is trained on, on a CPU, up to so many images: seconds.
_SMALL_SET = 5000


class Result(NamedTuple):
    """What a finished run gives.

    Attributes:
      scores: of the set, then of the baselines.
      schedule: how long networks lasted, where that is not fixed; of trajectories, the learned step size.
      path: the run directory.
      was_complete: whether it was finished before.
    """

    scores: list[Score]
    schedule: dict[str, float]
    path: Path
    was_complete: bool


def run(
    experiment: Experiment,
    folder: str | Path,
    *,
    resume: bool = False,
    save_minutes: float = 10.0,
    announce: Announce | None = None,
    command: str = "",
    again: str = "the same call with resume=True",
) -> Result:
    """Runs an experiment in a folder.

    Args:
      experiment: `prepare` makes it.
      folder: the run directory; made if there is none.
      resume: whether to continue the run in that folder.
      save_minutes: between two checkpoints.
      announce: called with facts in words, by name, as they become known.
      command: what started the run, for its files and for a message where nothing was saved.
      again: what continues the run, in words, for the message of one that ends early.

    Returns:
      The scores.

    Raises:
      ValueError: if save_minutes is negative or not finite.
      FolderError: before anything is written, if the folder cannot serve this run (a ValueError).
      Interrupted: on SIGINT or SIGTERM, after the state was saved.
      RunError: if the run diverged or a file could not be written; what was saved before is kept.
    """
    require_compilation()
    require_save_minutes(save_minutes)
    path = Path(folder).expanduser()
    configuration = experiment.configuration
    with RunDirectory.open(path, configuration, resume=resume, command=command) as directory:
        if directory.is_complete():
            return Result(recorded_scores(directory), {}, path, was_complete=True)
        with Interrupt() as interrupt:
            session = _Session(
                experiment, directory, interrupt, announce or _nobody, command, again
            )
            return session.run(save_minutes * 60)


def require_save_minutes(minutes: float) -> None:
    """Raises a ``ValueError`` for a time between two checkpoints that is negative or not finite."""
    if not (isinstance(minutes, Real) and 0 <= minutes < math.inf):
        raise ValueError(f"save_minutes must be at least 0 and finite, got {minutes!r}")


def recorded_scores(directory: RunDirectory) -> list[Score]:
    """The final score of the set, then the baselines.

    Raises:
      ValueError: if a record was damaged.
    """
    metrics = directory.metrics()
    last = [r for r in metrics if "accuracy" in r][-1:]
    return [Score.read(r.get("score")) for r in (*last, *(r for r in metrics if "baseline" in r))]


def evaluation_steps(experiment: Experiment) -> list[int]:
    """The steps after which the set is evaluated; the last always is."""
    recipe, every = experiment.method.recipe, experiment.configuration.evaluation.every
    during = range(every, recipe.rounds, every) if every else range(0)
    return [rounds * recipe.steps_per_round for rounds in (*during, recipe.rounds)]


def _nobody(facts: Mapping[str, str]) -> None:
    del facts


class _Session:
    """One run: what happens between dispatches, and after the last."""

    def __init__(
        self,
        experiment: Experiment,
        directory: RunDirectory,
        interrupt: Interrupt,
        announce: Announce,
        command: str,
        again: str,
    ) -> None:
        self.experiment = experiment
        self.directory = directory
        self.interrupt = interrupt
        self.announce = announce
        self.command = command
        self.again = again
        self.key = jax.random.key(experiment.configuration.seed)
        self.total = experiment.method.recipe.total_steps
        self.unit = experiment.method.recipe.unit
        self.progress: RunProgress

    def run(self, save_seconds: float) -> Result:
        try:
            return self._run(save_seconds)
        except BrokenPipeError:  # of stdout, not of a file
            raise
        except OSError as error:
            step = self.directory.checkpoints.latest()
            if step is None:
                hint = "no state was saved"
                hint += f"; to begin again: {self.command}" if self.command else ""
            else:
                hint = f"the state of {self.unit} {step} is saved; to continue: {self.again}"
            raise RunError(f"{one_line(error)}; {hint}") from error

    def _run(self, save_seconds: float) -> Result:
        experiment, method = self.experiment, self.experiment.method
        state, step = self._begin()
        self.announce(facts(experiment, self.directory, step))
        began = time.perf_counter()
        advance = methods.advance(method, loop.MOST_STEPS_PER_DISPATCH)
        program = advance.lower(state, experiment.data, jnp.int32(1)).compile()
        compile_seconds = time.perf_counter() - began
        # From here on the files of an earlier part of the run may change.
        self.directory.extend()
        self.directory.rewind(step)
        temporaries = getattr(program.memory_analysis(), "temp_size_in_bytes", None)
        self.announce({"program": _program_text(temporaries, compile_seconds)})
        with RunProgress(self.total, step, self.unit) as self.progress:
            state = self._loop(program, state, step, save_seconds)
            self._baselines()
        scores, schedule = recorded_scores(self.directory), method.summary(state)
        self._write_all(state, scores, schedule, compile_seconds, temporaries)
        return Result(scores, schedule, self.directory.path, was_complete=False)

    def _begin(self) -> tuple[Any, int]:
        """The state that the run starts from, and its step: the newest readable checkpoint's, or a new one."""
        method, data = self.experiment.method, self.experiment.data
        init_key = jax.random.fold_in(self.key, 0)
        # A state that is resumed needs only a description: initial images may take a network's training.
        described = jax.eval_shape(method.init, init_key, data)
        try:
            resumed = self.directory.checkpoints.resume(described)
        except ValueError as error:
            raise FolderError(f"resume: {one_line(error)}") from error
        if resumed is None:
            return method.init(init_key, data), 0
        for line in resumed.set_aside:
            print_line(f"jdd: warning: {line}; continuing from {self.unit} {resumed.step}")
        return resumed.state, resumed.step

    def _loop(self, program: Any, state: Any, step: int, save_seconds: float) -> Any:
        try:
            return loop.run_steps(
                lambda state, data, n: program(state, data, jnp.int32(n)),
                state,
                self.experiment.data,
                step=step,
                total=self.total,
                stops=evaluation_steps(self.experiment),
                decode=self.experiment.method.learned,
                # Of trajectories, iterations that were skipped are work and have a loss too.
                updates=lambda state: int(state.updates if self.unit == "step" else state.step),
                hooks=loop.Hooks(
                    self._report, self._evaluate, self._save, lambda: self.interrupt.asked
                ),
                save_seconds=save_seconds,
            )
        except loop.Stopped as stop:
            raise self._interrupted(stop.step) from None
        except loop.Diverged as end:
            self._write_set(end.good, {"diverged_at": end.step, "step": end.good_step})
            raise RunError(
                f"{end}: the set of step {end.good_step}, the last finite one, is in "
                f"{self.directory.path}"
            ) from None

    def _report(self, report: loop.Report) -> None:
        loss = float(report.losses.astype(np.float64).mean())
        seconds = round(report.seconds, 3)
        self.directory.append({"step": report.step, "loss": loss, "seconds": seconds})
        self.progress.steps(report.step, loss, report.updates, report.seconds)

    def _save(self, step: int, state: Any) -> None:
        self.directory.checkpoints.save(step, state, {})
        self._write_set(self.experiment.method.learned(state), {"step": step})

    def _evaluate(self, step: int, state: Any) -> None:
        records = self.directory.metrics()
        if step == 0 or any(r["step"] == step and "accuracy" in r for r in records):
            return
        experiment, networks = self.experiment, self.experiment.configuration.evaluation.networks
        if step < self.total:
            networks = max(1, networks // 4)
        batch = flat(experiment.method.decode(state))
        rate = experiment.method.learned(state).learning_rate
        score = self._score(
            step,
            "distilled images",
            lambda key, report: evaluate.evaluate(
                key,
                experiment.eval_model,
                batch.images,
                batch.labels,
                experiment.test,
                experiment.protocol,
                num_networks=networks,
                learning_rate=None if rate is None else float(rate),
                networks_per_dispatch=networks_per_dispatch(),
                report=report,
            ),
            key=jax.random.fold_in(jax.random.fold_in(self.key, 1), step),
        )
        accuracy = {"accuracy": score.mean, "accuracy_std": score.std}
        self.directory.append({"step": step, **accuracy, "score": score.record()})

    def _baselines(self) -> None:
        """The rows of real images; those that an interrupted run already has are not computed again."""
        experiment, plan = self.experiment, self.experiment.configuration.evaluation
        model, train, test = experiment.eval_model, experiment.train, experiment.test
        group = networks_per_dispatch()
        if plan.random:
            sets = min(5, plan.networks)
            is_repeated = experiment.configuration.recipe.ipc > train.smallest
            self._baseline(
                "random real images" + (", repeated" if is_repeated else ""),
                lambda key, report: baselines.evaluate_real_sets(
                    *(key, from_real(is_repeated), model, train, test),
                    experiment.configuration.recipe.ipc,
                    experiment.protocol,
                    sets=sets,
                    num_networks=-(-plan.networks // sets),
                    networks_per_dispatch=group,
                    report=report,
                ),
                key=jax.random.fold_in(self.key, 2),
            )
        is_short = jax.default_backend() != "cpu" or train.images.shape[0] <= _SMALL_SET
        if plan.whole == "yes" or (plan.whole == "auto" and is_short):
            self._baseline(
                "whole training set",
                lambda key, report: baselines.evaluate_whole_set(
                    *(key, model, train, test), networks_per_dispatch=group, report=report
                ),
                key=jax.random.fold_in(self.key, 3),
            )

    def _baseline(self, images: str, train: Training, *, key: jax.Array) -> None:
        if any(r.get("baseline") == images for r in self.directory.metrics()):
            return
        if self.interrupt.asked:
            raise self._interrupted(self.total)
        score = self._score(self.total, images, train, key=key)
        self.directory.append({"step": self.total, "baseline": images, "score": score.record()})

    def _score(self, step: int, images: str, train: Training, *, key: jax.Array) -> Score:
        def report(n: int, networks: int) -> None:
            self.progress.training(f"evaluating {images}", n, networks)
            if self.interrupt.asked and n < networks:
                raise self._interrupted(step)

        began = time.perf_counter()
        evaluation = train(key, report)
        score = Score.of(images, evaluation, time.perf_counter() - began)
        self.progress.note(f"{self.unit} {step}/{self.total}: {images}: {score.note}")
        return score

    def _interrupted(self, step: int) -> Interrupted:
        return Interrupted(
            f"stopped at {self.unit} {step} of {self.total}; to continue: {self.again}"
        )

    def _write_set(self, learned: methods.Learned, results: Mapping[str, Any]) -> DistilledSet:
        experiment, configuration = self.experiment, self.experiment.configuration
        rate = learned.learning_rate
        metadata = Metadata.of_run(
            configuration,
            experiment.dataset,
            is_whitened=experiment.whitening is not None,
            learning_rate=None if rate is None else float(rate),
            results=results,
        )
        distilled = DistilledSet.from_params(
            configuration.recipe.synthetic,
            learned.params,
            metadata,
            labels=learned.labels,
            whitening=experiment.whitening,
        )
        distilled.save(self.directory.path / SET, overwrite=True)
        return distilled

    def _write_all(
        self,
        state: Any,
        scores: list[Score],
        schedule: Mapping[str, float],
        compile_seconds: float,
        temporaries: int | None,
    ) -> None:
        # matplotlib takes a second to import, and a run that is refused does not need it.
        from jdd.runs import draw

        results = {score.images: score.summary() for score in scores}
        learned = self.experiment.method.learned(state)
        distilled = self._write_set(learned, {"step": self.total, **results})
        path, metrics = self.directory.path, self.directory.metrics()
        draw.grid_of_set(distilled, path / "grid.png")
        steps = "updates of the set" if self.unit == "update" else f"{self.unit}s"
        lines = {score.images: score.mean for score in scores[1:]}
        draw.curves(metrics, path / "curve.png", baselines=lines, steps=steps)
        evaluations = sum(r["score"]["seconds"] for r in metrics if "score" in r)
        self.directory.write_json(
            RESULT,
            {
                "scores": [score.record() for score in scores],
                "seconds": {
                    "compile": round(compile_seconds, 3),
                    "distil": round(sum(r["seconds"] for r in metrics if "loss" in r), 3),
                    "evaluate": round(evaluations, 3),
                },
                "updates": int(state.updates),
                "num_floats": distilled.num_floats,
                "equivalent_ipc": equivalent_ipc(
                    distilled.num_floats, distilled.num_classes, distilled.image_shape
                ),
                **({"schedule": dict(schedule)} if schedule else {}),
                "network": self.experiment.method.model.name,
                "eval_network": self.experiment.eval_model.name,
                "temporaries_mb": temporaries and round(temporaries / 1e6, 1),
                "peak_memory_mb": peak_memory_mb(),
                "command": self.directory.config.get("command", ""),
                "device": device(),
                "versions": versions(),
            },
        )


def _program_text(temporaries: int | None, seconds: float) -> str:
    size = "" if temporaries is None else f"{temporaries / 1e6:.1f} MB of temporaries, "
    return f"{size}compiled in {seconds:.1f} s"
