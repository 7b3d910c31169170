"""Motion: how the network moves between two updates of the synthetic set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from jdd.augment import Augmentation
from jdd.choice import Choice, register
from jdd.data.batch import Batch
from jdd.data.table import ClassTable
from jdd.nn import Model
from jdd.nn.model import Variables
from jdd.training import SGD, Place, TrainingState, train_epochs, train_on_table
from jdd.validation import at_least


class Net(NamedTuple):
    """The current network of a run.

    Attributes:
      variables: of the network.
      rest: what lives as long as the network, such as its optimiser and its place in the real set.
      record: what lives as long as the run, such as the number of updates of each network.
    """

    variables: Variables
    rest: Any = ()
    record: Any = ()


class Round(NamedTuple):
    """Where a network is in its run, and what it can train on.

    Attributes:
      model: the architecture.
      table: the real set.
      synthetic: ``synthetic() -> Batch``, the whole synthetic set ``[N, V, H, W, ch]``, normalised.
      augment: the augmentation of the recipe.
      networks: networks of the run.
      updates: updates of the synthetic set on each network, at most.
      network: int32, index of the current network.
      update: int32, index of the update that was just made on it.
    """

    model: Model
    table: ClassTable
    synthetic: Callable[[], Batch]
    augment: Augmentation
    networks: int
    updates: int
    network: Array
    update: Array

    @property
    def is_last_update(self) -> Array:
        """Whether the network has had all its updates."""
        return self.update == self.updates - 1


def _nothing(*_: Any) -> Any:
    return ()


def _accept(*_: Any) -> None:
    return None


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Motion(Choice):
    """How a network begins and how it moves after each update of the synthetic set.

    Attributes:
      begin: ``begin(key, model, table) -> (variables, rest)`` of a fresh network.
      move: ``move(key, net, round) -> net`` after an update.
      record: ``record(model, networks) -> record`` before the first network.
      is_done: ``is_done(net) -> bool array``, whether the network has no further updates although
        it has not had `Round.updates`; None where it always has all of them.
      moves_before_first: whether a fresh network has already been trained.
      moves_after_last: whether it also moves after its last update.
      check: ``check(model, table, networks, updates, images_per_class)`` raises a ``ValueError`` for a
        run that it cannot serve.
      summary: ``summary(record, networks) -> {name: number}`` of the first so many networks.
    """

    begin: Callable[[Array, Model, ClassTable], tuple[Variables, Any]]
    move: Callable[[Array, Net, Round], Net]
    record: Callable[[Model, int], Any] = _nothing
    is_done: Callable[[Net], Array] | None = None
    moves_before_first: bool = False
    moves_after_last: bool = False
    check: Callable[[Model, ClassTable, int, int, int], None] = _accept
    summary: Callable[[Any, int], dict[str, float]] | None = None


def _fresh(key: Array, model: Model, table: ClassTable) -> tuple[Variables, Any]:
    del table
    return model.init(key), ()


@register
def never() -> Motion:
    """The network stays as it was made (DM).

    Reference: Zhao, Bilen, WACV 2023, https://arxiv.org/abs/2110.04181.

    >>> never()
    never()
    """
    return Motion(_fresh, lambda key, net, round: net)


@register
def on_synthetic(
    epochs: int,
    *,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    batch_size: int = 256,
    augment: Augmentation | None = None,
) -> Motion:
    """The network trains on the synthetic set between two updates (DC, DSA, DCC).

    The optimiser begins anew at each call. BatchNorm is in training mode.

    Args:
      epochs: epochs between two updates; none follow the last update of a network.
      learning_rate: of SGD.
      momentum: of SGD.
      batch_size: of SGD.
      augment: of each minibatch, parameters per image; None for the recipe's.

    Raises:
      ValueError: if epochs is negative, or SGD cannot have a number.

    Reference: Zhao, Mopuri, Bilen, ICLR 2021, https://arxiv.org/abs/2006.05929.

    >>> on_synthetic(50)
    on_synthetic(50)
    """
    at_least("epochs", epochs, 0)
    sgd = SGD(learning_rate, momentum, batch_size=batch_size)
    sgd.check()
    check_augment(augment)

    def move(key: Array, net: Net, round: Round) -> Net:
        batch = round.synthetic()
        state = TrainingState.begin(net.variables, sgd)
        state, _ = train_epochs(
            key,
            round.model,
            state,
            batch.images,
            batch.labels,
            sgd,
            epochs=epochs,
            augment=_if_any(round.augment if augment is None else augment),
        )
        return net._replace(variables=state.variables)

    return Motion(_fresh, move)


@register
def on_real(
    images: int,
    *,
    first_images: int = 0,
    first_epochs: int = 0,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    batch_size: int = 64,
    augment: Augmentation | None = None,
) -> Motion:
    """The network trains on real images between two updates (IDC, DREAM).

    The optimiser's momentum and the place in the real set live as long as the network.

    Args:
      images: real images that it trains on after each update, rounded up to whole minibatches.
      first_images: real images that a fresh network trains on before the first update.
      first_epochs: epochs of the real set, in whole minibatches, before these (DREAM+: 1).
      learning_rate: of SGD.
      momentum: of SGD.
      weight_decay: of SGD.
      batch_size: of SGD.
      augment: of each minibatch, parameters per image; None for the recipe's, and for none before the first
        update.

    Raises:
      ValueError: if a number is out of range.

    Reference: Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML
    2022, https://arxiv.org/abs/2205.14959.

    >>> on_real(128, batch_size=32)
    on_real(128, batch_size=32)
    """
    at_least("images", images, 1)
    at_least("first_images", first_images, 0)
    at_least("first_epochs", first_epochs, 0)
    sgd = SGD(learning_rate, momentum, weight_decay, batch_size)
    sgd.check()
    check_augment(augment)

    def train(
        state: TrainingState,
        place: Place,
        model: Model,
        table: ClassTable,
        images: int,
        aug: Any,
        epochs: int = 0,
    ) -> tuple[TrainingState, Place]:
        n = table.images.shape[0]
        size = min(batch_size, n)
        steps = epochs * (n // size) - (-images // size)
        return train_on_table(model, state, place, table, sgd, steps=steps, augment=aug)

    def begin(key: Array, model: Model, table: ClassTable) -> tuple[Variables, Any]:
        init_key, order_key = jax.random.split(key)
        state = TrainingState.begin(model.init(init_key), sgd)
        place = Place.begin(order_key, table)
        if first_images or first_epochs:
            aug = _if_any(augment)
            state, place = train(state, place, model, table, first_images, aug, first_epochs)
        return state.variables, (state.optimizer, place)

    def move(key: Array, net: Net, round: Round) -> Net:
        del key  # the place folds its own key by step
        optimizer, place = net.rest
        state = TrainingState(net.variables, optimizer)
        aug = _if_any(round.augment if augment is None else augment)
        state, place = train(state, place, round.model, round.table, images, aug)
        return net._replace(variables=state.variables, rest=(state.optimizer, place))

    return Motion(begin, move, moves_before_first=first_images > 0 or first_epochs > 0)


def check_augment(augment: Any) -> None:
    """Raises a ``ValueError`` for what is neither an augmentation nor None.

    >>> check_augment("crop")
    Traceback (most recent call last):
        ...
    ValueError: augment must be of kind Augmentation or None, got 'crop'
    """
    if augment is not None and not isinstance(augment, Augmentation):
        raise ValueError(f"augment must be of kind Augmentation or None, got {augment!r}")


def _if_any(augment: Augmentation | None) -> Augmentation | None:
    return None if augment is None or augment.is_none else augment
