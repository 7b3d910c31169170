"""DM: distribution matching, mean embeddings under random networks."""

from __future__ import annotations

from jdd import augment, synthetic
from jdd.evaluate import dsa_protocol
from jdd.methods.motion import never
from jdd.methods.norm_policy import batch_statistics
from jdd.methods.objectives import class_embeddings
from jdd.methods.optimizers import sgd
from jdd.methods.presets.constants import data_name, default_strategy, networks_for
from jdd.methods.recipe import Recipe


def dm(
    ipc: int, *, data: str = "", architecture: str = "convnet", strategy: str | None = None
) -> Recipe:
    """Distribution Matching: mean embeddings are matched on random networks, class by class.

    Every update has a fresh random network, which is never trained; first derivatives only. With
    BatchNorm all classes go through the network in one batch, as in the authors' code.

    Args:
      ipc: images per class.
      data: name of the data set, which some of the paper's constants depend on.
      architecture: of the network that is matched on.
      strategy: as in `dsa`.

    Raises:
      ValueError: if ipc is below 1, or the strategy names an unknown op.

    Reference: Zhao, Bilen, "Dataset Condensation with Distribution Matching", WACV 2023,
    https://arxiv.org/abs/2110.04181. Deviation: 20,000 updates, not 20,001.

    >>> dm(10).total_steps, dm(100, data="cifar10").optimizer
    (20000, sgd(10.0, momentum=0.5))
    """
    del architecture  # the paper's constants are the same for all
    strategy = default_strategy(data) if strategy is None else strategy
    is_large = data_name(data) == "cifar10" and ipc >= 100
    return Recipe(
        name="dm",
        ipc=ipc,
        initial=synthetic.from_real(),
        augment=augment.dsa_or_none(strategy),
        objective=class_embeddings(),
        motion=never(),
        networks=networks_for(data, paper=20_000, digits=200),
        optimizer=sgd(10.0 if is_large else 1.0, momentum=0.5),
        norm_policy=batch_statistics(),
        protocol=dsa_protocol(strategy),
        pool="SS",
    )
