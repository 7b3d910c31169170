"""The networks of the papers by name, and the pools of networks for evaluation."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Collection, Mapping
from numbers import Integral
from typing import Any, NamedTuple

from jdd.nn.classic import alexnet, lenet, mlp, vgg11
from jdd.nn.conv import Convolution
from jdd.nn.convnet import convnet
from jdd.nn.model import ImageShape, Model
from jdd.nn.resnet import resnet18
from jdd.validation import one_of

ARCHITECTURES: dict[str, Callable[..., Model]] = {
    "convnet": convnet,
    "mlp": mlp,
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "resnet18": resnet18,
}


class Variant(NamedTuple):
    """The meaning of a name in ``NETWORKS``.

    Attributes:
      architecture: a key of ``ARCHITECTURES``.
      fixed: the options that are part of the name. All others can be chosen.
    """

    architecture: str
    fixed: Mapping[str, Any]


NETWORKS: dict[str, Variant] = {
    **{name: Variant(name, {}) for name in ARCHITECTURES},
    "alexnetbn": Variant("alexnet", {"norm": "batch"}),
    "vgg11bn": Variant("vgg11", {"norm": "batch"}),
    "resnet18bn": Variant("resnet18", {"norm": "batch"}),
    "resnet18_ap": Variant("resnet18", {"downsampling": "avg_pool"}),
    "resnet18bn_ap": Variant("resnet18", {"norm": "batch", "downsampling": "avg_pool"}),
    **{f"convnetw{width}": Variant("convnet", {"width": width}) for width in (32, 64, 128, 256)},
    **{f"convnetd{depth}": Variant("convnet", {"depth": depth}) for depth in (1, 2, 3, 4)},
    "convnetas": Variant("convnet", {"activation": "sigmoid"}),
    "convnetar": Variant("convnet", {"activation": "relu"}),
    "convnetal": Variant("convnet", {"activation": "leaky_relu"}),
    "convnetaswish": Variant("convnet", {"activation": "swish"}),
    "convnetaswishbn": Variant("convnet", {"activation": "swish", "norm": "batch"}),
    "convnetnp": Variant("convnet", {"pooling": "none"}),
    "convnetmp": Variant("convnet", {"pooling": "max"}),
    "convnetap": Variant("convnet", {"pooling": "avg"}),
    "convnetnn": Variant("convnet", {"norm": "none"}),
    "convnetbn": Variant("convnet", {"norm": "batch"}),
    "convnetln": Variant("convnet", {"norm": "layer"}),
    "convnetin": Variant("convnet", {"norm": "instance"}),
    "convnetgn": Variant("convnet", {"norm": "group"}),
}
"""The networks by their names in DC's code, in lower case. BN is BatchNorm. AP after ResNet18 is average
pooling instead of strides. After ConvNet: W is width, D depth, A activation, P pooling, N norm."""

POOLS: dict[str, tuple[str, ...]] = {
    "M": ("mlp", "convnet", "lenet", "alexnet", "vgg11", "resnet18"),
    "B": ("convnetbn", "convnetaswishbn", "alexnetbn", "vgg11bn", "resnet18bn"),
    "W": ("convnetw32", "convnetw64", "convnetw128", "convnetw256"),
    "D": ("convnetd1", "convnetd2", "convnetd3", "convnetd4"),
    "A": ("convnetas", "convnetar", "convnetal", "convnetaswish"),
    "P": ("convnetnp", "convnetmp", "convnetap"),
    "N": ("convnetnn", "convnetbn", "convnetln", "convnetin", "convnetgn"),
}
"""The evaluation pools of DC's code (its ``eval_mode``), without S and SS: those are the network that the
set was distilled on (see ``parse_networks``)."""


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class Network:
    """An architecture with all its options, for any data set.

    Networks with equal architecture and options are equal, and can be keys of a dict.

    Attributes:
      architecture: a key of ``ARCHITECTURES``.

    >>> Network("resnet18", {"norm": "batch"}).options
    {'downsampling': 'stride', 'norm': 'batch'}
    >>> Network("resnet18", {"norm": "batch"}) == network("resnet18bn")
    True
    """

    architecture: str
    _options: tuple[tuple[str, Any], ...]

    def __init__(self, architecture: str, options: Mapping[str, Any] | None = None) -> None:
        """Makes a network.

        Args:
          architecture: a key of ``ARCHITECTURES``.
          options: of that architecture; an option that is missing has its default.

        Raises:
          ValueError: if there is no such architecture or option, or a value is neither a string nor
            a whole number.
        """
        complete = default_options(one_of("architecture", architecture, ARCHITECTURES))
        for option, value in (options or {}).items():
            if option not in complete:
                raise ValueError(f"{architecture} has no {option}")
            complete[option] = _checked_value(option, value)
        object.__setattr__(self, "architecture", architecture)
        object.__setattr__(self, "_options", tuple(sorted(complete.items())))

    def __repr__(self) -> str:
        return f"Network({self.architecture!r}, {self.options!r})"

    @property
    def options(self) -> dict[str, Any]:
        """All options of the architecture by name, in alphabetical order; a new dict each time."""
        return dict(self._options)

    @property
    def norm(self) -> str:
        """The norm; "none" for an architecture without a choice of norms."""
        return self.options.get("norm", "none")

    def model(
        self, num_classes: int, image_shape: ImageShape, *, conv: Convolution | None = None
    ) -> Model:
        """Builds the network for images of one shape.

        Args:
          num_classes: number of logits, at least 2.
          image_shape: ``(H, W, channels)`` of the images.
          conv: the convolution; None for the default of the platform. The MLP ignores it.

        Returns:
          The model.

        Raises:
          ValueError: if an option has an unknown value, or the images do not fit the network.
        """
        make = ARCHITECTURES[self.architecture]
        has_conv = "conv" in inspect.signature(make).parameters
        convolution = {"conv": conv} if has_conv else {}
        return make(num_classes, image_shape, **self.options, **convolution)

    def replace(self, **options: Any) -> Network:
        """The same architecture with other values for some options.

        Raises:
          ValueError: if the architecture has no such option.

        >>> network("convnet").replace(depth=2).options["depth"]
        2
        """
        return Network(self.architecture, self.options | options)

    def without_batch_norm(self) -> Network:
        """The network of DC's default evaluation (pool S), which has no BatchNorm.

        DC's code cuts the name of the network at "BN". So for a network with BatchNorm, the norm and
        also the downsampling return to their defaults. Other networks are unchanged.

        >>> network("resnet18bn_ap").without_batch_norm() == network("resnet18")
        True
        """
        if self.norm != "batch":
            return self
        defaults = default_options(self.architecture)
        return self.replace(
            **{name: defaults[name] for name in ("norm", "downsampling") if name in defaults}
        )

    def to_json(self) -> dict[str, Any]:
        """The network as a dict that ``json`` can write; ``from_json`` reads it.

        >>> network("lenet").to_json()
        {'architecture': 'lenet'}
        """
        return {"architecture": self.architecture, **self.options}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Network:
        """The network that ``to_json`` wrote; an option that is missing has its default.

        Raises:
          ValueError: if the record has no architecture, or there is no such architecture or option.

        >>> Network.from_json({"architecture": "vgg11", "norm": "batch"}).norm
        'batch'
        """
        if "architecture" not in record:
            raise ValueError(f"the record of a network needs an 'architecture', got {dict(record)}")
        options = {name: value for name, value in record.items() if name != "architecture"}
        return cls(record["architecture"], options)


def default_options(architecture: str) -> dict[str, Any]:
    """The options of an architecture with their defaults.

    >>> default_options("resnet18")
    {'norm': 'instance', 'downsampling': 'stride'}
    """
    parameters = inspect.signature(ARCHITECTURES[architecture]).parameters.values()
    options = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "conv"]
    return {p.name: p.default for p in options}


def network(name: str, **options: Any) -> Network:
    """The network with this name.

    Args:
      name: a key of ``NETWORKS``, in upper or lower case.
      **options: of the architecture; the name may fix some of them.

    Returns:
      The network; options that are neither in the name nor in ``options`` have their defaults.

    Raises:
      ValueError: if there is no such name, the architecture has no such option, or the name fixes
        the option to another value.

    >>> network("ResNet18BN_AP").options
    {'downsampling': 'avg_pool', 'norm': 'batch'}
    >>> network("vgg11", norm="batch").model(10, (32, 32, 3)).name
    'VGG11 (norm batch)'
    """
    architecture, fixed = NETWORKS[_canonical(name, NETWORKS)]
    for option, value in options.items():
        if fixed.get(option, value) != value:
            raise ValueError(f"{name} has {option} {fixed[option]}, not {value}")
    return Network(architecture, {**fixed, **options})


def parse_networks(names: str, *, trained: Network | None = None, **options: Any) -> list[Network]:
    """The networks in a comma-separated list of names and pools, each once.

    Args:
      names: keys of ``NETWORKS`` in upper or lower case, keys of ``POOLS``, or DC's S and SS. SS is
        the network that the set was distilled on, S is that network without BatchNorm.
      trained: the network that the set was distilled on; None for the ConvNet.
      **options: each applies to all networks that have it and whose name does not fix it.

    Returns:
      The networks in the order of the list.

    Raises:
      ValueError: if there is no such name or pool, or an option applies to none of the networks.

    >>> [each.architecture for each in parse_networks("M")]
    ['mlp', 'convnet', 'lenet', 'alexnet', 'vgg11', 'resnet18']
    >>> [
    ...     each.options["depth"]
    ...     for each in parse_networks("S,D", trained=network("convnet", depth=2))
    ... ]
    [2, 1, 3, 4]
    """
    trained = network("convnet") if trained is None else trained
    distilled_on = {"S": trained.without_batch_norm(), "SS": trained}
    parsed: list[Network] = []
    applied: set[str] = set()
    for entry in (entry.strip() for entry in names.split(",")):
        for name in POOLS.get(entry, (entry,)):
            name = _canonical(name, (*NETWORKS, *POOLS, *distilled_on))
            base = distilled_on[name] if name in distilled_on else network(name)
            fixed = {} if name in distilled_on else NETWORKS[name].fixed
            free = {k: v for k, v in options.items() if k in base.options and k not in fixed}
            applied |= free.keys()
            if (changed := base.replace(**free)) not in parsed:
                parsed.append(changed)
    for option in options:
        if option not in applied:
            raise ValueError(f"{option} can be chosen for none of the networks {names}")
    return parsed


def _canonical(name: str, known: Collection[str]) -> str:
    """The name as it is spelled in ``known``: lower case for networks, as it is for pools."""
    if isinstance(name, str) and name.lower() in known:
        return name.lower()
    return one_of("network", name, known)


def _checked_value(option: str, value: Any) -> str | int:
    """A value that can be hashed and written as JSON; the constructors check its range."""
    if isinstance(value, str):
        return value
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    raise ValueError(f"{option} must be a string or a whole number, got {value!r}")
