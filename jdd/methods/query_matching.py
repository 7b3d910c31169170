"""The network-matching loop whose schedule is driven by queries (CAFE), as pure init and step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from jdd.data.table import ClassTable, draw_indices
from jdd.evaluate import class_accuracies
from jdd.matching import Stage
from jdd.methods.image_update import ImageUpdate
from jdd.methods.method import MatchingState, Method, Metrics
from jdd.methods.norm_policy import NormPolicy
from jdd.methods.query_rule import QueryRule, Visit, turn
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.synthetic import Parametrisation
from jdd.training import Augment, SGDRecipe, train_epochs


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        *(field.name for field in dataclasses.fields(MatchingState)),
        *("loss", "visit", "updates", "epochs", "capped_trainings", "is_capped"),
    ],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class QueryState(MatchingState):
    """A `MatchingState` that remembers how long its networks lasted.

    Attributes:
      loss: of the last image update, per class.
      visit: how far the current network is.
      updates: int32 ``[K]``, image updates of each network.
      epochs: int32 ``[K]``, epochs that each network trained.
      capped_trainings: int32 ``[K]``, its trainings between two updates that were ended by the cap.
      is_capped: bool ``[K]``, whether it was left because of the cap.
    """

    loss: Array
    visit: Visit
    updates: Array
    epochs: Array
    capped_trainings: Array
    is_capped: Array


# What is noted of each network, in the state and in its `Visit`.
_EACH = ("updates", "epochs", "capped_trainings", "is_capped")


def query_matching(
    name: str,
    *,
    model: Model,
    objective: Stage,
    synthetic: Parametrisation,
    start: Callable[[Array, ClassTable], Array],
    optimizer: optax.GradientTransformation,
    rule: QueryRule,
    real_batch: int = 256,
    net_recipe: SGDRecipe | None = None,
    net_augment: Augment | None = None,
    norm_policy: NormPolicy | None = None,
    rate: Callable[[Array], Any] | None = None,
) -> Method:
    """Matches synthetic and real batches on fresh networks, each for as long as it has something to say.

    One ``step`` is one image update and the training on the synthetic set that follows, ended by
    queries of fresh real training images (``QueryRule``), all on the device. A network has
    ``rule.max_updates`` steps; those after it was left do nothing but pass the state on (``step`` counts
    them too, and so does a stage that goes by the step). Queries are never augmented.

    Args:
      name: of the method.
      model: the architecture.
      objective: ends in a scalar; sees a class-stacked synthetic ``Batch`` and a ``Draw``.
      synthetic: the parametrisation.
      start: ``start(key, table) -> images [C, n, H, W, ch]``.
      optimizer: moves the synthetic parameters.
      rule: when a network has trained enough, and when it is left.
      real_batch: real images per class and update, fewer where a class has fewer.
      net_recipe: SGD of the network; None for rate 0.01, no momentum, batch 256.
      net_augment: augmentation while the network trains.
      norm_policy: for networks with BatchNorm; None for ``frozen_statistics(16)``.
      rate: ``rate(network)``, a factor on the optimiser's steps; None for 1.

    Returns:
      The method; its reported loss is per class, of the last image update where a step does nothing.
      Its summary says how many updates and epochs networks had, and how often a cap ended them.

    Raises:
      ValueError: if real_batch is below 1 or the rule is none; from ``init``, if the table has other classes or images
        than the network, a class fewer images than a query, a query fewer than there are synthetic
        ones, or too few for the thresholds.

    Reference: CAFE (Wang et al., CVPR 2022), section 3.4. Deviation: its code queries networks with
    BatchNorm in training mode; here they use their running statistics.

    >>> import functools
    >>> from jdd import methods, nn, synthetic
    >>> method = query_matching(
    ...     "own",
    ...     model=nn.convnet(10, (8, 8, 1)),
    ...     objective=methods.dsa_objective("crop"),
    ...     synthetic=synthetic.pixels,
    ...     start=functools.partial(synthetic.real, ipc=2),
    ...     optimizer=optax.adam(1e-2),
    ...     rule=methods.query_rule(networks=5),
    ... )
    >>> method.loops.total_steps  # 5 networks of at most 50 updates
    250
    """
    if not isinstance(rule, QueryRule):
        raise ValueError(f"rule must be a QueryRule, got {rule!r}")
    rate_at = None if rate is None else lambda step: rate(step // rule.max_updates)
    change = ImageUpdate(
        name, model, objective, synthetic, start, optimizer, real_batch, norm_policy, rate_at
    )
    train = functools.partial(_epoch, change, net_recipe or SGDRecipe(), net_augment)

    def init(key: Array, table: ClassTable) -> QueryState:
        state = change.init(key, table)
        rule.check(model.num_classes)
        images = jax.eval_shape(change.decode, state)[0].shape[1]
        if images > rule.query:
            raise ValueError(
                f"a query has {rule.query} real images per class, fewer than the {images} synthetic ones"
            )
        if rule.query > table.smallest:
            raise ValueError(
                f"a query asks for {rule.query} real images per class, and a class has {table.smallest}"
            )
        fields = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
        # Each in a buffer of its own: a run donates its state.
        return QueryState(
            **fields,
            loss=jnp.float32(0),
            visit=Visit.begin(rule, model.num_classes),
            updates=jnp.zeros(rule.networks, jnp.int32),
            epochs=jnp.zeros(rule.networks, jnp.int32),
            capped_trainings=jnp.zeros(rule.networks, jnp.int32),
            is_capped=jnp.zeros(rule.networks, bool),
        )

    def step(state: QueryState, table: ClassTable) -> tuple[QueryState, Metrics]:
        network, of_network = jnp.divmod(state.step, rule.max_updates)
        keys = jax.random.split(jax.random.fold_in(state.key, network), 4)

        def begun() -> QueryState:
            visit = Visit.begin(rule, model.num_classes)
            return dataclasses.replace(state, network=model.init(keys[0]), visit=visit)

        state = lax.cond(of_network == 0, begun, lambda: state)
        state = lax.cond(state.visit.is_left, lambda: state, lambda: turned(keys, state, table))
        return dataclasses.replace(state, step=state.step + 1), Metrics(state.loss)

    def turned(keys: Array, state: QueryState, table: ClassTable) -> QueryState:
        """After one more update of the current network."""

        def update(state: QueryState, i: Array) -> QueryState:
            each = jax.random.split(jax.random.fold_in(keys[1], i), 4)
            state, value = change.apply(each, state, table)
            return dataclasses.replace(state, loss=value / table.num_classes)

        def trained(state: QueryState, j: Array) -> QueryState:
            network = train(jax.random.fold_in(keys[2], j), state)
            return dataclasses.replace(state, network=network)

        def query(state: QueryState, q: Array) -> Array:
            drawn = draw_indices(jax.random.fold_in(keys[3], q), table, rule.query)
            return class_accuracies(model, state.network, table, *drawn)

        state, seen = turn(rule, state, state.visit, update=update, train=trained, query=query)
        at = state.step // rule.max_updates
        noted = {name: getattr(state, name).at[at].set(getattr(seen, name)) for name in _EACH}
        return dataclasses.replace(state, visit=seen, **noted)

    summary = functools.partial(_summary, rule)
    return Method(name, init, step, change.decode, rule, _updates, summary)


def _epoch(
    change: ImageUpdate,
    recipe: SGDRecipe,
    augment: Augment | None,
    key: Array,
    state: QueryState,
) -> Variables:
    """The network after one epoch on the synthetic set."""
    decode_key, train_key = jax.random.split(key)
    flat = change.flat_set(decode_key, state)
    return train_epochs(
        train_key, change.model, state.network, *flat, recipe, epochs=1, augment=augment
    )[0]


def _updates(state: QueryState) -> int:
    return int(state.updates.sum())


def _summary(rule: QueryRule, state: QueryState) -> dict[str, float]:
    """How long the networks so far lasted."""
    networks = int(state.step) // rule.max_updates
    if not networks:
        return {}
    each = {name: np.asarray(getattr(state, name))[:networks] for name in _EACH}
    # Every update of a network is followed by training, but the last.
    trainings = int((each["updates"] - 1).sum())
    found: dict[str, float] = {"networks": networks}
    for name in ("updates", "epochs"):
        low, middle, high = (float(np.quantile(each[name], q)) for q in (0.25, 0.5, 0.75))
        found |= {
            f"{name}_mean": float(each[name].mean()),
            f"{name}_quartile_1": low,
            f"{name}_median": middle,
            f"{name}_quartile_3": high,
        }
    found["share_of_networks_capped"] = float(each["is_capped"].mean())
    found["share_of_trainings_capped"] = int(each["capped_trainings"].sum()) / max(1, trainings)
    return found
