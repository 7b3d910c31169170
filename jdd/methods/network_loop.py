"""From a recipe to pure functions: the loop over networks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.tree_util import Partial

from jdd.data import ClassTable, Data, View
from jdd.data.sampler import check_draw
from jdd.matching import (
    RESERVED_FOLD,
    Context,
    Pair,
    Schedule,
    Task,
    Views,
    bound,
    over_networks,
)
from jdd.matching.base import is_scalar
from jdd.methods.beginning import (
    check_initial,
    checked_table,
    decoded_shape,
    first_params,
    statistics_of,
    unshared,
)
from jdd.methods.descent import descend
from jdd.methods.method import Learned, Method, Metrics, State
from jdd.methods.motion import Net, Round
from jdd.methods.recipe import Recipe
from jdd.nn import Model, stacked
from jdd.synthetic import all_variants, flat, one_variant, seen_variant


def network_method(recipe: Recipe, model: Model) -> Method:
    """A recipe of networks on one architecture, as pure ``init`` and ``step``.

    All randomness is the run's key folded with the step. A network has ``recipe.updates`` steps, each an
    update of the synthetic set followed by the motion of the network (none after the last update,
    unless the motion has one).

    Args:
      recipe: the choices.
      model: the architecture that is matched on.

    Returns:
      The method.

    Raises:
      ValueError: if several networks per update are to be trained, or a schedule of the objective counts other
        networks and updates; from ``init``, if the table has other classes or images than the network, a class
        without images, or the motion cannot serve the run; from ``step``, if the objective does not end in a scalar.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021, https://arxiv.org/abs/2006.05929. Deviation: the original
    visits K + 1 networks and evaluates before the last update; this loop visits K.

    >>> import jdd
    >>> from jdd import nn
    >>> method = network_method(jdd.dm(ipc=2, data="digits"), nn.convnet(10, (8, 8, 1)))
    >>> method.recipe.total_steps
    200
    """
    for part in recipe.objective.parts():
        if isinstance(part, Schedule):
            part.check(recipe.networks, recipe.updates)
    single = model
    if recipe.networks_per_update > 1:
        if recipe.updates > 1:
            raise ValueError(
                "networks_per_update above 1 needs updates of 1: several networks are never trained, "
                f"got {recipe.networks_per_update} and {recipe.updates}"
            )
        if recipe.motion.moves_before_first or recipe.motion.moves_after_last:
            raise ValueError(
                f"networks_per_update above 1 needs a motion that never trains, got {recipe.motion}"
            )
        model = stacked(model, recipe.networks_per_update)
        running = dataclasses.replace(recipe, objective=over_networks(recipe.objective))
    else:
        task = Task(single, repr(recipe.synthetic), recipe.synthetic.variants)
        running = dataclasses.replace(recipe, objective=bound(recipe.objective, task))
    return Method(
        recipe,
        model,
        functools.partial(_init, running, model, single),
        functools.partial(_step, running, model),
        lambda state: all_variants(recipe.synthetic, state.synthetic, state.statistics),
        functools.partial(_summary, recipe),
        lambda state: Learned(state.synthetic),
    )


def _init(recipe: Recipe, model: Model, single: Model, key: Array, data: Data) -> State:
    """The first state; ``single`` is the network of which ``model`` stacks several, or the same."""
    table = checked_table(single, data)
    initial_key, network_key, objective_key, run_key = jax.random.split(key, 4)
    synthetic = recipe.synthetic
    statistics, n = statistics_of(table), recipe.ipc * synthetic.tiles
    images = recipe.initial.images(initial_key, table, single, n)
    check_initial(recipe.initial, images, table, n)
    params = first_params(initial_key, synthetic, images, table, statistics)
    shape = decoded_shape(synthetic, params)
    recipe.motion.check(model, table, recipe.networks, recipe.updates, shape[1])
    state = State(
        synthetic=params,
        optimizer=recipe.optimizer.transform.init(params),
        objective=recipe.objective.init(objective_key),
        sampler=recipe.sampler.init(jax.random.fold_in(run_key, RESERVED_FOLD), table),
        network=Net(
            *recipe.motion.begin(network_key, model, table),
            recipe.motion.record(model, recipe.networks),
        ),
        statistics=statistics,
        loss=jnp.float32(0),
        key=run_key,
        step=jnp.int32(0),
        updates=jnp.int32(0),
    )
    return unshared(state)


def _step(recipe: Recipe, model: Model, state: State, data: Data) -> tuple[State, Metrics]:
    table, motion = data.table, recipe.motion
    network, update = jnp.divmod(state.step, recipe.updates)
    step_key = jax.random.fold_in(state.key, state.step)
    network_key, *update_keys, move_key = jax.random.split(step_key, 6)

    def fresh() -> Net:
        return Net(*motion.begin(network_key, model, table), state.network.record)

    is_first = update == 0
    net = fresh() if recipe.updates == 1 else lax.cond(is_first, fresh, lambda: state.network)
    state = dataclasses.replace(state, network=net)

    def updated() -> State:
        after = _updated(recipe, model, update_keys, state, table, network, update)
        round = Round(
            model,
            table,
            lambda: flat(all_variants(recipe.synthetic, after.synthetic, after.statistics)),
            recipe.augment,
            recipe.networks,
            recipe.updates,
            network,
            update,
        )
        moved = _moved(recipe, move_key, after.network, round)
        return dataclasses.replace(after, network=moved, updates=after.updates + 1)

    if motion.is_done is None:
        state = updated()
    else:
        state = lax.cond(motion.is_done(net), lambda: state, updated)
    return dataclasses.replace(state, step=state.step + 1), Metrics(state.loss)


def _updated(
    recipe: Recipe,
    model: Model,
    keys: Sequence[Array],
    state: State,
    table: ClassTable,
    network: Array,
    update: Array,
) -> State:
    """The state after one update of the synthetic set on the current network; counts no step."""
    statistics_key, draw_key, match_key, decode_key = keys
    policy, synthetic, net = recipe.norm_policy, recipe.synthetic, state.network
    coupled = model.has_batch_stats and policy.coupled
    if model.has_batch_stats:
        net = net._replace(variables=policy.prepare(statistics_key, model, net.variables, table))
    function, params = policy.bind(model, net.variables)
    context = Context(
        function,
        params,
        match_key,
        state.step,
        coupled=coupled,
        augment=recipe.augment,
        over_classes=recipe.over_classes,
    )
    of_view = (function, params)
    if recipe.networks_per_update > 1:
        of_view = jax.tree.map(lambda leaf: leaf[0], of_view)
    view = View(of_view[0], of_view[1], state.updates, update, coupled)
    real, sampler_state = recipe.sampler.draw(draw_key, state.sampler, table, view)
    check_draw(real, table)

    def loss(synthetic_params: Any) -> tuple[Array, Any]:
        batch = one_variant(synthetic, synthetic_params, decode_key, state.statistics)
        seen = context
        if synthetic.variants > 1:
            decode = functools.partial(seen_variant, synthetic)
            views = Views(Partial(decode, synthetic_params, state.statistics), synthetic.variants)
            seen = dataclasses.replace(context, views=views)
        value, after = recipe.objective.apply(Pair(batch, real), state.objective, seen)
        if not is_scalar(value):
            raise ValueError(f"the objective of {recipe.name} must end in a scalar, and does not")
        return value, after

    start, project = state.synthetic, synthetic.project
    if project is not None and synthetic.projected == "network":
        start = jax.tree.map(lambda p, x: jnp.where(update == 0, p, x), project(start), start)
    moved, optimizer_state, value, objective_state = descend(
        recipe.optimizer.transform,
        loss,
        start,
        state.optimizer,
        decay=None if recipe.decay is None else recipe.decay.factor(network, recipe.networks),
        project=project if synthetic.projected == "update" else None,
    )
    return dataclasses.replace(
        state,
        synthetic=moved,
        optimizer=optimizer_state,
        objective=objective_state,
        sampler=sampler_state,
        network=net,
        loss=value.astype(state.loss.dtype),
    )


def _moved(recipe: Recipe, key: Array, net: Net, round: Round) -> Net:
    """The network after its motion; as it is after its last update."""
    motion = recipe.motion
    if motion.moves_after_last:
        return motion.move(key, net, round)
    if recipe.updates == 1:
        return net
    return lax.cond(round.is_last_update, lambda: net, lambda: motion.move(key, net, round))


def _summary(recipe: Recipe, state: State) -> dict[str, float]:
    if recipe.motion.summary is None:
        return {}
    return recipe.motion.summary(state.network.record, int(state.step) // recipe.updates)
