"""Evaluation: train fresh networks on a small set, test them on the real one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd.data.table import ClassTable
from jdd.evaluate.accuracy import accuracy_under
from jdd.evaluate.protocol import EvaluationProtocol
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.streaming import Over, check_over, mapped
from jdd.training import TrainingState, train_epochs
from jdd.validation import at_least, positive


class Evaluation(NamedTuple):
    """Accuracies of independently trained networks.

    Attributes:
      accuracies: ``[num_networks]``, fractions, of the last epoch.
      protocol: the protocol that produced them, with the learning rate that was used.
      model: the name of the network.
      checkpoints: ``[num_networks, checkpoints]``, fractions, at evenly spaced epochs up to the last;
        None where only the last epoch was tested.
    """

    accuracies: np.ndarray
    protocol: EvaluationProtocol
    model: str
    checkpoints: np.ndarray | None = None

    @property
    def mean(self) -> float:
        """The mean accuracy, a fraction."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """The population standard deviation (ddof 0), as the papers print it."""
        return float(self.accuracies.std())

    @property
    def best(self) -> np.ndarray | None:
        """``[num_networks]``: the best checkpoint of each network, which is selected on test data.

        Papers that report it overstate what a set is worth: `accuracies` selects nothing.
        """
        return None if self.checkpoints is None else self.checkpoints.max(1)

    def __str__(self) -> str:
        text = f"{100 * self.mean:.2f} +- {100 * self.std:.2f} % ({len(self.accuracies)} networks)"
        if self.checkpoints is None or self.best is None:
            return text
        return (
            f"{text}; best of {self.checkpoints.shape[1]} epochs, selected on test data: "
            f"{100 * self.best.mean():.2f} +- {100 * self.best.std():.2f} %"
        )


def evaluate(
    key: Array,
    model: Model,
    images: Array,
    labels: Array,
    test: ClassTable,
    protocol: EvaluationProtocol,
    *,
    num_networks: int = 20,
    learning_rate: float | Array | None = None,
    networks_per_dispatch: int = 5,
    over_seeds: Over = None,
    checkpoints: int | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Trains fresh random networks on a small set and tests each on the whole test set.

    Args:
      key: typed PRNG key; each network gets its own.
      model: the architecture.
      images: ``[N, H, W, ch]``, normalised with the test table's statistics; or ``[N, V, H, W, ch]``
        with V variants of each image, of which every image of a minibatch draws one.
      labels: integers ``[N]`` or probabilities ``[N, K]``.
      test: the real test set.
      protocol: for example ``PROTOCOLS["dsa"]``.
      num_networks: how many networks; the papers use 20 for each of 5 sets.
      learning_rate: in place of the protocol's, for sets that were learned with one; another value
        compiles nothing.
      networks_per_dispatch: networks trained by one call of the compiled program.
      over_seeds: "map", "vmap", or an int for that many networks at a time; None for "map"
        (``jdd.streaming``).
      checkpoints: how many times each network is tested, at evenly spaced epochs up to the last; None for
        the protocol's number. With several `Evaluation.checkpoints` holds all accuracies.
      report: called with (networks done, num_networks) after each dispatch.

    Returns:
      The accuracies, with what is needed to report them.

    Raises:
      ValueError: if num_networks is below 1, checkpoints is not from 1 to the number of epochs, images,
        labels and test set do not fit the network, a label is none of its classes, or a value is not
        finite.

    Reference: the evaluation of DC (https://arxiv.org/abs/2006.05929) and DSA
    (https://arxiv.org/abs/2102.08259).
    """
    at_least("num_networks", num_networks, 1)
    at_least("networks_per_dispatch", networks_per_dispatch, 1)
    if checkpoints is None:
        checkpoints = min(protocol.checkpoints, protocol.trained_epochs)
    elif at_least("checkpoints", checkpoints, 1) > protocol.trained_epochs:
        raise ValueError(
            f"checkpoints must be at most the {protocol.trained_epochs} epochs, got {checkpoints}"
        )
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    _check_set(model, images, labels)
    _check_test(model, test)
    check_over("over_seeds", over_seeds)
    rate = protocol.learning_rate if learning_rate is None else learning_rate
    if not isinstance(rate, jax.Array):
        positive("learning_rate", rate)
    group = min(networks_per_dispatch, num_networks)
    # A name or a rate is no part of the program.
    compiled_for = dataclasses.replace(protocol, name="", learning_rate=1.0, checkpoints=1)
    program = _program(model, compiled_for, over_seeds, checkpoints)
    accuracies: list[np.ndarray] = []
    for first in range(0, num_networks, group):
        # The last group may reach beyond num_networks: one program, one compilation.
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(first, first + group))
        accuracies += list(
            np.asarray(program(keys, images, labels, test, jnp.asarray(rate, images.dtype)))
        )
        if report is not None:
            report(min(len(accuracies), num_networks), num_networks)
    tested = np.asarray(accuracies[:num_networks], np.float64)
    if learning_rate is not None:
        protocol = dataclasses.replace(protocol, learning_rate=float(rate))
    if checkpoints == 1:
        return Evaluation(tested, protocol, model.name)
    return Evaluation(tested[:, -1], protocol, model.name, tested)


