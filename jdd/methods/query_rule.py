"""CAFE's dynamic bi-level schedule: networks are left, and trained on, by how they answer queries."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jdd.names import count
from jdd.numbers import at_least

# The authors' thresholds were set with this many images: 128 of each of ten classes.
_USUAL_IMAGES = 1280
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
      outer: the range of values below which the network is left.
      inner: the range of values above which it has trained enough.
      value: ``value(last, accuracies [C]) -> value``, what a query counts as, given the value of the
        query before (0 for a window's first).
      noise: ``noise(values [window]) -> factor`` on both thresholds.
      window: values that are compared.
      query: real images of each class in a query.
      max_updates: after which a network is left in any case.
      max_epochs: after which training ends in any case.
    """

    networks: int
    outer: float
    inner: float
    value: Callable[[Array, Array], Array]
    noise: Callable[[Array], Array]
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
        where = " at an accuracy of one half" if self.noise is _binomial else ""
        return (
            f"{count(self.networks, 'network')}, each left when {self.window} queries of {self.query} images "
            f"per class range over less than {self.outer:.3g}{where} (at most {self.max_updates} updates), "
            f"trained in between until they range over more than {self.inner:.3g} "
            f"(at most {self.max_epochs} epochs)"
        )


def query_rule(
    num_classes: int,
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

    The authors' thresholds lie where the noise of 1280 images is. An accuracy a on n images has the
    standard deviation of a binomial, so with other numbers of classes or images, and for a window of
    mean accuracy a,

    .. math:: \lambda' = \lambda \sqrt{\frac{1280}{C \cdot \text{query}}}\; 2 \sqrt{a (1 - a)}

    Unscaled, a hundred classes never train enough: their window ranges over a third of the threshold. (A
    query should be a small part of its class: the same images drawn again give the same answer.) A cap
    below the window is the only limit there.

    Args:
      num_classes: C.
      networks: K.
      outer: lambda 1, for 1280 images of which half are right.
      inner: lambda 2, for the same.
      window: queries that are compared.
      query: real images of each class in a query.
      max_updates: cap on the updates of a network.
      max_epochs: cap on the epochs between two updates.

    Returns:
      The rule, with scaled thresholds.

    Raises:
      ValueError: if a threshold, as given or scaled by the images, is not between 0 and 1, a window
        below 2, another number below 1, or more steps or epochs are allowed than can be counted.

    Reference: CAFE (Wang et al., CVPR 2022), section 3.4. Deviations from its code: the accuracy is
    not carried over from query to query, thresholds scale, and there are caps.

    >>> rule = query_rule(100)
    >>> round(rule.outer, 5), round(rule.inner, 5)
    (0.01265, 0.00949)
    """
    at_least("num_classes", num_classes, 1)
    at_least("query", query, 1)
    images = num_classes * query
    return _checked(
        QueryRule(
            networks,
            _scaled("outer", outer, images),
            _scaled("inner", inner, images),
            _mean,
            _binomial,
            window,
            query,
            max_updates,
            max_epochs,
        )
    )


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
    _check_threshold("outer", outer)
    _check_threshold("inner", inner)
    at_least("query", query, 1)
    return _checked(
        QueryRule(
            networks,
            outer,
            inner,
            _accumulated,
            _constant,
            window,
            query,
            max_updates,
            max_epochs,
        )
    )


def _binomial(values: Array) -> Array:
    """The standard deviation of an answer, in those of one that is right half of the time."""
    mean = values.mean().clip(0.01, 0.99)  # no threshold of 0 where all is wrong, or right
    return 2 * jnp.sqrt(mean * (1 - mean))


def _constant(values: Array) -> Array:
    del values
    return jnp.float32(1)


def _mean(last: Array, accuracies: Array) -> Array:
    del last
    return accuracies.mean()


def _accumulated(last: Array, accuracies: Array) -> Array:
    return (last + accuracies.sum()) / accuracies.shape[0]


def _scaled(name: str, threshold: float, images: int) -> float:
    _check_threshold(name, threshold)
    scaled = threshold * math.sqrt(_USUAL_IMAGES / images)
    if scaled >= 1:
        raise ValueError(
            f"the {name} threshold of {threshold} for {_USUAL_IMAGES} images is {scaled:.3g} for the "
            f"{images} of a query, and no accuracy ranges over that"
        )
    return scaled


def _check_threshold(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"the {name} threshold must be between 0 and 1, got {value}")


def _checked(rule: QueryRule) -> QueryRule:
    least = {"networks": 1, "window": 2, "max_updates": 1, "max_epochs": 1}
    for name, low in least.items():
        at_least(name, getattr(rule, name), low)
    for name in ("networks", "max_epochs"):
        if getattr(rule, name) * rule.max_updates > _MOST:
            raise ValueError(
                f"{name} times max_updates must be at most {_MOST}, "
                f"got {getattr(rule, name)} times {rule.max_updates}"
            )
    return rule


class Window(NamedTuple):
    """The last values of queries.

    Attributes:
      values: float32 ``[window]``, the newest last.
      count: int32, how many queries there were.
    """

    values: Array
    count: Array

    @classmethod
    def empty(cls, rule: QueryRule) -> Window:
        """Before the first query."""
        return cls(jnp.zeros(rule.window, jnp.float32), jnp.int32(0))

    def push(self, rule: QueryRule, accuracies: Array) -> Window:
        """With one query more."""
        value = rule.value(self.values[-1], accuracies)
        return Window(jnp.append(self.values[1:], value), self.count + 1)

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
    def begin(cls, rule: QueryRule) -> Visit:
        """Of a fresh network; each in a buffer of its own, for a run donates its state."""
        return cls(
            Window.empty(rule),
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

    start = (carry, jnp.int32(0), Window.empty(rule))
    carry, done, window = lax.while_loop(goes_on, epoch, start)
    return carry, seen._replace(
        epochs=seen.epochs + done,
        capped_trainings=seen.capped_trainings + ~has_moved(rule, window),
    )


def is_exhausted(rule: QueryRule, window: Window) -> Array:
    """Whether the outer window says that the network has nothing more to say."""
    return window.is_full & (window.range < rule.outer * rule.noise(window.values))


def has_moved(rule: QueryRule, window: Window) -> Array:
    """Whether the inner window says that the network has trained enough."""
    return window.is_full & (window.range > rule.inner * rule.noise(window.values))
