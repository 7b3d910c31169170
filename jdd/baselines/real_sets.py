"""Evaluation of real images: random or selected ones of each class, and the whole set."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd.data.batch import Batch
from jdd.data.table import ClassTable, take
from jdd.evaluate import Evaluation, EvaluationProtocol, evaluate
from jdd.nn import Model
from jdd.synthetic import Initial, class_labels, flat
from jdd.validation import at_least

WHOLE_SET = EvaluationProtocol("whole set", epochs=14)
"""Training on the whole set: 15 epochs of the papers' SGD, which is not tuned for the best accuracy."""


def real_set(key: Array, initial: Initial, model: Model, table: ClassTable, ipc: int) -> Batch:
    """A training set of real images.

    Args:
      key: typed PRNG key.
      initial: how images are chosen, as ``synthetic.from_real()`` or ``baselines.from_herding()``.
      model: the network whose embeddings are used, if the choice uses any.
      table: the real training set.
      ipc: images per class.

    Returns:
      A batch of ``C * ipc`` images, class-major.

    Raises:
      ValueError: if a class has fewer than ipc images, or the training of the network that chooses diverged.
    """
    images = initial.images(key, table, model, ipc)
    if not bool(jnp.isfinite(images).all()):
        raise ValueError(
            f"{initial}: the training of the {model.name} that chooses images diverged"
        )
    return flat(Batch(images, class_labels(*images.shape[:2])))


def whole_set(table: ClassTable) -> Batch:
    """All images of a table as a training set.

    Args:
      table: the images.

    Returns:
      A batch of all images, normalised, class-major.

    >>> from jdd.data import Split, class_table
    >>> split = Split(np.zeros((3, 8, 8, 1), np.uint8), np.array([1, 0, 1], np.int32))
    >>> whole_set(class_table(split, 2, (0.5,), (0.5,))).labels.tolist()
    [0, 1, 1]
    """
    n = table.images.shape[0]
    classes = jnp.arange(table.num_classes, dtype=jnp.int32)
    return Batch(
        take(table, jnp.arange(n)), jnp.repeat(classes, table.count, total_repeat_length=n)
    )


def evaluate_real_sets(
    key: Array,
    initial: Initial,
    model: Model,
    train: ClassTable,
    test: ClassTable,
    ipc: int,
    protocol: EvaluationProtocol,
    *,
    sets: int = 5,
    num_networks: int = 4,
    networks_per_dispatch: int = 5,
    report: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Trains fresh networks on several sets of real images, and tests them.

    Args:
      key: typed PRNG key, from which each set and each network draw their own.
      initial: how images are chosen (see `real_set`).
      model: the architecture.
      train: the real training set.
      test: the real test set, normalised as ``train`` is.
      ipc: images per class.
      protocol: how networks are trained.
      sets: number of sets.
      num_networks: networks per set.
      networks_per_dispatch: networks trained by one call of the compiled program.
      report: called with (finished networks, sets * num_networks) after each dispatch.

    Returns:
      ``sets * num_networks`` accuracies, set by set.

    Raises:
      ValueError: if sets or num_networks is below 1, or as `real_set`.
    """
    evaluations = []
    for i in range(at_least("sets", sets, 1)):
        draw_key, key_of_set = jax.random.split(jax.random.fold_in(key, i))

        def report_all(n: int, _: int, before: int = i * num_networks) -> None:
            if report is not None:
                report(before + n, sets * num_networks)

        batch = real_set(draw_key, initial, model, train, ipc)
        evaluations.append(
            evaluate(
                key_of_set,
                model,
                batch.images,
                batch.labels,
                test,
                protocol,
                num_networks=num_networks,
                networks_per_dispatch=networks_per_dispatch,
                report=report_all,
            )
        )
    tested = [each.checkpoints for each in evaluations if each.checkpoints is not None]
    return evaluations[0]._replace(
        accuracies=np.concatenate([each.accuracies for each in evaluations]),
        checkpoints=np.concatenate(tested) if tested else None,
    )


def evaluate_whole_set(
    key: Array,
    model: Model,
    train: ClassTable,
    test: ClassTable,
    protocol: EvaluationProtocol = WHOLE_SET,
    *,
    num_networks: int = 1,
    networks_per_dispatch: int = 5,
    report: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Trains fresh networks on all real images, and tests them: an upper bound for a distilled set.

    Args:
      key: typed PRNG key, from which each network draws its own.
      model: the architecture.
      train: the real training set; all of it is normalised to float32 on the device.
      test: the real test set, normalised as ``train`` is.
      protocol: how networks are trained; by default 15 epochs of the papers' SGD without augmentation.
      num_networks: number of networks.
      networks_per_dispatch: networks trained by one call of the compiled program.
      report: called with (finished networks, num_networks) after each dispatch.

    Returns:
      The accuracies.

    Raises:
      ValueError: if num_networks is below 1.
    """
    batch = whole_set(train)
    return evaluate(
        key,
        model,
        batch.images,
        batch.labels,
        test,
        protocol,
        num_networks=num_networks,
        networks_per_dispatch=networks_per_dispatch,
        report=report,
    )