def _check_set(model: Model, images: Array, labels: Array) -> None:
    if images.ndim not in (4, 5) or images.shape[-3:] != model.image_shape or not images.size:
        shape = ", ".join(map(str, model.image_shape))
        raise ValueError(
            f"{model.name} takes images [N, {shape}] or [N, variants, {shape}], "
            f"got shape {images.shape}"
        )
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be normalised floats, got {images.dtype}")
    n, classes = len(images), model.num_classes
    soft = labels.shape == (n, classes)
    if not soft and (labels.shape != (n,) or not jnp.issubdtype(labels.dtype, jnp.integer)):
        raise ValueError(
            f"labels must be integers [{n}] or probabilities [{n}, {classes}], "
            f"got {labels.dtype} {labels.shape}"
        )
    if not soft and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, allowed are 0 to {classes - 1}"
        )
    for what, values in (("images", images), ("labels", labels)):
        if bad := int(jnp.sum(~jnp.isfinite(values))):
            raise ValueError(f"{what} hold {bad} values that are not finite")


def _check_test(model: Model, test: ClassTable) -> None:
    shape = test.images.shape[1:]
    if (test.num_classes, shape) != (model.num_classes, model.image_shape):
        raise ValueError(
            f"{model.name} is for {model.num_classes} classes of images {model.image_shape}, "
            f"the test set has {test.num_classes} classes of images {shape}"
        )


@functools.lru_cache(maxsize=8)
def _program(
    model: Model, protocol: EvaluationProtocol, over_seeds: Over, checkpoints: int
) -> Callable[..., Array]:
    """The compiled training and testing of several networks."""
    epochs = protocol.trained_epochs
    tested_after = [i * epochs // checkpoints for i in range(1, checkpoints + 1)]

    @jax.jit
    def run(
        keys: Array, images: Array, labels: Array, test: ClassTable, learning_rate: Array
    ) -> Array:
        sgd = protocol.sgd._replace(learning_rate=learning_rate)

        def test_now(variables: Variables, loss: Array | None = None) -> Array:
            del loss
            return accuracy_under(protocol.augment, model, variables, test)

        def one(key: Array) -> Array:
            start, training = jax.random.split(key)
            state, tested = train_epochs(
                training,
                model,
                TrainingState.begin(model.init(start), sgd),
                images,
                labels,
                sgd,
                epochs=epochs,
                augment=None if protocol.augment.is_none else protocol.augment,
                # One test at the end is no part of the loop over epochs.
                record=None if checkpoints == 1 else test_now,
                record_after=tested_after,
            )
            return test_now(state.variables) if checkpoints == 1 else tested

        return mapped(one, keys, over_seeds)

    return run
