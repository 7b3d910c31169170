"""From a configuration to what runs: data on the device, networks, method and protocol."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jdd.configuration import Configuration, DataChoice, ExpertsChoice
from jdd.data import Batch, ClassTable, Data, Normalisation, Trajectories, Whitening
from jdd.datasets import Dataset, load_dataset
from jdd.evaluate import EvaluationProtocol
from jdd.methods import Method, TrajectoryRecipe, build
from jdd.nn import Model, Network

# The choices that a message about a misfit names.
_SHOWN = ("objective", "sampler", "motion", "synthetic")


class ChoicesDoNotFit(ValueError):
    """Choices of a recipe that are possible one by one, but not together."""


class Experiment(NamedTuple):
    """Everything that a run needs.

    Attributes:
      configuration: with the fingerprint of the data that was loaded.
      dataset: in host memory.
      train, test: on the device.
      method: the recipe on the network that is matched on.
      eval_model: the network of evaluations.
      protocol: of evaluations, with the plan's number of epochs.
      experts: on the device, up to the last epoch that is read; None for methods that match none.
      whitening: of all images, that of the experts; None where images are normalised per channel.
    """

    configuration: Configuration
    dataset: Dataset
    train: ClassTable
    test: ClassTable
    method: Method
    eval_model: Model
    protocol: EvaluationProtocol
    experts: Trajectories | None = None
    whitening: Whitening | None = None

    @property
    def data(self) -> Data:
        """What a step receives."""
        return Data(self.train, self.experts)


class ExpertStore(Protocol):
    """Stored experts, as `prepare` needs them: a ``jdd.experts.Store``."""

    @property
    def path(self) -> Path: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def normalisation(self) -> Normalisation: ...

    def check(self, data: DataChoice, network: Network, *, epochs: int) -> None: ...

    def trajectories(self, *, epochs: int) -> Trajectories: ...


def prepare(
    configuration: Configuration,
    *,
    data_dir: str | Path | None = None,
    dataset: Dataset | None = None,
    experts: ExpertStore | None = None,
) -> Experiment:
    """Loads the data, builds the networks, and checks that all choices fit together.

    Args:
      configuration: the run.
      data_dir: where the published sets are stored; None for the environment variable JDD_DATA_DIR.
      dataset: the data set, if it is loaded already.
      experts: the store of experts, for methods that match trajectories.

    Returns:
      The experiment. Nothing is compiled and no file is written.

    Raises:
      ValueError: one line, if the data cannot be read, or a choice does not fit the data or the network.
      ChoicesDoNotFit: a ValueError, if a choice does not fit another.
    """
    require_compilation()
    chosen = configuration.data
    dataset = loaded(chosen, data_dir) if dataset is None else dataset
    if dataset.num_classes < 2:
        raise ValueError(f"classes: {dataset.name} needs at least 2 classes, has 1")
    if chosen.fingerprint not in ("", dataset.fingerprint):
        raise ValueError(
            f"data: {dataset.name} has the fingerprint {dataset.fingerprint}, the configuration was made "
            f"with {chosen.fingerprint}: the training images, labels or statistics differ"
        )
    configuration = dataclasses.replace(
        configuration, data=dataclasses.replace(chosen, fingerprint=dataset.fingerprint)
    )
    model = configuration.network.model(dataset.num_classes, dataset.image_shape)
    eval_network = configuration.eval_network
    protocol = configuration.recipe.protocol.for_network(eval_network)
    protocol = protocol.with_epochs(configuration.evaluation.epochs)
    check_augmentation(protocol, dataset)
    try:
        eval_model = eval_network.model(dataset.num_classes, dataset.image_shape)
    except ValueError as error:
        raise ValueError(f"eval_norm: {eval_network.norm} norm on this network: {error}") from error
    method = build(configuration.recipe, model)
    configuration, trajectories, whitening = _with_experts(configuration, experts, dataset)
    train, test = dataset.tables(whitening)
    experiment = Experiment(
        *(configuration, dataset, train, test, method, eval_model, protocol),
        experts=trajectories,
        whitening=whitening,
    )
    _check_choices(experiment)
    return experiment


def _with_experts(
    configuration: Configuration, store: ExpertStore | None, dataset: Dataset
) -> tuple[Configuration, Trajectories | None, Whitening | None]:
    """The configuration with the fingerprint of its experts, what a run reads of them, and their whitening."""
    recipe, chosen = configuration.recipe, configuration.experts
    if not isinstance(recipe, TrajectoryRecipe):
        if store is not None:
            raise ValueError(f"experts: {recipe.name} matches none, got those in {store.path}")
        return configuration, None, None
    if store is None:
        raise ValueError(f"experts: {recipe.name} matches recorded experts, and there are none")
    if chosen is not None and chosen.fingerprint not in ("", store.fingerprint):
        raise ValueError(
            f"experts: those in {store.path} have the fingerprint {store.fingerprint}, the configuration was "
            f"made with {chosen.fingerprint}"
        )
    try:
        store.check(configuration.data, configuration.network, epochs=recipe.last_epoch)
        trajectories = store.trajectories(epochs=recipe.last_epoch)
    except ValueError as error:
        raise ValueError(f"experts: {error}") from error
    fit = store.normalisation.fit
    if fit is not None and recipe.synthetic.space != "normalised":
        raise ValueError(
            f"synthetic: {recipe.synthetic} has pixels in [0, 1], but the experts in {store.path} were trained on "
            f"images whitened by {store.normalisation}"
        )
    whitening = None if fit is None else fit(dataset.train.images)
    chosen = ExpertsChoice(str(store.path), store.fingerprint)
    return dataclasses.replace(configuration, experts=chosen), trajectories, whitening


def loaded(chosen: DataChoice, data_dir: str | Path | None = None) -> Dataset:
    """Reads a data set into host memory.

    Args:
      chosen: which.
      data_dir: where the published sets are stored; None for the environment variable JDD_DATA_DIR.

    Raises:
      ValueError: one line that begins with "data" or "classes", whichever is wrong.
    """
    try:
        dataset = load_dataset(chosen.name, data_dir=data_dir, test_share=chosen.test_share)
    except ValueError as error:
        raise ValueError(f"data: {error}") from error
    try:
        return dataset.restrict(chosen.classes) if chosen.classes else dataset
    except ValueError as error:
        raise ValueError(f"classes: {error}") from error


def require_compilation() -> None:
    """Raises a ``ValueError`` where JAX is configured to compile nothing."""
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        raise ValueError("JAX_DISABLE_JIT is set, but a run is one compiled program: unset it")


def check_augmentation(protocol: EvaluationProtocol, dataset: Dataset) -> None:
    """Raises a ``ValueError`` where a protocol augments by ops that the images are too small or oblong for."""
    height, width, channels = dataset.image_shape
    images = jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
    labels = jax.ShapeDtypeStruct((1,), jnp.int32)

    def augment(images: jax.Array, labels: jax.Array) -> Batch:
        batch = Batch(images, labels)
        return protocol.augment.augmented(jax.random.key(0), batch, dataset.num_classes)

    try:
        jax.eval_shape(augment, images, labels)
    except ValueError as error:
        raise ValueError(
            f"protocol: the augmentation {protocol.augment} of {protocol.name} does not take the "
            f"{height}x{width} images of {dataset.name}: {error}"
        ) from None


def _check_choices(experiment: Experiment) -> None:
    """Traces one step, so that choices that do not fit together are refused before anything runs."""
    method, data = experiment.method, experiment.data
    state = jax.eval_shape(method.init, jax.random.key(0), data)
    jax.eval_shape(method.decode, state)
    try:
        jax.eval_shape(method.step, state, data)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        recipe, line = method.recipe, " ".join(str(error).split())[:300]
        shown = [name for name in _SHOWN if name in recipe.choices]
        choices = ", ".join(f"{name} {getattr(recipe, name)!r}" for name in shown)
        raise ChoicesDoNotFit(
            f"the choices do not fit together ({choices}, {method.model.name}): {line}"
        ) from error
