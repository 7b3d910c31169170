"""DM: distribution matching, mean embeddings under random networks."""

from __future__ import annotations

import functools
from collections.abc import Callable

from jax import Array

from jdd import augment, losses, synthetic
from jdd.data.table import ClassTable
from jdd.matching import (
    Stage,
    batch_mean,
    chain,
    distance,
    embeddings,
    joint_embeddings,
    over_networks,
    per_class,
    siamese,
    squared_error,
)
from jdd.methods.dc import image_sgd
from jdd.methods.method import Method
from jdd.methods.network_matching import network_matching
from jdd.methods.norm_policy import batch_statistics
from jdd.methods.schedule import Loops
from jdd.nn import Model, stacked
from jdd.streaming import Over
from jdd.validation import at_least


def dm_objective(strategy: str = augment.STRATEGY, *, over_classes: Over = None) -> Stage:
    r"""Sum over classes of the squared distance between mean embeddings.

    .. math:: \sum_c \big\| \overline{\psi_\theta(A_{\omega_c}(S_c))}
              - \overline{\psi_\theta(A_{\omega_c}(R_c))} \big\|^2

    Args:
      strategy: of the siamese augmentation, drawn for each class; "none" for none.
      over_classes: see ``matching.per_class``.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. It needs a context with
      ``features``.

    Raises:
      ValueError: if the strategy names an unknown op, or over_classes is no strategy.

    Reference: Zhao, Bilen, WACV 2023, equation 6.

    >>> import jax, jax.numpy as jnp
    >>> from jdd.matching import Batch, Context, Pair, value_of
    >>> batch = Batch(jnp.ones((2, 1, 4, 4, 1)), jnp.array([[0], [1]]))
    >>> embed = lambda w, x: ((), x.reshape(len(x), -1) @ w)
    >>> context = Context(lambda w, x: x, jnp.eye(16, 2), jax.random.key(0), features=embed)
    >>> print(value_of(dm_objective("crop"), Pair(batch, batch), context))
    0.0
    """
    stages = chain(siamese(strategy), embeddings(), batch_mean(), squared_error())
    return per_class(stages, over_classes=over_classes)


def dm_joint_objective(strategy: str = augment.STRATEGY, *, over_classes: Over = None) -> Stage:
    """`dm_objective` for networks whose samples influence each other: one pass over all classes.

    With a network without BatchNorm in training mode it has the same value, and takes more memory.

    Args:
      strategy: of the siamese augmentation, drawn for each class; "none" for none.
      over_classes: see ``matching.per_class``.

    Returns:
      A stage on a pair of class-stacked batches that ends in a scalar. Every class must have equally
      many real images.

    Raises:
      ValueError: if the strategy names an unknown op, or over_classes is no strategy.

    Reference: the code of DM (Zhao, Bilen, WACV 2023).
    """
    classes = distance(lambda syn, real: losses.mean_embedding(syn.values, real.values))
    return chain(
        per_class(siamese(strategy), over_classes=over_classes), joint_embeddings(), classes
    )


def dm_loops(ipc: int, *, networks: int = 20_000) -> Loops:
    """DM's loops: every network has one update and no training, at every IPC.

    Raises:
      ValueError: if ipc or networks is below 1.

    >>> dm_loops(50)
    Loops(networks=20000, updates=1, net_epochs=0, interpolated=False)
    """
    at_least("ipc", ipc, 1)
    return Loops(at_least("networks", networks, 1), 1, 0)


def dm_learning_rate(ipc: int, dataset: str = "") -> float:
    """The authors' step on the images: 1, but on CIFAR-10 10 from IPC 100 on.

    >>> dm_learning_rate(100), dm_learning_rate(100, "cifar10")
    (1.0, 10.0)
    """
    return 10.0 if dataset == "cifar10" and ipc >= 100 else 1.0


def dm(
    model: Model,
    ipc: int,
    *,
    strategy: str = augment.STRATEGY,
    loops: Loops | None = None,
    networks_per_update: int = 1,
    start: Callable[[Array, ClassTable], Array] | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    real_batch: int = 256,
    over_classes: Over = None,
) -> Method:
    """Dataset Condensation with Distribution Matching.

    Every update meets fresh random networks, which are never trained; first derivatives only. With
    BatchNorm all classes go through the network in one batch, as in the authors' code.

    Args:
      model: the architecture that is matched on.
      ipc: images per class.
      strategy: ops separated by "_"; "none" for no augmentation.
      loops: the loop counts; None for the paper's 20,000 networks with one update each.
      networks_per_update: the loss is averaged over so many networks (the paper: 1).
      start: initial images; None for random real images.
      learning_rate: of SGD on the images; None for the authors' 1, and 10 from IPC 100 on.
      momentum: of SGD on the images.
      real_batch: real images per class and update.
      over_classes: see ``matching.per_class``.

    Returns:
      The method as pure ``init`` and ``step``.

    Raises:
      ValueError: if ipc or networks_per_update is below 1, or the strategy names an unknown op.

    Reference: Zhao, Bilen, "Dataset Condensation with Distribution Matching", WACV 2023. Deviation:
    20,000 updates, not 20,001.

    >>> from jdd.nn import convnet
    >>> dm(convnet(10, (28, 28, 1)), 10).loops.total_steps
    20000
    """
    at_least("ipc", ipc, 1)
    at_least("networks_per_update", networks_per_update, 1)
    whole = dm_joint_objective if model.has_batch_stats else dm_objective
    objective = whole(strategy, over_classes=over_classes)
    rate = dm_learning_rate(ipc) if learning_rate is None else learning_rate
    if networks_per_update != 1:
        model, objective = stacked(model, networks_per_update), over_networks(objective)
    return network_matching(
        "dm",
        model=model,
        objective=objective,
        synthetic=synthetic.pixels,
        start=start or functools.partial(synthetic.real, ipc=ipc),
        optimizer=image_sgd(rate, momentum),
        loops=loops or dm_loops(ipc),
        real_batch=real_batch,
        norm_policy=batch_statistics(),
    )
