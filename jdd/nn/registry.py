"""The networks of the papers by name, and the pools that sets are evaluated on."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
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
    """What a name stands for.

    Attributes:
      architecture: a key of ``ARCHITECTURES``.
      fixed: the options that the name says; all others may be chosen.
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
"""By the names of DC's code (in lower case): BN is batch norm, AP after ResNet18 average pooling in
place of strides; after ConvNet come W width, D depth, A activation, P pooling, N norm."""

POOLS: dict[str, tuple[str, ...]] = {
    "M": ("mlp", "convnet", "lenet", "alexnet", "vgg11", "resnet18"),
    "B": ("convnetbn", "convnetaswishbn", "alexnetbn", "vgg11bn", "resnet18bn"),
    "W": ("convnetw32", "convnetw64", "convnetw128", "convnetw256"),
    "D": ("convnetd1", "convnetd2", "convnetd3", "convnetd4"),
    "A": ("convnetas", "convnetar", "convnetal", "convnetaswish"),
    "P": ("convnetnp", "convnetmp", "convnetap"),
    "N": ("convnetnn", "convnetbn", "convnetln", "convnetin", "convnetgn"),
}
"""The evaluation pools of DC's code (its ``eval_mode``), but for S and SS, which are the network that
was distilled on (see ``networks``)."""


class Network(NamedTuple):
    """An architecture with all its options, for whatever data.

    Attributes:
      architecture: a key of ``ARCHITECTURES``.
      options: every option that it has (none is left to its default).
    """

    architecture: str
    options: Mapping[str, Any]

    @property
    def norm(self) -> str:
        """Its norm; "none" for an architecture without one."""
        return self.options.get("norm", "none")

    def model(
        self, num_classes: int, image_shape: ImageShape, *, conv: Convolution | None = None
    ) -> Model:
        """The network for images of this shape.

        Raises:
          ValueError: if an option is none, or the images do not fit.
        """
        make = ARCHITECTURES[self.architecture]
        given = {"conv": conv} if "conv" in inspect.signature(make).parameters else {}
        return make(num_classes, image_shape, **self.options, **given)

    def without_batch_norm(self) -> Network:
        """What DC evaluates on by default (pool S): everything from "BN" on is cut from the name.

        With BatchNorm, the norm and the downsampling become the architecture's usual ones.
        """
        if self.norm != "batch":
            return self
        usual = default_options(self.architecture)
        changed = {name: usual[name] for name in ("norm", "downsampling") if name in usual}
        return self._replace(options={**self.options, **changed})


def default_options(architecture: str) -> dict[str, Any]:
    """The options of an architecture with their defaults.

    >>> default_options("resnet18")
    {'norm': 'instance', 'downsampling': 'stride'}
    """
    parameters = inspect.signature(ARCHITECTURES[architecture]).parameters.values()
    options = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "conv"]
    return {p.name: p.default for p in options}


def network(name: str, **options: Any) -> Network:
    """A network by its name, in any case.

    Args:
      name: a key of ``NETWORKS``.
      options: of its architecture, where the name does not say them.

    Raises:
      ValueError: if there is no such name, or the network has no such option, or the name says
        another value for it.

    >>> network("ResNet18BN_AP").options
    {'norm': 'batch', 'downsampling': 'avg_pool'}
    >>> network("vgg11", norm="batch").model(10, (32, 32, 3)).name
    'VGG11 (norm batch)'
    """
    architecture, fixed = NETWORKS[_known(name, NETWORKS)]
    usual = default_options(architecture)
    for option, value in options.items():
        if option not in usual:
            raise ValueError(f"{name} has no {option}")
        if fixed.get(option, value) != value:
            raise ValueError(f"{name} has {option} {fixed[option]}, not {value}")
    return Network(architecture, {**usual, **fixed, **options})


def networks(names: str, *, trained: Network | None = None, **options: Any) -> list[Network]:
    """The networks that a comma-separated list of names and pools stands for, each once.

    Args:
      names: keys of ``NETWORKS`` in any case, keys of ``POOLS``, or S and SS, DC's words for the
        network that was distilled on: SS as it is, S without BatchNorm.
      trained: the network that was distilled on; None for the ConvNet.
      options: each goes to all those networks that have it and whose name does not say it.

    Raises:
      ValueError: if there is no such name or pool, or an option goes to none of the networks.

    >>> [each.architecture for each in networks("M")]
    ['mlp', 'convnet', 'lenet', 'alexnet', 'vgg11', 'resnet18']
    >>> [each.options["depth"] for each in networks("S,D", trained=network("convnet", depth=2))]
    [2, 1, 3, 4]
    """
    own = network("convnet") if trained is None else trained
    whole = {"S": own.without_batch_norm(), "SS": own}
    found: list[Network] = []
    taken: set[str] = set()
    for given in names.split(","):
        for name in POOLS.get(given.strip(), (given.strip(),)):
            name = _known(name, (*NETWORKS, *POOLS, *whole))
            base = whole[name] if name in whole else network(name)
            fixed = {} if name in whole else NETWORKS[name].fixed
            more = {k: v for k, v in options.items() if k in base.options and k not in fixed}
            taken |= more.keys()
            chosen = base._replace(options={**base.options, **more})
            found += [] if chosen in found else [chosen]
    for option in options:
        if option not in taken:
            raise ValueError(f"{option} can be chosen for none of the networks {names}")
    return found


def _known(name: str, known: Collection[str]) -> str:
    """The name as it is known: names of networks in lower case, pools as they are."""
    if name.lower() in known:
        return name.lower()
    return one_of("network", name, known)
