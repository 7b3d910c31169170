"""From a trajectory recipe to pure functions: the loop over segments of experts."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jdd.data import Data
from jdd.matching import Context, Pair, Segment, SyntheticSet
from jdd.matching.base import is_scalar
from jdd.methods.beginning import checked_table, first_params, statistics_of
from jdd.methods.descent import descend
from jdd.methods.experts import Experts, check_network
from jdd.methods.method import Learned, Method, Metrics, TrajectoryState
from jdd.methods.trajectory_recipe import TrajectoryRecipe
from jdd.nn import Model
from jdd.synthetic import all_variants, one_variant

STEP_SIZE, LABELS = "step_size", "labels"
"""The groups of parameters beside those of the parametrisation."""


def trajectory_method(recipe: TrajectoryRecipe, model: Model) -> Method:
    """A trajectory recipe on the network of its experts, as pure ``init`` and ``step``.

    All randomness is the run's key folded with the iteration.

    Args:
      recipe: the choices.
      model: the architecture of experts and students; without BatchNorm.

    Returns:
      The method.

    Raises:
      ValueError: if the network has BatchNorm; from ``init``, if the data has no experts, those of another
        network, or fewer epochs than the recipe reads, or the table has other classes or images than the
        network; from ``step``, if the objective does not end in a scalar.

    Reference: Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022,
    https://arxiv.org/abs/2203.11932. Deviations: the expert is drawn in every iteration, where the original
    goes through files of ten in random order; there are as many iterations as stated, where it makes one more.

    >>> import jdd
    >>> from jdd import nn
    >>> trajectory_method(jdd.mtt(ipc=1, data="digits"), nn.convnet(10, (8, 8, 1))).model.name
    'ConvNet-3'
    """
    check_network(model)
    return Method(
        recipe,
        model,
        functools.partial(_init, recipe, model),
        functools.partial(_step, recipe, model),
        functools.partial(_decoded, recipe),
        functools.partial(_summary, recipe),
        functools.partial(_learned, recipe),
    )


def _init(recipe: TrajectoryRecipe, model: Model, key: Array, data: Data) -> TrajectoryState:
    table, experts = checked_table(model, data), _checked_experts(recipe, model, data)
    initial_key, objective_key, run_key = jax.random.split(key, 3)
    statistics = statistics_of(table)
    initial, n = recipe.initial, recipe.ipc * recipe.synthetic.tiles
    if initial.of_experts is None:
        images = initial.images(initial_key, table, model, n)
    else:
        images = initial.of_experts(initial_key, table, experts, n)
    params = first_params(initial_key, recipe.synthetic, images, table, statistics)
    _check_groups(recipe, params)
    learned = {**params, STEP_SIZE: recipe.step_size.init(images.dtype)}
    labels: Any = ()
    if recipe.labels.init is not None:
        batch = one_variant(recipe.synthetic, params, initial_key, statistics)
        labels = recipe.labels.init(experts, batch)
        if recipe.labels.is_learned:
            learned, labels = {**learned, LABELS: labels}, ()
    return TrajectoryState(
        synthetic=learned,
        optimizer=recipe.optimizer.transform.init(learned),
        objective=recipe.objective.init(objective_key),
        labels=labels,
        # A copy: each leaf of the state is donated once.
        average=jax.tree.map(jnp.copy, params) if recipe.average is not None else (),
        statistics=statistics,
        loss=jnp.float32(0),
        key=run_key,
        step=jnp.int32(0),
        updates=jnp.int32(0),
    )


def _step(
    recipe: TrajectoryRecipe, model: Model, state: TrajectoryState, data: Data
) -> tuple[TrajectoryState, Metrics]:
    experts = _checked_experts(recipe, model, data)
    key = jax.random.fold_in(state.key, state.step)
    expert_key, epoch_key, variant_key, objective_key = jax.random.split(key, 4)
    expert = jax.random.randint(expert_key, (), 0, experts.trajectories.num_experts, jnp.int32)
    epoch = recipe.start_epochs.draw(epoch_key, state.step)
    segment = experts.segment(expert, epoch, recipe.expert_epochs)
    labels = state.labels
    if recipe.labels.renewed is not None:
        params = _of_set(state.synthetic)
        batch = one_variant(recipe.synthetic, params, variant_key, state.statistics)
        labels = recipe.labels.renewed(experts.network, segment.target, batch)
    value, moved = _updated(recipe, model, objective_key, state, segment, labels)
    is_kept = jnp.array(True)
    if recipe.skip_above is not None:
        # A loss that is not finite is no reason to skip: the run ends with it.
        is_kept = ~(jnp.isfinite(value) & (value > recipe.skip_above))
        moved = _kept_if(is_kept, moved, state)
    if recipe.average is not None:
        moved = dataclasses.replace(moved, average=_averaged(recipe.average, moved))
    loss = value
    if recipe.stop_above is not None:
        loss = jnp.where(is_kept & (value > recipe.stop_above), jnp.inf, value)
    after = dataclasses.replace(
        moved,
        labels=labels,
        loss=loss.astype(state.loss.dtype),
        step=state.step + 1,
        updates=state.updates + is_kept,
    )
    return after, Metrics(after.loss)


def _updated(
    recipe: TrajectoryRecipe,
    model: Model,
    key: Array,
    state: TrajectoryState,
    segment: Segment,
    labels: Any,
) -> tuple[Array, TrajectoryState]:
    """The loss, and the state with everything moved that the optimiser moves; counts no iteration."""
    synthetic = recipe.synthetic
    function, params = model.network({"params": segment.start})
    context = Context(function, params, key, state.step, augment=recipe.augment)

    def loss(learned: dict[str, Any]) -> tuple[Array, Any]:
        batch = all_variants(synthetic, _of_set(learned), state.statistics)
        logits = learned.get(LABELS, labels)
        soft = jax.nn.softmax(logits) if recipe.labels.is_soft else batch.labels
        step_size = recipe.step_size.value(learned[STEP_SIZE])
        pair = Pair(SyntheticSet(batch.images, soft, step_size), segment)
        value, after = recipe.objective.apply(pair, state.objective, context)
        if not is_scalar(value):
            raise ValueError(f"the objective of {recipe.name} must end in a scalar, and does not")
        return value, after

    start = state.synthetic
    if synthetic.project is not None and synthetic.projected == "network":
        # Every iteration has a network of its own.
        start = {**start, **synthetic.project(_of_set(start))}
    moved, optimizer, value, objective = descend(
        recipe.optimizer.transform,
        loss,
        start,
        state.optimizer,
        project=functools.partial(_projected, recipe),
    )
    return value, dataclasses.replace(
        state, synthetic=moved, optimizer=optimizer, objective=objective
    )


def _kept_if(is_kept: Array, moved: TrajectoryState, before: TrajectoryState) -> TrajectoryState:
    """The state after an update, or before it."""
    names = ("synthetic", "optimizer", "objective")
    pairs = ({name: getattr(state, name) for name in names} for state in (moved, before))
    kept = jax.tree.map(lambda new, old: jnp.where(is_kept, new, old), *pairs)
    return dataclasses.replace(moved, **kept)


def _projected(recipe: TrajectoryRecipe, learned: dict[str, Any]) -> dict[str, Any]:
    synthetic, step_size = recipe.synthetic, recipe.step_size
    if synthetic.project is not None and synthetic.projected == "update":
        learned = {**learned, **synthetic.project(_of_set(learned))}
    if step_size.project is not None:
        learned = {**learned, STEP_SIZE: step_size.project(learned[STEP_SIZE])}
    return learned


def _averaged(decay: float, state: TrajectoryState) -> Any:
    """The moving average after an iteration (FTD): every iteration counts, skipped ones too."""
    return jax.tree.map(
        lambda average, x: decay * average + (1 - decay) * x,
        state.average,
        _of_set(state.synthetic),
    )


def _of_set(learned: dict[str, Any]) -> dict[str, Any]:
    """The parameters of the parametrisation."""
    return {name: value for name, value in learned.items() if name not in (STEP_SIZE, LABELS)}


def _learned(recipe: TrajectoryRecipe, state: TrajectoryState) -> Learned:
    params = _of_set(state.synthetic) if recipe.average is None else state.average
    logits = state.synthetic.get(LABELS, state.labels)
    rate = recipe.step_size.value(state.synthetic[STEP_SIZE])
    return Learned(
        params,
        jax.nn.softmax(logits) if recipe.labels.is_soft else None,
        jnp.where(rate > 0, rate, jnp.nan),
    )


def _decoded(recipe: TrajectoryRecipe, state: TrajectoryState) -> Any:
    learned = _learned(recipe, state)
    batch = all_variants(recipe.synthetic, learned.params, state.statistics)
    return batch if learned.labels is None else batch._replace(labels=learned.labels)


def _summary(recipe: TrajectoryRecipe, state: TrajectoryState) -> dict[str, float]:
    summary = {"step_size": float(recipe.step_size.value(state.synthetic[STEP_SIZE]))}
    if recipe.skip_above is not None:
        summary["skipped"] = int(state.step) - int(state.updates)
    return summary


def _checked_experts(recipe: TrajectoryRecipe, model: Model, data: Data) -> Experts:
    """The experts, which must have the epochs that the recipe reads."""
    experts = Experts.of(model, data)
    stored = experts.trajectories.num_epochs
    if recipe.last_epoch > stored:
        raise ValueError(
            f"experts: students that start at {recipe.start_epochs!r} and match {recipe.expert_epochs} epochs "
            f"read epoch {recipe.last_epoch} of an expert, but {stored} are stored: record more "
            f"(`jdd experts ... --epochs {recipe.last_epoch}`), or choose earlier start epochs"
        )
    return experts


def _check_groups(recipe: TrajectoryRecipe, params: Any) -> None:
    """Refuses parameters that have no place beside the step size and the labels."""
    names = set(params) if isinstance(params, dict) else None
    if names is None or names & {STEP_SIZE, LABELS}:
        raise ValueError(
            f"{recipe.synthetic} must have a dictionary of parameters without {STEP_SIZE} and {LABELS}, which "
            f"matching trajectories adds, got {sorted(names) if names else type(params).__name__}"
        )
