"""What a distilled set is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd import synthetic
from jdd.data.table import ClassTable, take
from jdd.evaluate.protocol import Evaluation, EvaluationProtocol, evaluate
from jdd.nn import Model

# A few passes with the optimiser of the papers: where the road leads, not a record.
WHOLE_SET = EvaluationProtocol("whole set", epochs=14)


def random_real(key: Array, table: ClassTable, ipc: int) -> tuple[Array, Array]:
    """Random real images of each class: the baseline that every distilled set must beat.

    Args:
      key: typed PRNG key.
      table: the real training set.
      ipc: images per class.

    Returns:
      ``(images [C * ipc, H, W, ch], labels [C * ipc])``, class-major.

    Raises:
      ValueError: if a class has fewer than ipc images.
    """
    return flat_set(synthetic.real(key, table, ipc))


def flat_set(images: Array) -> tuple[Array, Array]:
    """Class-stacked images ``[C, n, H, W, ch]`` as ``(images [C * n, H, W, ch], labels [C * n])``."""
    labels = jnp.repeat(jnp.arange(images.shape[0], dtype=jnp.int32), images.shape[1])
    return images.reshape(-1, *images.shape[2:]), labels


def all_images(table: ClassTable) -> tuple[Array, Array]:
    """Every image of a table, normalised, with its label: ``(images [N, H, W, ch], labels [N])``."""
    n = table.images.shape[0]
    classes = jnp.arange(table.num_classes, dtype=jnp.int32)
    return take(table, jnp.arange(n)), jnp.repeat(classes, table.count, total_repeat_length=n)


def real_sets(
    key: Array,
    model: Model,
    draw: Callable[[Array], tuple[Array, Array]],
    test: ClassTable,
    protocol: EvaluationProtocol,
    *,
    sets: int = 5,
    num_networks: int = 4,
    networks_per_dispatch: int = 5,
    report: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Fresh networks on sets of real images, each drawn anew.

    Args:
      key: typed PRNG key; each set gets its own.
      model: the architecture.
      draw: ``draw(key) -> (images [N, H, W, ch], labels [N])``.
      test: the real test set, normalised as the images are.
      protocol: the recipe.
      sets: how many sets.
      num_networks: networks per set.
      networks_per_dispatch: networks trained by one call of the compiled program.
      report: called with (networks done, sets * num_networks) after each dispatch.

    Returns:
      ``sets * num_networks`` accuracies, set by set.

    Raises:
      ValueError: if sets or num_networks is below 1, or draw refuses.
    """
    if sets < 1:
        raise ValueError(f"sets must be at least 1, got {sets}")
    found = []
    for i in range(sets):
        draw_key, key_of_set = jax.random.split(jax.random.fold_in(key, i))

        def done(n: int, _: int, before: int = i * num_networks) -> None:
            if report is not None:
                report(before + n, sets * num_networks)

        found.append(
            evaluate(
                key_of_set,
                model,
                *draw(draw_key),
                test,
                protocol,
                num_networks=num_networks,
                networks_per_dispatch=networks_per_dispatch,
                report=done,
            )
        )
    return found[0]._replace(accuracies=np.concatenate([one.accuracies for one in found]))


def random_real_sets(
    key: Array,
    model: Model,
    train: ClassTable,
    test: ClassTable,
    ipc: int,
    protocol: EvaluationProtocol,
    **options: Any,
) -> Evaluation:
    """Fresh networks on fresh random subsets of the real images.

    Args:
      key: typed PRNG key; each set gets its own.
      model: the architecture.
      train: the real training set.
      test: the real test set, normalised as ``train`` is.
      ipc: images per class.
      protocol: the recipe.
      **options: those of ``real_sets``.

    Returns:
      ``sets * num_networks`` accuracies, subset by subset.

    Raises:
      ValueError: if sets or num_networks is below 1, or a class has fewer than ipc images.
    """

    def draw(key: Array) -> tuple[Array, Array]:
        return random_real(key, train, ipc)

    return real_sets(key, model, draw, test, protocol, **options)


def whole_set(
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
    """Fresh networks on all real images: where a distilled set could lead at best.

    Args:
      key: typed PRNG key; each network gets its own.
      model: the architecture.
      train: the real training set; all of it is normalised to float32 on the device.
      test: the real test set, normalised as ``train`` is.
      protocol: the recipe; by default 15 epochs of the papers' SGD without augmentation.
      num_networks: how many networks.
      networks_per_dispatch: networks trained by one call of the compiled program.
      report: called with (networks done, num_networks) after each dispatch.

    Returns:
      The accuracies.

    Raises:
      ValueError: if num_networks is below 1.
    """
    return evaluate(
        key,
        model,
        *all_images(train),
        test,
        protocol,
        num_networks=num_networks,
        networks_per_dispatch=networks_per_dispatch,
        report=report,
    )
