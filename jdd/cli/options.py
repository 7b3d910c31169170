"""Options of the command line as frozen records, read by tyro. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg


def chosen(metavar: str, by: str, text: str) -> Any:
    """An option whose default is worked out when the command runs."""
    return arg(metavar=metavar, help=text, help_behavior_hint=f"(default: {by})")


def number(name: str, text: str) -> Any:
    """An option with a default of its own."""
    return arg(metavar=name, help=text)


CORESET_EPOCHS = chosen(
    "EPOCHS", "15", "Training of the network by whose features herding and k-centre choose."
)


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """What is distilled."""

    data: Annotated[
        str,
        arg(
            metavar="NAME",
            help="digits, mnist, fashion_mnist, svhn, cifar10, cifar100, cifar100-dcc, tiny_imagenet, imagenet32, "
            "imagenet32-GROUP (automobile, truck, lizard, fish, terrier, insect), npz:PATH, folder:PATH, idx:PATH, "
            "cifar:PATH or tfds:NAME.",
        ),
    ] = "digits"
    data_dir: Annotated[
        Path | None,
        chosen("PATH", "$JDD_DATA_DIR", "Where the published sets lie."),
    ] = None
    classes: Annotated[
        tuple[str, ...],
        chosen("CLASS", "all", "Only these classes, by name or index, in this order."),
    ] = ()


@dataclasses.dataclass(frozen=True)
class NetworkOptions:
    """The network that is matched on, and but for its norm evaluated with."""

    model: Annotated[
        str,
        number(
            "NAME",
            "convnet, mlp, lenet, alexnet, vgg11, resnet18, or a variant such as resnet18bn_ap; see jdd methods.",
        ),
    ] = "convnet"
    width: Annotated[
        int | None, chosen("CHANNELS", "128", "Channels of every block of convnet.")
    ] = None
    depth: Annotated[
        int | None,
        chosen("BLOCKS", "3", "Blocks of convolution, norm, activation, pooling of convnet."),
    ] = None
    norm: Annotated[
        str | None,
        chosen(
            "NAME",
            "instance; none for alexnet",
            "instance, batch, layer, group or none; mlp and lenet have none.",
        ),
    ] = None
    activation: Annotated[
        str | None, chosen("NAME", "relu", "relu, leaky_relu, sigmoid or swish, of convnet.")
    ] = None
    pooling: Annotated[str | None, chosen("NAME", "avg", "avg, max or none, of convnet.")] = None
    downsampling: Annotated[
        str | None, chosen("NAME", "stride", "stride or avg_pool, of resnet18.")
    ] = None


@dataclasses.dataclass(frozen=True)
class MatchOptions:
    """How long, and how fast the images move. Defaults are the paper's."""

    networks: Annotated[
        int | None,
        chosen("K", "the paper's; on digits fewer", "Fresh random networks that are matched on."),
    ] = None
    learning_rate: Annotated[
        float | None, chosen("RATE", "the paper's", "Of SGD on the images.")
    ] = None
    momentum: Annotated[float, number("SHARE", "Of SGD on the images.")] = 0.5
    real_batch: Annotated[int, number("IMAGES", "Real images per class and update.")] = 256
    over_classes: Annotated[
        str | None,
        chosen(
            "HOW", "by platform", "Classes one by one (map), at once (vmap), or k at a time (k)."
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class LoopOptions:
    """Fixed loops over each network. Defaults are the paper's."""

    updates: Annotated[
        int | None, chosen("T", "the paper's for this IPC", "Image updates per network.")
    ] = None
    net_epochs: Annotated[
        int | None,
        chosen(
            "EPOCHS",
            "the paper's for this IPC",
            "Epochs that the network trains on the images between two updates.",
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class QueryOptions:
    """When a network is left, and when it has trained enough between two updates: by queries."""

    rule: Annotated[
        str,
        number(
            "NAME",
            "corrected (mean accuracy of a query, thresholds scaled by its noise), or original (as the authors' "
            "code, whose accuracy is carried over from query to query).",
        ),
    ] = "corrected"
    outer: Annotated[
        float, number("RANGE", "A network is left when queries range over less than this.")
    ] = 0.04
    inner: Annotated[
        float, number("RANGE", "It has trained enough when they range over more than this.")
    ] = 0.03
    window: Annotated[int, number("N", "Queries that are compared.")] = 10
    query: Annotated[
        int | None,
        chosen("IMAGES", "128, or a quarter of a class", "Real images per class in a query."),
    ] = None
    max_updates: Annotated[int, number("T", "Image updates of a network at most.")] = 50
    max_epochs: Annotated[int, number("EPOCHS", "Epochs between two updates at most.")] = 100


@dataclasses.dataclass(frozen=True)
class GradientOptions:
    """How gradients are matched."""

    distance: Annotated[
        str,
        number("NAME", "Between gradients: layerwise-cosine, flat-cosine or squared-error."),
    ] = "layerwise-cosine"
    norm_policy: Annotated[
        str,
        number(
            "NAME",
            "Of batch norm while matching: frozen (statistics of 16 real images per class) or batch (of each batch).",
        ),
    ] = "frozen"


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """What is measured on the way and at the end."""

    eval_networks: Annotated[
        int | None,
        chosen(
            "N",
            "20; on digits 3",
            "Networks trained for the final number; a quarter of it on the way.",
        ),
    ] = None
    eval_every: Annotated[
        int | None,
        chosen(
            "K", "half of the networks", "Networks between two evaluations; 0: only at the end."
        ),
    ] = None
    eval_epochs: Annotated[
        int | None,
        chosen(
            "EPOCHS", "the protocol's", "Epochs of an evaluation network; changes the protocol."
        ),
    ] = None
    eval_norm: Annotated[
        str | None,
        chosen(
            "NAME",
            "as --norm; the usual one for batch, as in the papers",
            "Norm of the evaluation networks.",
        ),
    ] = None
    random: Annotated[
        Literal["yes", "no"],
        arg(help="Also train on random real images, the same for all methods of a seed."),
    ] = "yes"
    whole: Annotated[
        Literal["auto", "yes", "no"],
        arg(help="Also train on the whole real set; auto: where that is short."),
    ] = "auto"


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where the run lives."""

    seed: Annotated[int, number("INT", "Same seed, same set.")] = 0
    out: Annotated[
        Path | None,
        chosen("FOLDER", "runs/METHOD-DATA-ipcN-seedS", "The run directory."),
    ] = None
    resume: Annotated[
        bool, arg(help="Go on where the run in the run directory stopped, bit for bit.")
    ] = False
    save_every: Annotated[float, number("MINUTES", "Minutes between checkpoints.")] = 10.0


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Train fresh networks on a distilled set (or on real images) and test them.

    The set says which data set, network and protocol it is meant for; options override it.
    """

    set: Annotated[
        Positional[str],
        arg(
            metavar="SET",
            help="A .safetensors file, a run directory, or real images: random, herding, k-centre or whole.",
        ),
    ]
    data: Annotated[
        str | None, chosen("NAME", "the set's; digits with real images", "Data set to test on.")
    ] = None
    data_dir: Annotated[
        Path | None,
        chosen("PATH", "$JDD_DATA_DIR", "Where the published sets lie."),
    ] = None
    classes: Annotated[
        tuple[str, ...], chosen("CLASS", "the set's", "Only these classes, with real images.")
    ] = ()
    ipc: Annotated[int | None, chosen("N", "1", "Images per class, with real images.")] = None
    sets: Annotated[
        int | None,
        chosen("N", "1", "Subsets of real images, each with so many networks."),
    ] = None
    protocol: Annotated[
        str | None,
        chosen(
            "NAME",
            "the set's; dc with real images, 15 epochs with whole",
            "How networks train; see jdd methods.",
        ),
    ] = None
    networks: Annotated[int | None, chosen("N", "20; 1 with whole", "Networks per set.")] = None
    coreset_epochs: Annotated[int | None, CORESET_EPOCHS] = None
    eval_epochs: Annotated[
        int | None, chosen("EPOCHS", "the protocol's", "Epochs; changes the protocol.")
    ] = None
    seed: Annotated[int, number("INT", "Of networks and random subsets.")] = 0
    baseline: Annotated[
        Literal["random", "herding", "k-centre", "whole", "none"],
        arg(help="What a distilled set is compared with."),
    ] = "random"
    models: Annotated[
        str | None,
        chosen(
            "NAMES",
            "the set's network for evaluation, or convnet",
            "Networks with commas between them, as in --models convnet,mlp,resnet18, or pools of the papers: "
            "M (six architectures), B (batch norm), W, D, A, P, N (convnets), S, SS (the set's own network "
            "without and with its batch norm); see jdd methods.",
        ),
    ] = None
    width: Annotated[int | None, chosen("CHANNELS", "the network's", "Of convnet.")] = None
    depth: Annotated[int | None, chosen("BLOCKS", "the network's", "Of convnet.")] = None
    norm: Annotated[
        str | None, chosen("NAME", "the network's", "Of all networks that have one.")
    ] = None
    activation: Annotated[str | None, chosen("NAME", "the network's", "Of convnet.")] = None
    pooling: Annotated[str | None, chosen("NAME", "the network's", "Of convnet.")] = None
    downsampling: Annotated[str | None, chosen("NAME", "the network's", "Of resnet18.")] = None
    out: Annotated[
        Path | None, chosen("FILE", "only print", "Write the result to this JSON file.")
    ] = None


@dataclasses.dataclass(frozen=True)
class Show:
    """Say what a distilled set is, and draw it class by class."""

    set: Annotated[
        Positional[Path], arg(metavar="SET", help="A .safetensors file, or a run directory.")
    ]
    out: Annotated[Path | None, chosen("FILE", "SET with .png", "The picture to write.")] = None
    overwrite: Annotated[bool, arg(help="Replace the picture if it exists.")] = False


@dataclasses.dataclass(frozen=True)
class Methods:
    """List the methods, the evaluation protocols and the networks."""
