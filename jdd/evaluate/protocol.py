"""Named evaluation protocols: train fresh networks on a small set, test them on the real one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jdd.augment import DC_STRATEGY, STRATEGY, STRATEGY_NO_FLIP, dc_augment, dsa
from jdd.augment.dc import DC_OPS
from jdd.augment.dsa import OPS, parse_strategy
from jdd.data.table import ClassTable
from jdd.evaluate.accuracy import accuracy
from jdd.nn import Model
from jdd.streaming import Over, check_over, mapped
from jdd.training import Augment, SGDRecipe, train_epochs
from jdd.validation import at_least, one_of, positive, share


@dataclasses.dataclass(frozen=True)
class EvaluationProtocol:
    """How a set is judged.

    Attributes:
      name: what reports call it.
      epochs: the E of the papers; E + 1 epochs are trained, as the original code does.
      augmentation: "none", or a strategy of the augmenter.
      augmenter: "dsa" (one op per minibatch, own parameters per image), or "dc" (one op per image).
      learning_rate, momentum, weight_decay, batch_size: of SGD.
    """

    name: str
    epochs: int
    augmentation: str = "none"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    augmenter: str = "dsa"

    def __post_init__(self) -> None:
        one_of("augmenter", self.augmenter, _AUGMENTERS)
        parse_strategy(self.augmentation, DC_OPS if self.augmenter == "dc" else OPS)
        for field in ("epochs", "batch_size"):
            at_least(field, getattr(self, field), 1)
        positive("learning_rate", self.learning_rate)
        share("momentum", self.momentum)
        share("weight_decay", self.weight_decay)

    @property
    def recipe(self) -> SGDRecipe:
        """SGD whose learning rate falls once, after epoch index E//2 + 1, with momentum reset."""
        return SGDRecipe(
            self.learning_rate,
            self.momentum,
            self.weight_decay,
            self.batch_size,
            self.epochs // 2 + 2,
        )

    def record(self) -> dict[str, Any]:
        """Everything but the name, as JSON, so that a set can say it in its file.

        ``trained_epochs`` and ``decay`` (of the learning rate) are said for those who read the file
        with another library; here they follow from ``epochs``.

        >>> PROTOCOLS["dc"].record()["decay"]
        {'after': 152, 'factor': 0.1, 'momentum_starts_anew': True}
        """
        own = dataclasses.asdict(self)
        del own["name"]
        decay = {"after": self.recipe.decay_after, "factor": 0.1, "momentum_starts_anew": True}
        return {**own, "trained_epochs": self.epochs + 1, "decay": decay}

    @classmethod
    def read(cls, name: str, record: Mapping[str, Any]) -> Self:
        """The protocol that ``record`` wrote.

        Raises:
          ValueError: if an entry is missing, is none that a protocol can have, or says what this
            version does not do.
        """
        missing = [entry for entry in cls(name, epochs=1).record() if entry not in record]
        if missing:
            raise ValueError(f"the recipe of {name} lacks {', '.join(missing)}")
        if not isinstance(record["augmentation"], str):
            raise ValueError(
                f"the augmentation of {name} is {record['augmentation']!r}, not a text"
            )
        fields = [field.name for field in dataclasses.fields(cls) if field.name != "name"]
        protocol = cls(name, **{field: record[field] for field in fields})
        own = protocol.record()
        for entry, value in record.items():
            if value != own.get(entry):
                here = f"this jdd has {own.get(entry)!r}"
                raise ValueError(f"the recipe of {name} has {entry} {value!r}, {here}")
        return protocol

    def augment(self) -> Augment | None:
        """The augmentation of a minibatch, or None."""
        if self.augmentation == "none":
            return None
        return functools.partial(_AUGMENTERS[self.augmenter], self.augmentation)

    def describe(self) -> str:
        """One line for reports."""
        return (
            f"{self.name}: {self.epochs + 1} epochs of SGD (learning rate {self.learning_rate}, a tenth "
            f"after epoch {self.epochs // 2 + 2} with momentum reset; momentum {self.momentum}, weight decay "
            f"{self.weight_decay}, batch {self.batch_size}), {self._augmentation()}, accuracy "
            "of the last epoch on the whole test set"
        )

    def _augmentation(self) -> str:
        if self.augmentation == "none":
            return "no augmentation"
        return f"{self.augmenter.upper()} augmentation {self.augmentation}"


def _augment_dsa(strategy: str, key: Array, images: Array) -> Array:
    return dsa(key, images, strategy, siamese=False)


def _augment_dc(strategy: str, key: Array, images: Array) -> Array:
    return dc_augment(key, images, strategy)


_AUGMENTERS = {"dsa": _augment_dsa, "dc": _augment_dc}

PROTOCOLS: dict[str, EvaluationProtocol] = {
    "dc": EvaluationProtocol("dc", epochs=300),
    "dc-crop-scale-rotate": EvaluationProtocol(
        "dc-crop-scale-rotate", epochs=1000, augmentation=DC_STRATEGY, augmenter="dc"
    ),
    "dc-crop-noise": EvaluationProtocol(
        "dc-crop-noise", epochs=1000, augmentation="crop_noise", augmenter="dc"
    ),
    "cafe": EvaluationProtocol("cafe", epochs=600),
    "dsa": EvaluationProtocol("dsa", epochs=1000, augmentation=STRATEGY),
    "dsa-no-flip": EvaluationProtocol("dsa-no-flip", epochs=1000, augmentation=STRATEGY_NO_FLIP),
}
"""DC's protocol (on MNIST with crop_scale_rotate, with BatchNorm crop_noise), CAFE's where it does
not augment, and DSA's (without flip on digits)."""


