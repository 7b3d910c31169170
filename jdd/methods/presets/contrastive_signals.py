"""DCC and DSAC: gradient matching with contrastive signals between classes."""

from __future__ import annotations

import dataclasses

from jdd import augment, synthetic
from jdd.evaluate import dsa_protocol
from jdd.methods.motion import on_synthetic
from jdd.methods.objectives import after_warm_up, warmed_up_gradients
from jdd.methods.presets.constants import dcc_loops, default_strategy, networks_for
from jdd.methods.presets.gradient_matching import Distance, dc, gradient_distance
from jdd.methods.recipe import Recipe


def dcc(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    warm_up_networks: int | None = None,
    warm_up_updates: int | None = None,
    distance: Distance = "layerwise-cosine",
    networks: int | None = None,
    updates: int | None = None,
) -> Recipe:
    """Dataset Condensation with Contrastive signals: gradients are summed over classes, then matched.

    `dc`'s class-wise objective during a warm-up, then the collective one.

    Args:
      ipc: images per class.
      data: name of the data set, which some of the paper's constants depend on.
      architecture: of the network that is matched on.
      warm_up_networks: networks that begin with class-wise matching; None for a quarter, as in the paper.
      warm_up_updates: class-wise updates of each of them; None for 10, or all.
      distance: between gradients.
      networks: K, which the warm-up depends on; None for the paper's 1000.
      updates: T, which the warm-up depends on; None for the paper's.

    Raises:
      ValueError: if ipc is below 1, the distance is unknown, or the warm-up is longer than the loops.

    Reference: Lee, Chun, Jung, Yun, Yoon, "Dataset Condensation with Contrastive Signals", ICML 2022,
    https://arxiv.org/abs/2202.02916.

    >>> recipe = dcc(1, data="cifar10")
    >>> recipe.updates, recipe.motion
    (10, on_synthetic(5))
    """
    loops = dcc_loops(ipc)
    networks = networks_for(data, paper=1000, digits=8) if networks is None else networks
    updates = loops.updates if updates is None else updates
    quarter = -(-networks // 4)
    warm_networks = quarter if warm_up_networks is None else warm_up_networks
    if not 0 <= warm_networks <= networks:
        raise ValueError(
            f"warm_up_networks must be from 0 to the {networks} networks, got {warm_networks}"
        )
    warm_updates = min(10, updates) if warm_up_updates is None else warm_up_updates
    if not 0 <= warm_updates <= updates:
        raise ValueError(
            f"warm_up_updates must be from 0 to the {updates} updates of a network, got {warm_updates}"
        )
    warm_up = after_warm_up(warm_networks, warm_updates, updates_per_network=updates)
    return dataclasses.replace(
        dc(ipc, data=data, architecture=architecture),
        name="dcc",
        initial=synthetic.from_real(),
        objective=warmed_up_gradients(warm_up, gradient_distance(distance)),
        motion=on_synthetic(loops.epochs),
        networks=networks,
        updates=updates,
    )


def dsac(
    ipc: int,
    *,
    data: str = "",
    architecture: str = "convnet",
    strategy: str | None = None,
    warm_up_networks: int | None = None,
    warm_up_updates: int | None = None,
    distance: Distance = "layerwise-cosine",
    networks: int | None = None,
    updates: int | None = None,
) -> Recipe:
    """`dcc` under one siamese augmentation per class.

    Each class has its own siamese op before gradients are averaged, and the network trains under
    augmentation.

    Args:
      ipc, data, architecture, warm_up_networks, warm_up_updates, distance, networks, updates: as in
        `dcc`.
      strategy: as in `dsa` (the authors flip on every data set).

    Raises:
      ValueError: as `dcc`, or if the strategy names an unknown op.

    Reference: DCC, https://arxiv.org/abs/2202.02916.

    >>> dsac(10, data="cifar10").total_steps
    10000
    """
    strategy = default_strategy(data) if strategy is None else strategy
    base = dcc(
        ipc,
        data=data,
        architecture=architecture,
        warm_up_networks=warm_up_networks,
        warm_up_updates=warm_up_updates,
        distance=distance,
        networks=networks,
        updates=updates,
    )
    return dataclasses.replace(
        base,
        name="dsac",
        augment=augment.dsa_or_none(strategy),
        protocol=dsa_protocol(strategy),
    )
