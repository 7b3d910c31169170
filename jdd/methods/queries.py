"""CAFE's dynamic bi-level schedule: query accuracy decides how long a network trains and how long it is used."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd.validation import at_least

# Where the authors' thresholds were set: 128 images of each of ten classes, classified by networks that
# trained on one image of each. Their mean of a_c (1 - a_c) is 0.172 on Fashion-MNIST, 0.194 on CIFAR-10
# (experiments/query_noise.py, experiments/results/query_noise; 5 networks each, a CPU).
_USUAL_IMAGES = 1280
_USUAL_VARIANCE = 0.18
_USUAL_QUERY = 128
# Steps, epochs and queries are counted in int32.
_LARGEST_COUNT = 2**31 - 1


class QueryRule(NamedTuple):
    """When a network has trained enough, and when it has had enough updates of the synthetic set.

    After every update of the set, and after every epoch of training, the network classifies fresh real
    training images (a query), whose value enters a window. Training ends when a full window ranges over
    more than ``inner`` (the accuracy has changed); the network is replaced when the window of the
    updates ranges over less than ``outer`` (the accuracy has plateaued).

    Attributes:
      outer: the range of values below which the network is replaced, where the noise is 1.
      inner: the range of values above which it has trained enough, where the noise is 1.
      value: ``value(last, accuracies [C]) -> value`` of a query, given the value of the query before
        (0 for a window's first).
      noise: ``noise(accuracies [window, C], query) -> factor`` on both thresholds.
      window: values that are compared.
      query: real images of each class in a query; None for 128, but at most a quarter of the smallest
        class (images that are drawn again give the same answer, and no range).
      max_epochs: after which training ends in any case.
    """

    outer: float
    inner: float
    value: Callable[[Array, Array], Array]
    noise: Callable[[Array, int], Array]
    window: int = 10
    query: int | None = None
    max_epochs: int = 100

    def query_size(self, smallest: int, images_per_class: int) -> int:
        """Real images of each class in a query, for a data set and a synthetic set."""
        if self.query is not None:
            return self.query
        return min(_USUAL_QUERY, max(smallest // 4, images_per_class))

    def check(self) -> None:
        """Raises a ``ValueError`` for a number that cannot be."""
        for name in ("outer", "inner"):
            threshold = getattr(self, name)
            if not isinstance(threshold, float | int) or not 0 < threshold < 1:
                raise ValueError(f"the {name} threshold must be between 0 and 1, got {threshold!r}")
        at_least("window", self.window, 2)
        at_least("max_epochs", self.max_epochs, 1)
        if self.query is not None:
            at_least("query", self.query, 1)

    def check_run(
        self, num_classes: int, smallest: int, networks: int, max_updates: int, images: int
    ) -> None:
        """Raises a ``ValueError`` for a run that this rule cannot serve.

        Args:
          num_classes: of the data set.
          smallest: real images of the smallest class.
          networks: of the run.
          max_updates: updates of the set on each network at most.
          images: synthetic images per class.
        """
        for name, number in (("networks", networks), ("max_epochs", self.max_epochs)):
            if number * max_updates > _LARGEST_COUNT:
                raise ValueError(
                    f"{name} times updates must be at most {_LARGEST_COUNT}, got {number} times {max_updates}"
                )
        longest = max(max_updates, self.max_epochs)
        if self.window > longest:
            raise ValueError(
                f"window must be at most {longest}, the larger of updates and max_epochs, "
                f"got {self.window}: it would never be full"
            )
        query = self.query_size(smallest, images)
        if images > query:
            raise ValueError(
                f"query must be at least the {images} synthetic images per class, got {query}"
            )
        if query > smallest:
            raise ValueError(
                f"query must be at most {smallest}, the images of the smallest class, got {query}"
            )
        self._check_thresholds(num_classes * query)

    def _check_thresholds(self, images: int) -> None:
        for name in ("outer", "inner"):
            threshold = getattr(self, name)
            scaled = threshold * _noise_of_fewer(images)
            if self.noise is binomial_noise and scaled >= 1:
                raise ValueError(
                    f"the {name} threshold of {threshold} for {_USUAL_IMAGES} images is {scaled:.3g} for "
                    f"the {images} of a query, and no accuracy ranges over that"
                )


def binomial_noise(accuracies: Array, query: int) -> Array:
    r"""The standard deviation of a query's mean accuracy, relative to that of the authors' queries.

    With q images of each of C classes and accuracies :math:`a_c`, the mean accuracy has the variance
    :math:`v / (C q)`, where :math:`v = \frac1C \sum_c a_c (1 - a_c)`; with 1280 images and the
    authors' data v is about 0.18.

    .. math:: \sqrt{\frac{1280}{C q} \cdot \frac{v}{0.18}}

    Args:
      accuracies: ``[window, C]``.
      query: q.

    >>> print(binomial_noise(jnp.full((10, 10), 0.7), 128).round(3))  # v = 0.21
    1.08
    """
    each = accuracies.mean(0)
    variance = (each * (1 - each)).mean()
    # No threshold of 0 where every class is all wrong or all right.
    return _noise_of_fewer(each.size * query) * jnp.sqrt(variance.clip(0.01) / _USUAL_VARIANCE)


def constant_noise(accuracies: Array, query: int) -> Array:
    """1: thresholds are used as they are, as in the authors' code."""
    del accuracies, query
    return jnp.float32(1)


def mean_accuracy(last: Array, accuracies: Array) -> Array:
    """The mean over classes."""
    del last
    return accuracies.mean()


def accumulated_accuracy(last: Array, accuracies: Array) -> Array:
    r"""What the authors' code computes, whose accuracy is never reset between queries.

    .. math:: a_t = \frac1C \big(a_{t-1} + \sum_c \mathrm{acc}_c\big)
    """
    return (last + accuracies.sum()) / accuracies.shape[0]


def _noise_of_fewer(images: int) -> float:
    """How much noisier an accuracy is on so many images than on 1280."""
    return math.sqrt(_USUAL_IMAGES / images)


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
        values = jnp.zeros(rule.window, jnp.float32)
        accuracies = jnp.zeros((rule.window, num_classes), jnp.float32)
        return cls(values, accuracies, jnp.int32(0))

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


def has_plateaued(rule: QueryRule, window: Window, query: int) -> Array:
    """Whether the accuracy of the outer window has plateaued: the network is replaced."""
    return window.is_full & (window.range < rule.outer * rule.noise(window.accuracies, query))


def has_changed(rule: QueryRule, window: Window, query: int) -> Array:
    """Whether the accuracy of the inner window has changed enough: training ends."""
    return window.is_full & (window.range > rule.inner * rule.noise(window.accuracies, query))


class Visit(NamedTuple):
    """How far a network is; lives as long as the network.

    Attributes:
      window: of the queries after its updates.
      updates: int32, updates of the synthetic set.
      epochs: int32, epochs of training.
      capped_trainings: int32, how often training was ended by ``max_epochs``.
      is_capped: bool, whether the network was replaced because it had all its updates.
      is_done: bool, whether it is to be replaced.
    """

    window: Window
    updates: Array
    epochs: Array
    capped_trainings: Array
    is_capped: Array
    is_done: Array

    @classmethod
    def begin(cls, rule: QueryRule, num_classes: int) -> Visit:
        """Of a fresh network; each number in a buffer of its own, for a run donates its state."""
        return cls(
            Window.empty(rule, num_classes),
            updates=jnp.int32(0),
            epochs=jnp.int32(0),
            capped_trainings=jnp.int32(0),
            is_capped=jnp.bool(False),
            is_done=jnp.bool(False),
        )

    def after_update(self, rule: QueryRule, accuracies: Array, query: int, is_last: Array) -> Visit:
        """After one more update and its query; ``is_last``: the network has had all its updates."""
        window = self.window.push(rule, accuracies)
        plateaued = has_plateaued(rule, window, query)
        capped = is_last & ~plateaued
        return self._replace(
            window=window,
            updates=self.updates + 1,
            is_capped=capped,
            is_done=plateaued | capped,
        )

    def after_training(self, epochs: Array, was_capped: Array) -> Visit:
        """After the training that followed an update."""
        return self._replace(
            epochs=self.epochs + epochs, capped_trainings=self.capped_trainings + was_capped
        )


class VisitRecord(NamedTuple):
    """How long every network of a run lasted.

    Attributes:
      updates: int32 ``[K]``, updates of the synthetic set on each network.
      epochs: int32 ``[K]``, epochs that each network trained.
      capped_trainings: int32 ``[K]``, its trainings between two updates that were ended by the cap.
      is_capped: bool ``[K]``, whether it was replaced because it had all its updates.
    """

    updates: Array
    epochs: Array
    capped_trainings: Array
    is_capped: Array

    @classmethod
    def empty(cls, networks: int) -> VisitRecord:
        """Before the first network."""
        counts = {n: jnp.zeros(networks, jnp.int32) for n in cls._fields[:3]}
        return cls(**counts, is_capped=jnp.zeros(networks, bool))

    def with_visit(self, network: Array, visit: Visit) -> VisitRecord:
        """With the numbers of one network."""
        return VisitRecord(
            *(getattr(self, n).at[network].set(getattr(visit, n)) for n in self._fields)
        )

    def summary(self, networks: int) -> dict[str, float]:
        """Means, quartiles and shares over the first so many networks."""
        if not networks:
            return {}
        columns: dict[str, Any] = {n: np.asarray(getattr(self, n))[:networks] for n in self._fields}
        # Every update of a network is followed by training, but the last.
        trainings = int((columns["updates"] - 1).sum())
        numbers: dict[str, float] = {"networks": networks}
        for name in ("updates", "epochs"):
            low, middle, high = (float(np.quantile(columns[name], q)) for q in (0.25, 0.5, 0.75))
            numbers |= {
                f"{name}_mean": float(columns[name].mean()),
                f"{name}_quartile_1": low,
                f"{name}_median": middle,
                f"{name}_quartile_3": high,
            }
        numbers["share_of_networks_capped"] = float(columns["is_capped"].mean())
        capped = int(columns["capped_trainings"].sum())
        return numbers | {"share_of_trainings_capped": capped / max(1, trainings)}
