"""Networks trained on real images: random or chosen subsets of the classes, and the whole set."""

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

# A few passes with the optimiser of the papers: what the architecture reaches, not a record.
WHOLE_SET = EvaluationProtocol("whole set", epochs=14)


def real_set(key: Array, initial: Initial, model: Model, table: ClassTable, ipc: int) -> Batch:
    """Real images of each class as a set to train on.

    Args:
      key: typed PRNG key.
      initial: which images, for example ``synthetic.from_real()`` or ``baselines.from_herding()``.
      model: the network whose features choose, where they do.
      table: the real training set.
      ipc: images per class.

    Returns:
      A batch of ``C * ipc`` images, class-major.

    Raises:
      ValueError: if a class has fewer than ipc images, or the network that chooses diverged.
    """
    images = initial.images(key, table, model, ipc)
    if not bool(jnp.isfinite(images).all()):
        raise ValueError(f"{initial}: the {model.name} that chooses images diverged")
    return flat(Batch(images, class_labels(*images.shape[:2])))


def whole_set(table: ClassTable) -> Batch:
    """Every image of a table, normalised, with its label."""
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
    """Trains fresh networks on sets of real images, each drawn anew, and tests them.

    Args:
      key: typed PRNG key; each set gets its own.
      initial: see `real_set`.
      model: the architecture.
      train: the real training set.
      test: the real test set, normalised as ``train`` is.
      ipc: images per class.
      protocol: how networks are trained.
      sets: how many sets.
      num_networks: networks per set.
      networks_per_dispatch: networks trained by one call of the compiled program.
      report: called with (networks done, sets * num_networks) after each dispatch.

    Returns:
      ``sets * num_networks`` accuracies, set by set.

    Raises:
      ValueError: if sets or num_networks is below 1, or as `real_set`.
    """
    if sets < 1:
        raise ValueError(f"sets must be at least 1, got {sets}")
    evaluations = []
    for i in range(sets):
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
    accuracies = np.concatenate([each.accuracies for each in evaluations])
    return evaluations[0]._replace(accuracies=accuracies)


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
    """Trains fresh networks on all real images and tests them: where a distilled set could lead at best.

    Args:
      key: typed PRNG key; each network gets its own.
      model: the architecture.
      train: the real training set; all of it is normalised to float32 on the device.
      test: the real test set, normalised as ``train`` is.
      protocol: how networks are trained; by default 15 epochs of the papers' SGD without augmentation.
      num_networks: how many networks.
      networks_per_dispatch: networks trained by one call of the compiled program.
      report: called with (networks done, num_networks) after each dispatch.

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
