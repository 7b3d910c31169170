"""``jdd distill``: from options to a run directory with everything in it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from jdd import evaluate, methods
from jdd.artefact import DistilledSet, Metadata, versions
from jdd.cli import report, scoring
from jdd.cli.commands import Distill
from jdd.cli.errors import Interrupted, RunError, blame, one_line
from jdd.cli.experiment import Experiment, prepare
from jdd.cli.places import SET, run_folder
from jdd.cli.run_directory import RunDirectory
from jdd.runs import loop
from jdd.runs.interrupt import Interrupt
from jdd.runs.progress import RunProgress as Reporter
from jdd.runs.progress import RunProgress as reporter
from jdd.runs.progress import duration
from jdd.validation import count

# Given a key and a callback (networks done, of how many), the accuracies.
Training = Callable[[jax.Array, Callable[[int, int], None]], evaluate.Evaluation]

_SMALL = 5000
_START = {"real": "random real images", "noise": "noise"} | {
    word: f"real images by {word}" for word in evaluate.SELECTIONS
}


def distill(command: Distill, argv: Sequence[str]) -> None:
    """Runs the command.

    Raises:
      UsageError: for a value that is not possible, before anything is written.
      Interrupted: if the user stopped it; the message says how to go on.
      RunError: if it diverged, or could not be saved; what was good last is in the run directory.
    """
    out = report.console()
    experiment = prepare(command)
    now = {"versions": versions(), "device": report.device()}
    config = {"options": experiment.options, **now}
    again = shlex.join(["jdd", *argv, *([] if "--resume" in argv else ["--resume"])])
    with RunDirectory.open(run_folder(command), config, resume=command.run.resume) as run:
        if (run.path / "result.json").exists():
            out.print(f"{run.path} is complete.", soft_wrap=True)
            with blame("--resume"):
                report.scores(out, _recorded(run.metrics()))
            return
        with Interrupt() as interrupt:
            session = Session(experiment, run, interrupt, again)
            session.run_all(out, command.run.save_every * 60)


class Session:
    """One run: what happens between dispatches, and after the last."""

    def __init__(
        self, experiment: Experiment, run: RunDirectory, interrupt: Interrupt, again: str
    ) -> None:
        self.experiment = experiment
        self.run = run
        self.interrupt = interrupt
        self.again = again
        self.key = jax.random.key(experiment.options["seed"])
        self.total = experiment.method.loops.total_steps
        self.unit = experiment.method.loops.unit
        self.progress: Reporter

    def run_all(self, out: Console, save_seconds: float) -> None:
        """Distils, evaluates, and leaves everything in the run directory.

        Raises:
          RunError: if a file cannot be written; what was saved before is as it was.
        """
        try:
            self._run_all(out, save_seconds)
        except BrokenPipeError:  # of stdout, not of a file
            raise
        except OSError as error:
            step = self.run.checkpoints.latest()
            safe = (
                "no state was saved yet"
                if step is None
                else f"the state of {self.unit} {step} is safe"
            )
            raise RunError(f"{one_line(error)}; {safe}; to go on: {self.again}") from error

    def _run_all(self, out: Console, save_seconds: float) -> None:
        experiment, run = self.experiment, self.run
        start = jax.random.fold_in(self.key, 0), experiment.train
        with blame("--resume"):
            # What is resumed need only be described: initial images may take a network's training.
            described = jax.eval_shape(experiment.method.init, *start)
            resumed = run.checkpoints.resume(described, config=experiment.options)
        if resumed is None:
            step, state = 0, experiment.method.init(*start)
        else:
            step, state = resumed.step, resumed.state
            for line in resumed.set_aside:
                warning = f"jdd: warning: {line}; going on from {self.unit} {step}"
                print(warning, file=sys.stderr, flush=True)
        run.rewind(step)
        report.facts(out, _facts(experiment, run, step))
        began = time.perf_counter()
        program = (
            methods.advance(experiment.method, loop.MOST_STEPS_PER_DISPATCH)
            .lower(state, experiment.train, jnp.int32(1))
            .compile()
        )
        compile_seconds = time.perf_counter() - began
        temporaries = getattr(program.memory_analysis(), "temp_size_in_bytes", None)
        report.facts(out, {"program": _program_text(temporaries, compile_seconds)})
        with reporter(self.total, step, self.unit) as self.progress:
            state = self._loop(program, state, step, save_seconds)
            scores = self._final_scores(state)
        self._write_all(state, scores, compile_seconds, temporaries)
        report.scores(out, scores)
        for said in self._schedule(state).values():
            words = ", ".join(f"{name.replace('_', ' ')} {x:,.4g}" for name, x in said.items())
            report.facts(out, {"schedule": words})
        out.print(f"Everything is in {run.path} (set.safetensors, grid.png, ...)", soft_wrap=True)

    def _loop(self, program: Any, state: Any, step: int, save_seconds: float) -> Any:
        try:
            return loop.run_steps(
                lambda state, table, n: program(state, table, jnp.int32(n)),
                state,
                self.experiment.train,
                step=step,
                total=self.total,
                stops=evaluation_steps(self.experiment),
                decode=self.experiment.method.decode,
                updates=self.experiment.method.updates,
                hooks=loop.Hooks(
                    self._report, self._evaluate, self._save, lambda: self.interrupt.asked
                ),
                save_seconds=save_seconds,
            )
        except loop.Stopped as stop:
            raise self._interrupted(stop.step) from None
        except loop.Diverged as end:
            at = {"diverged_at": end.step, "step": end.good_step}
            self._write_set(end.good[0], at)
            raise RunError(
                f"{end}: the set of step {end.good_step}, the last good one, is in {self.run.path}"
            ) from None

    def _report(self, done: loop.Report) -> None:
        loss = float(done.losses.astype(np.float64).mean())
        self.run.append({"step": done.step, "loss": loss, "seconds": round(done.seconds, 3)})
        self.progress.steps(done.step, loss, done.updates, done.seconds)

    def _save(self, step: int, state: Any) -> None:
        self.run.checkpoints.save(step, state, self.experiment.options)
        self._write_set(self._images(state), {"step": step})

    def _evaluate(self, step: int, state: Any) -> None:
        if step == 0 or any(r["step"] == step and "accuracy" in r for r in self.run.metrics()):
            return
        networks = self.experiment.options["eval_networks"]
        if step < self.total:
            networks = max(1, networks // 4)
        images, labels = self.experiment.method.decode(state)
        score = self._score(
            step,
            "distilled images",
            lambda key, done: evaluate.evaluate(
                key,
                self.experiment.eval_model,
                images.reshape(-1, *images.shape[2:]),
                labels.reshape(-1, *labels.shape[2:]),
                self.experiment.test,
                self.experiment.protocol,
                num_networks=networks,
                networks_per_dispatch=scoring.networks_per_dispatch(),
                report=done,
            ),
            key=jax.random.fold_in(jax.random.fold_in(self.key, 1), step),
        )
        self.run.append(
            {"step": step, "accuracy": score.mean, "accuracy_std": score.std}
            | {"score": score.record()}
        )

    def _final_scores(self, state: Any) -> list[scoring.Score]:
        """The table's rows; those that an interrupted run already has are not computed again."""
        experiment, options = self.experiment, self.experiment.options
        networks = options["eval_networks"]
        sets = min(5, networks)
        common = (experiment.eval_model, experiment.train, experiment.test)
        group = scoring.networks_per_dispatch()
        if options["random"] == "yes":
            self._baseline(
                "random real images",
                lambda key, done: evaluate.random_real_sets(
                    key,
                    *common,
                    options["ipc"],
                    experiment.protocol,
                    sets=sets,
                    num_networks=-(-networks // sets),
                    networks_per_dispatch=group,
                    report=done,
                ),
                key=jax.random.fold_in(self.key, 2),
            )
        small = jax.default_backend() != "cpu" or experiment.train.images.shape[0] <= _SMALL
        if options["whole"] == "yes" or (options["whole"] == "auto" and small):
            self._baseline(
                "whole training set",
                lambda key, done: evaluate.whole_set(
                    key, *common, networks_per_dispatch=group, report=done
                ),
                key=jax.random.fold_in(self.key, 3),
            )
        return _recorded(self.run.metrics())

    def _baseline(self, images: str, train: Training, *, key: jax.Array) -> None:
        if not any(r.get("baseline") == images for r in self.run.metrics()):
            score = self._score(self.total, images, train, key=key)
            self.run.append({"step": self.total, "baseline": images, "score": score.record()})

    def _score(self, step: int, images: str, train: Training, *, key: jax.Array) -> scoring.Score:
        def done(n: int, networks: int) -> None:
            self.progress.training(f"evaluating {images}", n, networks)
            if self.interrupt.asked and n < networks:
                raise self._interrupted(step)

        began = time.perf_counter()
        found = train(key, done)
        score = scoring.Score.of(images, found, time.perf_counter() - began)
        networks = count(len(score.accuracies), "network")
        took = f"{networks} in {duration(score.seconds)}"
        self.progress.note(f"{self.unit} {step}/{self.total}: {images}: {score} ({took})")
        return score

    def _schedule(self, state: Any) -> dict[str, Any]:
        """What the method says of its schedule besides."""
        summary = self.experiment.method.summary
        return {} if summary is None else {"schedule": summary(state)}

    def _interrupted(self, step: int) -> Interrupted:
        return Interrupted(f"stopped at {self.unit} {step} of {self.total}; to go on: {self.again}")

    def _images(self, state: Any) -> np.ndarray:
        return np.asarray(self.experiment.method.decode(state)[0])

    def _write_set(self, images: np.ndarray, results: dict[str, Any]) -> DistilledSet:
        experiment = self.experiment
        dataset, options = experiment.dataset, experiment.options
        num_classes, count = images.shape[:2]
        distilled = DistilledSet(
            np.ascontiguousarray(images.reshape(-1, *images.shape[2:])),
            np.repeat(np.arange(num_classes, dtype=np.int32), count),
            Metadata(
                method=experiment.name,
                dataset=dataset.name,
                class_names=dataset.class_names,
                ipc=options["ipc"],
                space="normalised",
                mean=dataset.mean,
                std=dataset.std,
                augmentation=experiment.augmentation,
                protocol=experiment.meant.name,
                recipe=experiment.meant.record(),
                options=options,
                seed=options["seed"],
                results=results,
            ),
        )
        distilled.save(self.run.path / SET, overwrite=True)
        return distilled

    def _write_all(
        self,
        state: Any,
        scores: list[scoring.Score],
        compile_seconds: float,
        temporaries: int | None,
    ) -> None:
        # matplotlib takes a second to import, and a run that is refused does not need it.
        from jdd.runs import draw

        results = {
            score.images: {
                "mean": score.mean,
                "std": score.std,
                "networks": len(score.accuracies),
                "network": score.network,
                "protocol": score.protocol,
            }
            for score in scores
        }
        distilled = self._write_set(self._images(state), {"step": self.total, **results})
        path, metrics = self.run.path, self.run.metrics()
        draw.grid(
            distilled.pixels(), distilled.labels, distilled.metadata.class_names, path / "grid.png"
        )
        baselines = {s.images: s.mean for s in scores[1:]}
        steps = "image updates" if self.unit == "update" else f"{self.unit}s"
        draw.curves(metrics, path / "curve.png", baselines=baselines, steps=steps)
        seconds = [record["seconds"] for record in metrics if "loss" in record]
        self.run.write_json(
            "result.json",
            {
                "scores": [score.record() for score in scores],
                "seconds": {
                    "compile": round(compile_seconds, 3),
                    "distil": round(sum(seconds), 3),
                    "evaluate": round(
                        sum(r["score"]["seconds"] for r in metrics if "score" in r), 3
                    ),
                },
                "updates": self.experiment.method.updates(state),
                **self._schedule(state),
                "network": self.experiment.model.name,
                "eval_network": self.experiment.eval_model.name,
                "temporaries_mb": temporaries and round(temporaries / 1e6, 1),
                "peak_memory_mb": report.peak_memory_mb(),
                "device": report.device(),
                "versions": versions(),
            },
        )


def evaluation_steps(experiment: Experiment) -> list[int]:
    """The steps after which the set is evaluated; the last always is."""
    loops, every = experiment.method.loops, experiment.options["eval_every"]
    on_the_way = range(every, loops.networks, every) if every else range(0)
    return [networks * loops.steps_per_network for networks in (*on_the_way, loops.networks)]


def _recorded(metrics: Sequence[dict[str, Any]]) -> list[scoring.Score]:
    """The final score of the set, then the baselines."""
    final = [r for r in metrics if "accuracy" in r][-1:] + [r for r in metrics if "baseline" in r]
    return [scoring.Score.read(record.get("score")) for record in final]


def _program_text(temporaries: int | None, seconds: float) -> str:
    size = "" if temporaries is None else f"{temporaries / 1e6:.1f} MB of temporaries, "
    return f"{size}compiled in {seconds:.1f} s"


def _facts(experiment: Experiment, run: RunDirectory, step: int) -> dict[str, str]:
    dataset, options, loops = experiment.dataset, experiment.options, experiment.method.loops
    shape = "x".join(map(str, dataset.image_shape))
    variables = jax.eval_shape(experiment.model.init, jax.random.key(0))
    parameters = sum(x.size for x in jax.tree.leaves(variables))
    images = count(options["ipc"], "image")
    method = f"{experiment.name}, {images} per class, at first {_START[options['init']]}"
    if "strategy" in options:
        method += f", augmentation {options['strategy']}"
    where = str(run.path) + (f", from {loops.unit} {step}" if step else "")
    device = report.device()
    if changed := run.changed({"versions": versions(), "device": device}):
        where += f"; begun with {'; '.join(changed)}: bits may differ"
    cores = f", {device['cores']} cores" if "cores" in device else ""
    return {
        "data set": f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.train)} train and "
        f"{len(dataset.test)} test images of {shape}",
        "method": method,
        "network": f"{experiment.model.name}, {parameters} parameters",
        "evaluation": f"{experiment.eval_model.name}; protocol {experiment.protocol.name}",
        "loops": loops.describe(),
        "device": f"{device['count']} x {device['kind']}{cores}; jax {jax.__version__}",
        "run": where,
    }
