"""CAFE's dynamic bi-level schedule: networks are left, and trained on, by how they answer queries."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jdd.validation import at_least, count

# Where the authors' thresholds were set: 128 images of each of ten classes, answered by networks that
# trained on one image of each. Their mean of a_c (1 - a_c) is 0.172 on Fashion-MNIST, 0.194 on CIFAR-10
# (experiments/query_noise.py, experiments/results/query_noise; 5 networks each, a CPU).
_USUAL_IMAGES = 1280
_USUAL_VARIANCE = 0.18
# Steps, epochs and queries are counted in int32.
_MOST = 2**31 - 1


class QueryRule(NamedTuple):
    """When a network has seen enough image updates, and when it has trained enough between two.

    After every image update, and after every epoch of training, the network classifies fresh real
    training images (a query), whose value enters a window. Training ends when a full window ranges
    over more than ``inner`` (the network has moved); the network is left when the window of the
    updates ranges over less than ``outer`` (it has nothing more to say). Made by `query_rule` or
    `original_query_rule`.

    Attributes:
      networks: K, how many fresh random networks are visited.
      outer: the range of values below which the network is left, where the noise is 1.
      inner: the range of values above which it has trained enough, where the noise is 1.
      value: ``value(last, accuracies [C]) -> value``, what a query counts as, given the value of the
        query before (0 for a window's first).
      noise: ``noise(accuracies [window, C], query) -> factor`` on both thresholds.
      window: values that are compared.
      query: real images of each class in a query.
      max_updates: after which a network is left in any case.
      max_epochs: after which training ends in any case.
    """

    networks: int
    outer: float
    inner: float
    value: Callable[[Array, Array], Array]
    noise: Callable[[Array, int], Array]
    window: int = 10
    query: int = 128
    max_updates: int = 50
    max_epochs: int = 100

    @property
    def steps_per_network(self) -> int:
        """A step is one image update, or nothing where the network was left before its cap."""
        return self.max_updates

    @property
    def total_steps(self) -> int:
        """Image updates of a run that never leaves a network before its cap."""
        return self.networks * self.max_updates

    @property
    def unit(self) -> str:
        """What one step is, for reports."""
        return "step"

    def describe(self) -> str:
        """One line for reports."""
        scaled = ", both scaled by the noise of a query" if self.noise is _binomial else ""
        return (
            f"{count(self.networks, 'network')}, each left when {self.window} queries of {self.query} images "
            f"per class range over less than {self.outer:.3g} (at most {self.max_updates} updates), "
            f"trained in between until they range over more than {self.inner:.3g} "
            f"(at most {self.max_epochs} epochs){scaled}"
        )

    def check(self, num_classes: int) -> None:
        """Raises a ``ValueError`` for a threshold that no accuracy of so few images ranges over."""
        images = num_classes * self.query
        for name in ("outer", "inner"):
            threshold = getattr(self, name)
            scaled = threshold * _fewer(images)
            if self.noise is _binomial and scaled >= 1:
                raise ValueError(
                    f"the {name} threshold of {threshold} for {_USUAL_IMAGES} images is {scaled:.3g} for "
                    f"the {images} of a query, and no accuracy ranges over that"
                )


def query_rule(
    *,
    networks: int = 2000,
    outer: float = 0.04,
    inner: float = 0.03,
    window: int = 10,
    query: int = 128,
    max_updates: int = 50,
    max_epochs: int = 100,
) -> QueryRule:
    r"""The corrected rule: a query's value is its mean accuracy, thresholds follow its noise.

    The authors' thresholds lie where the noise of 1280 images is: with q images of each of C classes,
    of which a_c are right, the mean accuracy has the variance :math:`v / (C q)`, where
    :math:`v = \frac1C \sum_c a_c (1 - a_c)`; on their data v is about 0.18. So in general, with a_c the
    means over the window,

    .. math:: \lambda' = \lambda \sqrt{\frac{1280}{C q} \cdot \frac{v}{0.18}}

    Unscaled, a hundred classes never train enough: their window ranges over a third of the threshold. (A
    query should be a small part of its class: the same images drawn again give the same answer.) A cap
    below the window is the only limit there.

    Args:
      networks: K.
      outer: lambda 1, for 1280 images and v = 0.18.
      inner: lambda 2, for the same.
      window: queries that are compared.
      query: q, real images of each class in a query.
      max_updates: cap on the updates of a network.
      max_epochs: cap on the epochs between two updates.

    Returns:
      The rule.

    Raises:
      ValueError: if a threshold is not between 0 and 1, a window below 2 or above both caps, another
        number below 1, or more steps or epochs are allowed than can be counted.

    Reference: CAFE (Wang et al., CVPR 2022), section 3.4. Deviations from its code: the accuracy is
    not carried over from query to query, thresholds scale, and there are caps.

    >>> rule = query_rule()
    >>> print(rule.noise(jnp.full((10, 10), 0.7), 128).round(3))  # v = 0.21
    1.08
    >>> print(rule.noise(jnp.full((10, 100), 0.7), 128).round(3))
    0.342
    """
    numbers = (window, query, max_updates, max_epochs)
    return _checked(QueryRule(networks, outer, inner, _mean, _binomial, *numbers))


def original_query_rule(
    *,
    networks: int = 2000,
    outer: float = 0.04,
    inner: float = 0.03,
    window: int = 10,
    query: int = 128,
    max_updates: int = 50,
    max_epochs: int = 100,
) -> QueryRule:
    r"""The rule of the authors' code, whose accuracy is never reset between queries.

    .. math:: a_t = \frac1C \big(a_{t-1} + \sum_c \mathrm{acc}_c\big)

    Args:
      networks: K (the code visits one more).
      outer: lambda 1.
      inner: lambda 2.
      window: queries that are compared.
      query: real images of each class in a query.
      max_updates: cap on the updates of a network; the code has none.
      max_epochs: cap on the epochs between two updates; the code has none, and with many classes
        never ends.

    Returns:
      The rule.

    Raises:
      ValueError: as `query_rule`.

    Reference: the code of CAFE (Wang et al., CVPR 2022).

    >>> original_query_rule().inner
    0.03
    """
    numbers = (window, query, max_updates, max_epochs)
    return _checked(QueryRule(networks, outer, inner, _accumulated, _constant, *numbers))


def _binomial(accuracies: Array, query: int) -> Array:
    """The standard deviation of a query's mean accuracy, in those of 1280 images where it is usual."""
    each = accuracies.mean(0)
    variance = (each * (1 - each)).mean()
    # No threshold of 0 where every class is all wrong or all right.
    return _fewer(each.size * query) * jnp.sqrt(variance.clip(0.01) / _USUAL_VARIANCE)


def _fewer(images: int) -> float:
    """How much noisier an accuracy is on so many images than on 1280."""
    return math.sqrt(_USUAL_IMAGES / images)


def _constant(accuracies: Array, query: int) -> Array:
    del accuracies, query
    return jnp.float32(1)


def _mean(last: Array, accuracies: Array) -> Array:
    del last
    return accuracies.mean()


def _accumulated(last: Array, accuracies: Array) -> Array:
    return (last + accuracies.sum()) / accuracies.shape[0]


def _checked(rule: QueryRule) -> QueryRule:
    for name in ("outer", "inner"):
        threshold = getattr(rule, name)
        if not isinstance(threshold, Real) or not 0 < float(threshold) < 1:
            raise ValueError(f"the {name} threshold must be between 0 and 1, got {threshold!r}")
    least = {"networks": 1, "window": 2, "query": 1, "max_updates": 1, "max_epochs": 1}
    for name, low in least.items():
        at_least(name, getattr(rule, name), low)
    for name in ("networks", "max_epochs"):
        if getattr(rule, name) * rule.max_updates > _MOST:
            raise ValueError(
                f"{name} times max_updates must be at most {_MOST}, "
                f"got {getattr(rule, name)} times {rule.max_updates}"
            )
    most = max(rule.max_updates, rule.max_epochs)
    if rule.window > most:
        raise ValueError(
            f"window must be at most {most}, the larger of max_updates and max_epochs, "
            f"got {rule.window}: it would never be full"
        )
    return rule


class Window(NamedTuple):
    """The last queries.

    Attributes:
      values: float32 ``[window]``, the newest last.
      accuracies: float32 ``[window, C]``, the newest last.
      count: int32, how many queries there were.
    """

    values: Array
    accuracies: Array
    count: Array

    @classmethod
    def empty(cls, rule: QueryRule, num_classes: int) -> Window:
        """Before the first query."""
        return cls(jnp.zeros(rule.window), jnp.zeros((rule.window, num_classes)), jnp.int32(0))

    def push(self, rule: QueryRule, accuracies: Array) -> Window:
        """With one query more."""
        value = rule.value(self.values[-1], accuracies)
        return Window(
            jnp.append(self.values[1:], value),
            jnp.concatenate([self.accuracies[1:], accuracies[None]]),
            self.count + 1,
        )

    @property
    def is_full(self) -> Array:
        """Whether there were as many queries as are compared."""
        return self.count >= self.values.shape[0]

    @property
    def range(self) -> Array:
        """Largest minus smallest value."""
        return self.values.max() - self.values.min()


class Visit(NamedTuple):
    """How far a network is.

    Attributes:
      window: of the queries after its image updates.
      updates: int32, image updates.
      epochs: int32, epochs of training.
      capped_trainings: int32, how often training was ended by ``max_epochs``.
      is_capped: whether the network was left because of ``max_updates``.
      is_left: whether it was left.
    """

    window: Window
    updates: Array
    epochs: Array
    capped_trainings: Array
    is_capped: Array
    is_left: Array

    @classmethod
    def begin(cls, rule: QueryRule, num_classes: int) -> Visit:
        """Of a fresh network; each in a buffer of its own, for a run donates its state."""
        return cls(
            Window.empty(rule, num_classes),
            updates=jnp.int32(0),
            epochs=jnp.int32(0),
            capped_trainings=jnp.int32(0),
            is_capped=jnp.bool(False),
            is_left=jnp.bool(False),
        )


def turn(
    rule: QueryRule,
    carry: Any,
    seen: Visit,
    *,
    update: Callable[[Any, Array], Any],
    train: Callable[[Any, Array], Any],
    query: Callable[[Any, Array], Array],
) -> tuple[Any, Visit]:
    """One image update, its query, and the training until the network has moved, if it is not left.

    All on the device: a while loop, no host in between.

    Args:
      rule: the rule.
      carry: whatever the three functions work on.
      seen: how far the network is, which was not left.
      update: ``update(carry, i) -> carry``, the i-th image update.
      train: ``train(carry, j) -> carry``, the j-th epoch of training, counted over all updates.
      query: ``query(carry, q) -> accuracies [C]``, the q-th query, counted over all.

    Returns:
      The carry, and how far the network is now.
    """
    carry = update(carry, seen.updates)
    seen = seen._replace(updates=seen.updates + 1)
    accuracies = query(carry, seen.updates + seen.epochs - 1)
    window = seen.window.push(rule, accuracies)
    exhausted = is_exhausted(rule, window)
    capped = (seen.updates >= rule.max_updates) & ~exhausted
    seen = seen._replace(window=window, is_capped=capped, is_left=exhausted | capped)

    def trained() -> tuple[Any, Visit]:
        return _train(rule, carry, seen, train, query)

    return lax.cond(seen.is_left, lambda: (carry, seen), trained)


def _train(
    rule: QueryRule,
    carry: Any,
    seen: Visit,
    train: Callable[[Any, Array], Any],
    query: Callable[[Any, Array], Array],
) -> tuple[Any, Visit]:
    """Epochs of training until a window of its own says that the network has moved, or to the cap."""

    def goes_on(inside: tuple[Any, Array, Window]) -> Array:
        _, done, window = inside
        return (done < rule.max_epochs) & ~has_moved(rule, window)

    def epoch(inside: tuple[Any, Array, Window]) -> tuple[Any, Array, Window]:
        carry, done, window = inside
        carry = train(carry, seen.epochs + done)
        accuracies = query(carry, seen.updates + seen.epochs + done)
        return carry, done + 1, window.push(rule, accuracies)

    start = (carry, jnp.int32(0), Window.empty(rule, seen.window.accuracies.shape[1]))
    carry, done, window = lax.while_loop(goes_on, epoch, start)
    return carry, seen._replace(
        epochs=seen.epochs + done,
        capped_trainings=seen.capped_trainings + ~has_moved(rule, window),
    )


def is_exhausted(rule: QueryRule, window: Window) -> Array:
    """Whether the outer window says that the network has nothing more to say."""
    return window.is_full & (window.range < rule.outer * rule.noise(window.accuracies, rule.query))


def has_moved(rule: QueryRule, window: Window) -> Array:
    """Whether the inner window says that the network has trained enough."""
    return window.is_full & (window.range > rule.inner * rule.noise(window.accuracies, rule.query))
