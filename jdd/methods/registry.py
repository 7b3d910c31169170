"""The methods by name, for the command line and reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from jdd.evaluate import PROTOCOLS, EvaluationProtocol
from jdd.methods.cafe import cafe, cafe_fixed
from jdd.methods.dc import dc
from jdd.methods.dcc import dcc, dsac
from jdd.methods.dm import dm, dm_learning_rate, dm_loops
from jdd.methods.dsa import dsa
from jdd.methods.method import Method
from jdd.methods.schedule import Loops, dc_loops, dcc_loops
from jdd.nn import Network


def dc_protocol(dataset: str, *, eval_norm: str) -> EvaluationProtocol:
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


def dsa_protocol(dataset: str, *, eval_norm: str, strategy: str) -> EvaluationProtocol:
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


def _gradient_rate(ipc: int, network: Network, dataset: str) -> float:
    """The authors' step for matching gradients: smaller with an MLP."""
    del ipc, dataset
    return 0.01 if network.architecture == "mlp" else 0.1


def cafe_protocol(dataset: str, *, eval_norm: str, strategy: str) -> EvaluationProtocol:
    """CAFE's evaluation protocol: DC's with twice its epochs, or with augmentation DSA's.

    Args:
      dataset: the name of the data set.
      eval_norm: the norm of the evaluation network.
      strategy: ops separated by "_", or "none".

    Returns:
      A protocol of ``jdd.evaluate.PROTOCOLS``, or DSA's with that strategy.

    Raises:
      ValueError: if the strategy names an unknown op.

    >>> cafe_protocol("cifar10", eval_norm="instance", strategy="none").name
    'cafe'
    """
    if strategy != "none":
        return dsa_protocol(dataset, eval_norm=eval_norm, strategy=strategy)
    found = dc_protocol(dataset, eval_norm=eval_norm)
    return PROTOCOLS["cafe"] if found.name == "dc" else found


def _cafe_rate(ipc: int, network: Network, dataset: str) -> float:
    """The authors' step for features, whatever the network."""
    del ipc, network, dataset
    return 0.1


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
      networks: K of the paper.
      digits_networks: K for the digits, which takes about two minutes on two cores.
      paper: authors, venue and year.
      factory: ``factory(model, ipc, ...)``, the method as pure functions.
      loops: ``loops(ipc, networks=K)``, the loop counts of the paper; None where queries decide.
      learning_rate: ``learning_rate(ipc, network, dataset)``, of SGD on the images.
      pool: what its sets are evaluated on by default, in DC's words: "S", the network that was matched
        on without BatchNorm, or "SS", that network.
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
    networks: int
    digits_networks: int
    paper: str
    factory: Callable[..., Method]
    loops: Callable[..., Loops] | None
    learning_rate: Callable[[int, Network, str], float]
    pool: str
    protocol: Callable[..., EvaluationProtocol]


METHODS: dict[str, Entry] = {
    "dc": Entry(
        title="Dataset Condensation",
        synthetic="pixels",
        sampler="uniform, per class",
        augmentation="none",
        objective="class gradients, layer-wise cosine",
        schedule="fixed loops, trained on the synthetic set between updates",
        start="noise",
        networks=1000,
        digits_networks=30,
        paper="Zhao, Mopuri, Bilen, ICLR 2021",
        factory=dc,
        loops=dc_loops,
        learning_rate=_gradient_rate,
        pool="S",
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
        networks=1000,
        digits_networks=30,
        paper="Zhao, Bilen, ICML 2021",
        factory=dsa,
        loops=dc_loops,
        learning_rate=_gradient_rate,
        pool="S",
        protocol=dsa_protocol,
    ),
    "dcc": Entry(
        title="Dataset Condensation with Contrastive signals",
        synthetic="pixels",
        sampler="uniform, per class",
        augmentation="none",
        objective="gradients of all classes at once, layer-wise cosine, after a class-wise warm-up",
        schedule="fixed loops, trained on the synthetic set between updates",
        start="real images",
        networks=1000,
        digits_networks=8,
        paper="Lee, Chun, Jung, Yun, Yoon, ICML 2022",
        factory=dcc,
        loops=dcc_loops,
        learning_rate=_gradient_rate,
        pool="S",
        protocol=dc_protocol,
    ),
    "dsac": Entry(
        title="DCC with Differentiable Siamese Augmentation",
        synthetic="pixels",
        sampler="uniform, per class",
        augmentation="DSA, siamese, per class",
        objective="gradients of all classes at once, layer-wise cosine, after a class-wise warm-up",
        schedule="fixed loops, trained on the synthetic set between updates",
        start="real images",
        networks=1000,
        digits_networks=8,
        paper="Lee, Chun, Jung, Yun, Yoon, ICML 2022",
        factory=dsac,
        loops=dcc_loops,
        learning_rate=_gradient_rate,
        pool="S",
        protocol=dsa_protocol,
    ),
    "dm": Entry(
        title="Distribution Matching",
        synthetic="pixels",
        sampler="uniform, per class",
        augmentation="DSA, siamese",
        objective="mean embeddings, squared distance",
        schedule="fresh random networks, never trained",
        start="real images",
        networks=20_000,
        digits_networks=200,
        paper="Zhao, Bilen, WACV 2023",
        factory=dm,
        loops=dm_loops,
        learning_rate=lambda ipc, network, dataset: dm_learning_rate(ipc, dataset),
        pool="SS",
        protocol=dsa_protocol,
    ),
    "cafe": Entry(
        title="Condense dataset by Aligning FEatures",
        synthetic="pixels",
        sampler="uniform, per class",
        augmentation="none, or DSA, siamese, per class",
        objective="features of every layer, squared distance of means; discrimination",
        schedule="trained on the synthetic set, and left, by queries of real images",
        start="noise",
        networks=2000,
        digits_networks=8,
        paper="Wang, Zhao, Peng, Zhu, Yang, Wang, Huang, Bilen, Wang, You, CVPR 2022",
        factory=cafe,
        loops=None,
        learning_rate=_cafe_rate,
        pool="S",
        protocol=cafe_protocol,
    ),
    "cafe-fixed": Entry(
        title="CAFE's objective under fixed loops",
        synthetic="pixels",
        sampler="uniform, per class",
        augmentation="none, or DSA, siamese, per class",
        objective="features of every layer, squared distance of means; discrimination",
        schedule="fixed loops, trained on the synthetic set between updates",
        start="noise",
        networks=2000,
        digits_networks=30,
        paper="Wang, Zhao, Peng, Zhu, Yang, Wang, Huang, Bilen, Wang, You, CVPR 2022",
        factory=cafe_fixed,
        loops=dc_loops,
        learning_rate=_cafe_rate,
        pool="S",
        protocol=cafe_protocol,
    ),
}
