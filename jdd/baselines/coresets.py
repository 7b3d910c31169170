"""Coresets: real images chosen by the features of a network trained on the whole set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array, lax

from jdd.baselines.real_sets import WHOLE_SET, whole_set
from jdd.baselines.selection import herding, k_centre
from jdd.choice import register
from jdd.data.table import ClassTable, take
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.streaming import default_forward_batch
from jdd.synthetic import Initial
from jdd.training import TrainingState, train_epochs
from jdd.validation import at_least

Selection = Callable[..., Array]
"""``selection(features [N, d], n, valid=...) -> int32 [n]``: which rows to choose."""

SELECTIONS: Mapping[str, Selection] = {"herding": herding, "k-centre": k_centre}

CORESET_EPOCHS = WHOLE_SET.epochs + 1
"""Epochs for which the network that chooses is trained."""


def train_on_all(
    key: Array, model: Model, table: ClassTable, *, epochs: int = CORESET_EPOCHS
) -> Variables:
    """Trains the network whose features choose a coreset, on all real images.

    SGD as in ``WHOLE_SET``: learning rate 0.01, momentum 0.9, weight decay 5e-4, batch size 256, no
    augmentation. From epoch ``(epochs - 1) // 2 + 2`` on, the learning rate is a tenth.

    Args:
      key: typed PRNG key.
      model: the network.
      table: the real training set; all of it is normalised to float32 on the device.
      epochs: number of epochs.

    Returns:
      The variables of the network.

    Raises:
      ValueError: if epochs is below 1.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021, https://arxiv.org/abs/2006.05929, which has "models trained
    on the whole dataset" and no recipe for them.

    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> from jdd.nn import convnet
    >>> split = Split(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1], np.int32))
    >>> table, model = (
    ...     class_table(split, 2, (0.5,), (0.5,)),
    ...     convnet(2, (8, 8, 1), width=2, depth=1),
    ... )
    >>> sorted(train_on_all(jax.random.key(0), model, table, epochs=1))
    ['params']
    """
    return _train(key, model, table, jnp.int32(at_least("epochs", epochs, 1)))


@functools.partial(jax.jit, static_argnames="model")
def _train(key: Array, model: Model, table: ClassTable, epochs: Array) -> Variables:
    start, training = jax.random.split(key)
    sgd = WHOLE_SET.sgd._replace(milestones=((epochs - 1) // 2 + 2,))
    state, batch = TrainingState.begin(model.init(start), sgd), whole_set(table)
    state, _ = train_epochs(training, model, state, batch.images, batch.labels, sgd, epochs=epochs)
    return state.variables


@functools.partial(jax.jit, static_argnames=("select", "model", "ipc", "micro_batch"))
def select_images(
    select: Selection,
    model: Model,
    variables: Variables,
    table: ClassTable,
    ipc: int,
    *,
    micro_batch: int | None = None,
) -> Array:
    """Selects images of each class by their embeddings.

    Classes are handled one after the other, so only the features of one class are in memory.

    Args:
      select: the selection, for example ``SELECTIONS["herding"]``; static.
      model: the network; static.
      variables: the variables of the network.
      table: the real training set.
      ipc: images per class; static.
      micro_batch: images that are embedded at a time; None for the platform's default.

    Returns:
      float32 ``[C, ipc, H, W, ch]``, normalised, in the order of their selection; NaN for a class with an
      embedding that is not finite.

    Raises:
      ValueError: if ipc is below 1 or a class has fewer than ipc images.
    """
    if not 1 <= ipc <= table.smallest:
        raise ValueError(
            f"ipc must be between 1 and the smallest class ({table.smallest}), got {ipc}"
        )
    size = min(micro_batch or default_forward_batch(), table.largest)
    rows = jnp.arange(-(-table.largest // size) * size)

    def of_class(bounds: tuple[Array, Array]) -> Array:
        start, count = bounds
        # Rows beyond the class are images of other classes; they are embedded, and marked as not valid.
        place = jnp.minimum(start + rows, table.images.shape[0] - 1).reshape(-1, size)
        features = lax.map(lambda p: model.features(variables, take(table, p))[1], place)
        picked = select(features.reshape(rows.size, -1), ipc, valid=rows < count)
        # The selection of a network that diverged means nothing, and must not pass for one.
        return jnp.where(jnp.isfinite(features).all(), take(table, start + picked), jnp.nan)

    return lax.map(of_class, (table.start, table.count))


def coreset_images(
    key: Array,
    table: ClassTable,
    ipc: int,
    *,
    select: Selection,
    model: Model,
    epochs: int = CORESET_EPOCHS,
) -> Array:
    """Trains a network on all real images, and selects images of each class by its embeddings.

    Args:
      key: typed PRNG key for the training; the selection is not random.
      table: the real training set.
      ipc: images per class.
      select: the selection, for example ``SELECTIONS["k-centre"]``.
      model: the network.
      epochs: epochs of its training.

    Returns:
      float32 ``[C, ipc, H, W, ch]``, normalised.

    Raises:
      ValueError: if epochs or ipc is below 1, or a class has fewer than ipc images.

    Reference: the coreset baselines of Zhao, Mopuri, Bilen, ICLR 2021, https://arxiv.org/abs/2006.05929,
    which gives no number of epochs.

    >>> import numpy as np
    >>> from jdd.data import Split, class_table
    >>> from jdd.nn import convnet
    >>> split = Split(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1], np.int32))
    >>> table, model = (
    ...     class_table(split, 2, (0.5,), (0.5,)),
    ...     convnet(2, (8, 8, 1), width=2, depth=1),
    ... )
    >>> chosen = {"select": herding, "model": model, "epochs": 1}
    >>> coreset_images(jax.random.key(0), table, 1, **chosen).shape
    (2, 1, 8, 8, 1)
    """
    return select_images(select, model, train_on_all(key, model, table, epochs=epochs), table, ipc)


@register
def from_herding(epochs: int = CORESET_EPOCHS) -> Initial:
    """Initial images: real ones selected by herding (`selection.herding`).

    Args:
      epochs: epochs of training of the network whose embeddings are used.

    Returns:
      The choice of initial images.

    Raises:
      ValueError: if epochs is below 1.

    >>> from_herding()
    from_herding()
    """
    return _from_selection(herding, epochs)


@register
def from_k_centre(epochs: int = CORESET_EPOCHS) -> Initial:
    """Initial images: real ones selected by k-centre (`selection.k_centre`).

    Args:
      epochs: epochs of training of the network whose embeddings are used.

    Returns:
      The choice of initial images.

    Raises:
      ValueError: if epochs is below 1.

    >>> from_k_centre(3)
    from_k_centre(3)
    """
    return _from_selection(k_centre, epochs)


def _from_selection(select: Selection, epochs: int) -> Initial:
    at_least("epochs", epochs, 1)

    def images(key: Array, table: ClassTable, model: Model, n: int) -> Array:
        return coreset_images(key, table, n, select=select, model=model, epochs=epochs)

    return Initial(images)
