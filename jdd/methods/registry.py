"""The methods by name, for the command line and reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from jdd.evaluate import PROTOCOLS, Protocol
from jdd.methods.dc import dc
from jdd.methods.dsa import dsa
from jdd.methods.network_matching import Method


def dc_protocol(dataset: str, *, eval_norm: str) -> Protocol:
    """DC's evaluation protocol, which goes by the data set and the *evaluation* network's norm.

    The original augments by crop_noise where that network has BatchNorm, by crop_scale_rotate on
    MNIST, and elsewhere not at all.

    Args:
      dataset: the name of the data set.
      eval_norm: the norm of the evaluation network.

    Returns:
      A protocol of ``jdd.evaluate.PROTOCOLS``.

    >>> (
    ...     dc_protocol("mnist", eval_norm="instance").name,
    ...     dc_protocol("mnist", eval_norm="batch").name,
    ... )
    ('dc-crop-scale-rotate', 'dc-crop-noise')
    """
    if eval_norm == "batch":
        return PROTOCOLS["dc-crop-noise"]
    return PROTOCOLS["dc-crop-scale-rotate" if dataset == "mnist" else "dc"]


def dsa_protocol(dataset: str, *, eval_norm: str, strategy: str) -> Protocol:
    """DSA's evaluation protocol: the strategy that was matched with, whatever data and network.

    Args:
      dataset: the name of the data set; changes nothing.
      eval_norm: the norm of the evaluation network; changes nothing.
      strategy: ops separated by "_", or "none".

    Returns:
      A protocol of ``jdd.evaluate.PROTOCOLS``, or "dsa" with that strategy and a name of its own.

    Raises:
      ValueError: if the strategy names an unknown op.

    >>> dsa_protocol("cifar10", eval_norm="instance", strategy="crop_flip").name
    'dsa, crop_flip'
    """
    del dataset, eval_norm
    for name in ("dsa", "dsa-no-flip"):
        if PROTOCOLS[name].augmentation == strategy:
            return PROTOCOLS[name]
    return dataclasses.replace(PROTOCOLS["dsa"], name=f"dsa, {strategy}", augmentation=strategy)


class Entry(NamedTuple):
    """One method: its five choices in words, its paper, and how to make it.

    Attributes:
      title: its full name.
      synthetic: what is learned, and how it becomes images.
      sampler: which real images are matched.
      augmentation: what both sides go through.
      objective: what must agree.
      schedule: how the network moves between two matching steps.
      start: where the images start.
      paper: authors, venue and year.
      factory: ``factory(model, ipc, ...)``, the method as pure functions.
      protocol: ``protocol(dataset, eval_norm=..., **options)``, the evaluation protocol that the
        paper uses; the options are those that this method has and others have not.
    """

    title: str
    synthetic: str
    sampler: str
    augmentation: str
    objective: str
    schedule: str
    start: str
    paper: str
    factory: Callable[..., Method]
    protocol: Callable[..., Protocol]


METHODS: dict[str, Entry] = {
    "dc": Entry(
        title="Dataset Condensation",
        synthetic="pixels",
        sampler="uniform, per class",
        augmentation="none",
        objective="class gradients, layer-wise cosine",
        schedule="fixed loops, trained on the synthetic set between updates",
        start="noise",
        paper="Zhao, Mopuri, Bilen, ICLR 2021",
        factory=dc,
        protocol=dc_protocol,
    ),
    "dsa": Entry(
        title="Differentiable Siamese Augmentation",
        synthetic="pixels",
        sampler="uniform, per class",
        augmentation="DSA, siamese",
        objective="class gradients, layer-wise cosine",
        schedule="fixed loops, trained on the synthetic set between updates",
        start="real images",
        paper="Zhao, Bilen, ICML 2021",
        factory=dsa,
        protocol=dsa_protocol,
    ),
}
