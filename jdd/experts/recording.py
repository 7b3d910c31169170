"""Training the experts that a store lacks: stopped or killed at any time, it goes on where it was."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jdd.datasets import Dataset
from jdd.evaluate.accuracy import accuracy_under
from jdd.experts import training
from jdd.experts.plan import ExpertPlan
from jdd.experts.store import Store, open_store
from jdd.experts.writing import StoreWriter
from jdd.nn import Model
from jdd.runs.errors import Interrupted, RunError, one_line
from jdd.runs.experiment import require_compilation
from jdd.runs.interrupt import Interrupt
from jdd.runs.loop import Pace
from jdd.runs.progress import RunProgress, duration
from jdd.validation import at_least, count

Announce = Callable[[Mapping[str, str]], None]


class Recorded(NamedTuple):
    """What a finished call gives.

    Attributes:
      store: with all experts.
      trained: how many experts this call has trained.
      accuracies: of all experts after their last epoch, on the test set, fractions.
    """

    store: Store
    trained: int
    accuracies: np.ndarray


def record(
    plan: ExpertPlan,
    dataset: Dataset,
    folder: str | Path,
    *,
    experts: int,
    at_once: int | None = None,
    announce: Announce | None = None,
    command: str = "",
) -> Recorded:
    """Trains experts and stores their parameters after every epoch; those that are there are kept.

    An expert's numbers depend on the plan and its number alone, on one device and with one ``at_once``. One
    whose training was interrupted begins anew from its own key. Damaged ones are trained anew.

    Args:
      plan: how they are trained.
      dataset: that the plan names.
      folder: the store; made if there is none.
      experts: how many the store has at the end.
      at_once: experts trained together; None for the default of the device.
      announce: called with facts in words, by name.
      command: that started it, for its files and messages.

    Returns:
      The store, with the accuracies of its experts.

    Raises:
      ValueError: if a number cannot be, or the plan does not fit the data (FolderError: the folder).
      Interrupted: on SIGINT or SIGTERM; complete experts are kept.
      RunError: if an expert diverges or a file cannot be written; complete experts are kept.
    """
    require_compilation()
    at_least("experts", experts, 1)
    at_once = at_least("at_once", training.default_at_once() if at_once is None else at_once, 1)
    plan = plan.with_fingerprint(dataset.fingerprint)
    model = plan.network.model(dataset.num_classes, dataset.image_shape)
    parameters = num_parameters(model)
    path = Path(folder).expanduser()
    again = command or plan.command(experts, path)
    opened = StoreWriter.open(path, plan, parameters, experts=experts, command=command)
    with opened as writer, Interrupt() as interrupt:
        missing = [e for e in range(experts) if e not in writer.complete]
        for expert in writer.damaged:
            then = "it is" if expert < experts else f"--experts {expert + 1} has it"
            text = f"jdd: warning: expert {expert} was damaged: {then} trained anew"
            print(text, file=sys.stderr, flush=True)
        (announce or _nobody)(_facts(plan, dataset, model, parameters, writer, experts, at_once))
        if missing:
            session = _Session(plan, dataset, model, writer, interrupt, again)
            session.run(missing, experts, at_once)
    store = open_store(path).first(experts)
    accuracies = np.array([each.get("test_accuracy", np.nan) for each in store.records])
    return Recorded(store, len(missing), accuracies)


def num_parameters(model: Model) -> int:
    """P: the numbers of a network."""
    variables = jax.eval_shape(model.init, jax.random.key(0))
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


def estimated_seconds(plan: ExpertPlan, dataset: Dataset, experts: int) -> float:
    """How long training will take on this device, from two steps of one expert.

    It compiles a program of training. Nothing is whitened for it, and experts at once are counted as if they
    were trained one after the other.

    Args:
      plan: of the experts.
      dataset: that the plan names.
      experts: how many.

    Returns:
      Seconds, without compilation.
    """
    model = plan.network.model(dataset.num_classes, dataset.image_shape)
    compiled = training.programs(plan, model)
    table, _ = dataset.tables()
    keys = training.expert_key(plan, 0)[None]
    state = compiled.begin(keys, jnp.float32(plan.sgd.learning_rate))
    times = []
    for _ in range(3):  # the first call compiles
        began = time.perf_counter()
        state = compiled.advance(keys, state, table, *(jnp.int32(i) for i in (0, 0, 1)))
        jax.block_until_ready(state)
        times.append(time.perf_counter() - began)
    steps = training.steps_per_epoch(plan, len(dataset.train))
    return min(times) * steps * plan.epochs * experts


class _Session:
    """The training of the experts that a store lacks."""

    def __init__(
        self,
        plan: ExpertPlan,
        dataset: Dataset,
        model: Model,
        writer: StoreWriter,
        interrupt: Interrupt,
        again: str,
    ) -> None:
        self.plan, self.model, self.writer = plan, model, writer
        self.interrupt, self.again = interrupt, again
        fit = plan.normalisation.fit
        self.train, self.test = dataset.tables(None if fit is None else fit(dataset.train.images))
        self.programs = training.programs(plan, model)
        self.steps = training.steps_per_epoch(plan, len(dataset.train))
        self.pace = Pace(4.0)

    def run(self, missing: list[int], experts: int, at_once: int) -> None:
        """Trains the missing experts, group by group.

        The groups are those of all experts, so that an expert always has the same neighbours.
        """
        groups: dict[int, list[int]] = {}
        for expert in missing:
            groups.setdefault(expert // at_once, []).append(expert)
        total = len(groups) * self.plan.epochs * self.steps
        try:
            with RunProgress(total, unit="step") as self.progress:
                for i, (group, wanted) in enumerate(groups.items()):
                    numbers = np.arange(group * at_once, (group + 1) * at_once)
                    self._train(numbers, wanted, i * self.plan.epochs * self.steps, experts)
        except OSError as error:
            kept = count(len(self.writer.complete), "complete expert")
            raise RunError(f"{one_line(error)}; {kept} kept; to continue: {self.again}") from error

    def _train(self, numbers: np.ndarray, wanted: list[int], done: int, experts: int) -> None:
        """Trains the experts with these numbers together, and stores those that are wanted."""
        began = time.perf_counter()
        places = [int(np.flatnonzero(numbers == expert)[0]) for expert in wanted]
        keys = jax.vmap(lambda e: training.expert_key(self.plan, e))(jnp.asarray(numbers))
        state = self.programs.begin(keys, jnp.float32(self.plan.sgd.learning_rate))
        self._store(wanted, places, state)
        losses = np.zeros(len(numbers))
        for epoch in range(self.plan.epochs):
            state = self._epoch(keys, state, epoch, done + epoch * self.steps)
            losses = np.asarray(state.loss, np.float64) / self._steps_of_epoch()
            self._refuse_divergence(wanted, places, losses, epoch)
            self._store(wanted, places, state)
        seconds = (time.perf_counter() - began) / len(wanted)
        for expert, place in zip(wanted, places, strict=True):
            variables = jax.tree.map(lambda x, place=place: x[place], state.training.variables)
            tested = float(_accuracy(self.plan.augment, self.model, variables, self.test))
            facts = {"loss": losses[place], "test_accuracy": tested, "seconds": round(seconds, 3)}
            self.writer.finish(expert, facts)
            self.progress.note(
                f"expert {expert}: loss {losses[place]:.4g}, test accuracy {100 * tested:.2f} % "
                f"({duration(seconds)}); {len(self.writer.complete)} of {experts} are complete"
            )

    def _epoch(
        self, keys: jax.Array, state: training.ExpertState, epoch: int, done: int
    ) -> training.ExpertState:
        first = 0
        while first < self.steps:
            last = first + self.pace.next(self.steps - first)
            began = time.perf_counter()
            state = self.programs.advance(
                keys, state, self.train, *(jnp.int32(i) for i in (epoch, first, last))
            )
            loss = float(np.mean(state.loss)) / last  # waits for the device
            seconds = time.perf_counter() - began
            self.pace.measured(last - first, seconds)
            self.progress.steps(done + last, loss, (last - first) * len(keys), seconds)
            first = last
            is_end = epoch + 1 == self.plan.epochs and last == self.steps
            if self.interrupt.asked and not is_end:
                kept = count(len(self.writer.complete), "complete expert")
                raise Interrupted(f"stopped; {kept} kept; to continue: {self.again}")
        return state

    def _steps_of_epoch(self) -> int:
        """Minibatches of an epoch, with the smaller one of the images that remain."""
        n = self.train.images.shape[0]
        return -(-n // min(n, self.plan.sgd.batch_size))

    def _store(self, wanted: list[int], places: list[int], state: training.ExpertState) -> None:
        snapshots = np.asarray(self.programs.snapshots(state))
        for expert, place in zip(wanted, places, strict=True):
            self.writer.write(expert, snapshots[place : place + 1])

    def _refuse_divergence(
        self, wanted: list[int], places: list[int], losses: np.ndarray, epoch: int
    ) -> None:
        for expert, place in zip(wanted, places, strict=True):
            if not np.isfinite(losses[place]):
                raise RunError(
                    f"expert {expert}: the loss is not finite in epoch {epoch + 1}: a lower learning rate "
                    "helps, in another folder; complete experts are kept"
                )


_accuracy = jax.jit(accuracy_under, static_argnums=(0, 1))


def _facts(
    plan: ExpertPlan,
    dataset: Dataset,
    model: Model,
    parameters: int,
    writer: StoreWriter,
    experts: int,
    at_once: int,
) -> dict[str, str]:
    """What will be trained, in words."""
    sgd, shape = plan.sgd, "x".join(map(str, dataset.image_shape))
    size = experts * (plan.epochs + 1) * parameters * 4
    together = f", {at_once} at once" if at_once > 1 else ""
    flat = "" if plan.flatness is None else f", {plan.flatness!r}"
    return {
        "data set": f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.train)} train and "
        f"{len(dataset.test)} test images of {shape}, {plan.normalisation!r}",
        "network": f"{model.name}, {parameters} parameters",
        "training": f"SGD (learning rate {sgd.learning_rate}, momentum {sgd.momentum}, weight decay "
        f"{sgd.weight_decay}, batch {sgd.batch_size}), {plan.augment!r}{flat}",
        "experts": f"{experts} x {count(plan.epochs, 'epoch')}{together}; {len(writer.complete)} are complete",
        "store": f"{writer.path}, {size / 1e6:,.1f} MB",
    }


def _nobody(facts: Mapping[str, str]) -> None:
    del facts
