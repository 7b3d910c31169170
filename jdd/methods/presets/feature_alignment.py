"""CAFE: features of every layer, discrimination, and query-driven training of the networks."""

from __future__ import annotations

import dataclasses
from typing import Literal

from jdd import augment, synthetic
from jdd.evaluate import cafe_protocol
from jdd.methods.motion import on_synthetic
from jdd.methods.objectives import layer_features
from jdd.methods.optimizers import halved_after, sgd
from jdd.methods.presets.constants import data_name, dc_loops, networks_for
from jdd.methods.query_motion import by_original_queries, by_queries
from jdd.methods.recipe import Recipe
from jdd.validation import at_least


def cafe(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    strategy: str = "none",
    layer_weights: tuple[float, ...] = (),
    discrimination: float = 0.01,
    rule: Literal["corrected", "original"] = "corrected",
    outer: float = 0.04,
    inner: float = 0.03,
    window: int = 10,
    query: int | None = None,
    max_epochs: int = 100,
    max_updates: int = 50,
) -> Recipe:
    """CAFE: features of every layer are aligned, on networks whose training queries decide.

    Args:
      ipc: images per class.
      data: name of the data set, which some of the paper's constants depend on.
      architecture: of the network that is matched on.
      strategy: "none", or ops joined by "_" for CAFE+DSA.
      layer_weights: one for each tap, and last for the embedding; empty for 1 for the last three, 0.1 before.
      discrimination: weight of the discrimination of real images by synthetic ones.
      rule: corrected (mean accuracy of a query, thresholds scaled by its noise), or original (as the authors'
        code, whose accuracy is carried over from query to query).
      outer: a network is replaced when its queries range over less than this.
      inner: it has trained enough when they range over more than this.
      window: queries that are compared.
      query: real images per class in a query; None for 128, but at most a quarter of a class.
      max_epochs: epochs between two updates at most.
      max_updates: updates of the synthetic set on each network at most.

    Raises:
      ValueError: if ipc is below 1, a weight is negative or all are 0, the strategy or the rule is unknown, or a
        number of the rule is out of range.

    Reference: Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features", CVPR 2022,
    https://arxiv.org/abs/2203.01531. Deviations: see `by_queries`; 2000 networks, not 2001, of at most 50
    updates each. (Its code normalises CIFAR-100 by CIFAR-10's statistics: ``cifar100-dcc`` does.)

    >>> cafe(1).total_steps  # 2000 networks of at most 50 updates
    100000
    """
    del architecture  # the paper's constants are the same for all
    rules = {"corrected": by_queries, "original": by_original_queries}
    if rule not in rules:
        raise ValueError(f"rule must be one of {', '.join(rules)}, got {rule!r}")
    return Recipe(
        name="cafe",
        ipc=ipc,
        initial=synthetic.from_noise(),
        augment=augment.dsa_or_none(strategy),
        objective=layer_features(layer_weights or None, discrimination_weight=discrimination),
        motion=rules[rule](
            outer=outer, inner=inner, window=window, query=query, max_epochs=max_epochs
        ),
        networks=networks_for(data, paper=2000, digits=8),
        updates=at_least("max_updates", max_updates, 1),
        optimizer=sgd(0.1, momentum=0.5),
        decay=halved_after(),
        protocol=cafe_protocol(data_name(data), strategy),
    )


def cafe_fixed(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    strategy: str = "none",
    layer_weights: tuple[float, ...] = (),
    discrimination: float = 0.01,
) -> Recipe:
    """CAFE's objective under fixed loops, the ablation of its query-driven training.

    Args:
      ipc, data, architecture, strategy, layer_weights, discrimination: as in `cafe`.

    Raises:
      ValueError: as `cafe`.

    Reference: the ablation of CAFE, https://arxiv.org/abs/2203.01531; its loop counts are not known to us:
    DC's are used.

    >>> cafe_fixed(10).total_steps
    20000
    """
    loops = dc_loops(ipc)
    base = cafe(
        ipc,
        data=data,
        architecture=architecture,
        strategy=strategy,
        layer_weights=layer_weights,
        discrimination=discrimination,
    )
    return dataclasses.replace(
        base,
        name="cafe-fixed",
        motion=on_synthetic(loops.epochs),
        networks=networks_for(data, paper=2000, digits=30),
        updates=loops.updates,
    )
