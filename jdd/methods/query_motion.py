"""CAFE's motion of the network, driven by queries of real images; all on the device."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.augment import Augmentation
from jdd.choice import register
from jdd.data.table import ClassTable, draw_indices
from jdd.evaluate import class_accuracies
from jdd.methods.motion import Motion, Net, Round, check_augment
from jdd.methods.queries import (
    QueryRule,
    Visit,
    VisitRecord,
    Window,
    accumulated_accuracy,
    binomial_noise,
    constant_noise,
    has_changed,
    mean_accuracy,
)
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.training import SGD, TrainingState, train_epochs


@register
def by_queries(
    *,
    outer: float = 0.04,
    inner: float = 0.03,
    window: int = 10,
    query: int | None = None,
    max_epochs: int = 100,
    learning_rate: float = 0.01,
    augment: Augmentation | None = None,
) -> Motion:
    """CAFE's rule, corrected: a query's value is its mean accuracy, thresholds follow its noise.

    After an update of the set, the network is replaced if the accuracies of the last ``window`` queries
    range over less than ``outer``; else it trains on the set, epoch by epoch, until they range over
    more than ``inner``. Both thresholds are multiplied by ``queries.binomial_noise``: unscaled, a
    hundred classes would never train enough. (A query should be a small part of its class: the same
    images drawn again give the same answer.)

    Args:
      outer: lambda 1, for 1280 images and v = 0.18.
      inner: lambda 2, for the same.
      window: queries that are compared.
      query: real images of each class in a query; None for 128, but at most a quarter of a class.
      max_epochs: cap on the epochs between two updates.
      learning_rate: of SGD on the network.
      augment: of each minibatch, parameters per image; None for the recipe's.

    Returns:
      The motion. Queries are never augmented.

    Raises:
      ValueError: if a threshold is not between 0 and 1, a window below 2 or another number below 1; when
        a run is built, if a query has fewer real images per class than there are synthetic ones, more
        than a class has, or too few for the thresholds.

    Reference: CAFE (Wang et al., CVPR 2022), section 3.4, https://arxiv.org/abs/2203.01531. Deviations
    from its code: the accuracy is not carried over from query to query, thresholds scale, there are
    caps, and networks with BatchNorm use their running statistics in queries.

    >>> by_queries(query=32)
    by_queries(query=32)
    """
    rule = QueryRule(outer, inner, mean_accuracy, binomial_noise, window, query, max_epochs)
    return _motion(rule, learning_rate, augment)


@register
def by_original_queries(
    *,
    outer: float = 0.04,
    inner: float = 0.03,
    window: int = 10,
    query: int | None = None,
    max_epochs: int = 100,
    learning_rate: float = 0.01,
    augment: Augmentation | None = None,
) -> Motion:
    """The rule of CAFE's code, whose accuracy is never reset between queries.

    Args:
      outer, inner, window, query, learning_rate, augment: as in `by_queries`; thresholds do not scale.
      max_epochs: cap on the epochs between two updates; the code has none, and with many classes
        never ends.

    Returns:
      The motion.

    Raises:
      ValueError: as `by_queries`.

    Reference: the code of CAFE (Wang et al., CVPR 2022, https://arxiv.org/abs/2203.01531).

    >>> by_original_queries()
    by_original_queries()
    """
    rule = QueryRule(outer, inner, accumulated_accuracy, constant_noise, window, query, max_epochs)
    return _motion(rule, learning_rate, augment)


def _motion(rule: QueryRule, learning_rate: float, augment: Augmentation | None) -> Motion:
    rule.check()
    sgd = SGD(learning_rate)
    sgd.check()
    check_augment(augment)

    def begin(key: Array, model: Model, table: ClassTable) -> tuple[Variables, Any]:
        return model.init(key), Visit.begin(rule, table.num_classes)

    def move(key: Array, net: Net, round: Round) -> Net:
        train_key, query_key = jax.random.split(key)
        table, batch = round.table, round.synthetic()
        size = rule.query_size(table.smallest, batch.images.shape[0] // table.num_classes)
        aug = round.augment if augment is None else augment

        def query(variables: Variables, index: Array | int) -> Array:
            drawn = draw_indices(jax.random.fold_in(query_key, index), table, size)
            return class_accuracies(round.model, variables, table, *drawn)

        def epoch(carry: tuple[Variables, Array, Window]) -> tuple[Variables, Array, Window]:
            variables, done, window = carry
            state, _ = train_epochs(
                jax.random.fold_in(train_key, done),
                round.model,
                TrainingState.begin(variables, sgd),
                batch.images,
                batch.labels,
                sgd,
                epochs=1,
                augment=None if aug.is_none else aug,
            )
            accuracies = query(state.variables, done + 1)
            return state.variables, done + 1, window.push(rule, accuracies)

        def goes_on(carry: tuple[Variables, Array, Window]) -> Array:
            _, done, window = carry
            return (done < rule.max_epochs) & ~has_changed(rule, window, size)

        accuracies = query(net.variables, 0)
        visit = net.rest.after_update(rule, accuracies, size, round.is_last_update)

        def trained() -> tuple[Variables, Visit]:
            window = Window.empty(rule, table.num_classes)
            start = (dict(net.variables), jnp.int32(0), window)
            variables, done, window = lax.while_loop(goes_on, epoch, start)
            return variables, visit.after_training(done, ~has_changed(rule, window, size))

        variables, visit = lax.cond(visit.is_done, lambda: (dict(net.variables), visit), trained)
        return Net(variables, visit, net.record.with_visit(round.network, visit))

    def check(model: Model, table: ClassTable, networks: int, updates: int, images: int) -> None:
        rule.check_run(model.num_classes, table.smallest, networks, updates, images)

    return Motion(
        begin,
        move,
        record=lambda model, networks: VisitRecord.empty(networks),
        is_done=lambda net: net.rest.is_done,
        moves_after_last=True,
        check=check,
        summary=lambda record, networks: record.summary(networks),
    )