class Evaluation(NamedTuple):
    """Accuracies of independently trained networks.

    Attributes:
      accuracies: ``[num_networks]``, fractions, of the last epoch.
      protocol: the protocol that produced them.
      model: the name of the network.
    """

    accuracies: np.ndarray
    protocol: EvaluationProtocol
    model: str

    @property
    def mean(self) -> float:
        """The mean accuracy, a fraction."""
        return float(self.accuracies.mean())

    @property
    def std(self) -> float:
        """The population standard deviation (ddof 0), as the papers print it."""
        return float(self.accuracies.std())

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} +- {100 * self.std:.2f} % ({len(self.accuracies)} networks)"


def evaluate(
    key: Array,
    model: Model,
    images: Array,
    labels: Array,
    test: ClassTable,
    protocol: EvaluationProtocol,
    *,
    num_networks: int = 20,
    networks_per_dispatch: int = 5,
    over_seeds: Over = None,
    report: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Trains fresh random networks on a small set and tests each on the whole test set.

    Args:
      key: typed PRNG key; each network gets its own.
      model: the architecture.
      images: ``[N, H, W, ch]``, normalised with the test table's statistics.
      labels: integers ``[N]`` or probabilities ``[N, K]``.
      test: the real test set.
      protocol: the recipe, for example ``PROTOCOLS["dsa"]``.
      num_networks: how many networks; the papers use 20 for each of 5 sets.
      networks_per_dispatch: networks trained by one call of the compiled program.
      over_seeds: "map", "vmap", or an int for that many networks at a time; None for "map"
        (``jdd.streaming``).
      report: called with (networks done, num_networks) after each dispatch.

    Returns:
      The accuracies, with what is needed to report them.

    Raises:
      ValueError: if num_networks is below 1, images, labels and test set do not fit the network, a
        label is none of its classes, or a value is not finite.

    Reference: the evaluation of DC (Zhao, Mopuri, Bilen, ICLR 2021) and DSA (Zhao, Bilen, ICML 2021).
    """
    at_least("num_networks", num_networks, 1)
    at_least("networks_per_dispatch", networks_per_dispatch, 1)
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    _check_set(model, images, labels)
    _check_test(model, test)
    check_over("over_seeds", over_seeds)
    group = min(networks_per_dispatch, num_networks)
    program = _program(model, protocol, over_seeds)
    found: list[float] = []
    for first in range(0, num_networks, group):
        # The last group may reach beyond num_networks: one program, one compilation.
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(first, first + group))
        found += list(np.asarray(program(keys, images, labels, test)))
        if report is not None:
            report(min(len(found), num_networks), num_networks)
    return Evaluation(np.asarray(found[:num_networks], np.float64), protocol, model.name)


def _check_set(model: Model, images: Array, labels: Array) -> None:
    if images.ndim != 4 or images.shape[1:] != model.image_shape or not len(images):
        raise ValueError(
            f"{model.name} takes images [N, {', '.join(map(str, model.image_shape))}], "
            f"got shape {images.shape}"
        )
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be normalised floats, got {images.dtype}")
    n, classes = len(images), model.num_classes
    soft = labels.shape == (n, classes)
    if not soft and (labels.shape != (n,) or not jnp.issubdtype(labels.dtype, jnp.integer)):
        raise ValueError(
            f"labels must be integers [{n}] or probabilities [{n}, {classes}], "
            f"got {labels.dtype} {labels.shape}"
        )
    if not soft and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}, allowed are 0 to {classes - 1}"
        )
    for what, values in (("images", images), ("labels", labels)):
        if bad := int(jnp.sum(~jnp.isfinite(values))):
            raise ValueError(f"{what} hold {bad} values that are not finite")


def _check_test(model: Model, test: ClassTable) -> None:
    shape = test.images.shape[1:]
    if (test.num_classes, shape) != (model.num_classes, model.image_shape):
        raise ValueError(
            f"{model.name} is for {model.num_classes} classes of images {model.image_shape}, "
            f"the test set has {test.num_classes} classes of images {shape}"
        )


@functools.lru_cache(maxsize=8)
def _program(model: Model, protocol: EvaluationProtocol, over_seeds: Over) -> Callable[..., Array]:
    """The compiled training and testing of several networks."""

    @jax.jit
    def run(keys: Array, images: Array, labels: Array, test: ClassTable) -> Array:
        def one(key: Array) -> Array:
            start, training = jax.random.split(key)
            variables, _ = train_epochs(
                training,
                model,
                model.init(start),
                images,
                labels,
                protocol.recipe,
                epochs=protocol.epochs + 1,
                augment=protocol.augment(),
            )
            return accuracy(model, variables, test)

        return mapped(one, keys, over_seeds)

    return run
