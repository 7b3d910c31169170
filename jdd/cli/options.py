"""The command line as frozen records: one per command, read by tyro. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from tyro.conf import Positional, arg, subcommand


def _chosen(metavar: str, by: str, text: str) -> Any:
    """An option whose default is worked out when the command runs."""
    return arg(metavar=metavar, help=text, help_behavior_hint=f"(default: {by})")


def _number(name: str, text: str) -> Any:
    return arg(metavar=name, help=text)


_STARTS = "Images start at: real (random images), herding or k-centre (chosen images), or noise."
_CORESET_EPOCHS = _chosen(
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
        _chosen("PATH", "$JDD_DATA_DIR", "Where the published sets lie."),
    ] = None
    classes: Annotated[
        tuple[str, ...],
        _chosen("CLASS", "all", "Only these classes, by name or index, in this order."),
    ] = ()


@dataclasses.dataclass(frozen=True)
class NetworkOptions:
    """The network that is matched on, and but for its norm evaluated with."""

    model: Annotated[
        str,
        _number(
            "NAME",
            "convnet, mlp, lenet, alexnet, vgg11, resnet18, or a variant such as resnet18bn_ap; see jdd methods.",
        ),
    ] = "convnet"
    width: Annotated[
        int | None, _chosen("CHANNELS", "128", "Channels of every block of convnet.")
    ] = None
    depth: Annotated[
        int | None,
        _chosen("BLOCKS", "3", "Blocks of convolution, norm, activation, pooling of convnet."),
    ] = None
    norm: Annotated[
        str | None,
        _chosen(
            "NAME",
            "instance; none for alexnet",
            "instance, batch, layer, group or none; mlp and lenet have none.",
        ),
    ] = None
    activation: Annotated[
        str | None, _chosen("NAME", "relu", "relu, leaky_relu, sigmoid or swish, of convnet.")
    ] = None
    pooling: Annotated[str | None, _chosen("NAME", "avg", "avg, max or none, of convnet.")] = None
    downsampling: Annotated[
        str | None, _chosen("NAME", "stride", "stride or avg_pool, of resnet18.")
    ] = None


@dataclasses.dataclass(frozen=True)
class LoopOptions:
    """How long, and how fast the images move. Defaults are the paper's."""

    networks: Annotated[
        int | None,
        _chosen("K", "the paper's; on digits fewer", "Fresh random networks that are matched on."),
    ] = None
    updates: Annotated[
        int | None, _chosen("T", "the paper's for this IPC", "Image updates per network.")
    ] = None
    net_epochs: Annotated[
        int | None,
        _chosen(
            "EPOCHS",
            "the paper's for this IPC",
            "Epochs that the network trains on the images between two updates.",
        ),
    ] = None
    learning_rate: Annotated[
        float | None, _chosen("RATE", "the paper's", "Of SGD on the images.")
    ] = None
    momentum: Annotated[float, _number("SHARE", "Of SGD on the images.")] = 0.5
    real_batch: Annotated[int, _number("IMAGES", "Real images per class and update.")] = 256
    over_classes: Annotated[
        str | None,
        _chosen(
            "HOW", "by platform", "Classes one by one (map), at once (vmap), or k at a time (k)."
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class GradientOptions:
    """How gradients are matched."""

    distance: Annotated[
        str,
        _number("NAME", "Between gradients: layerwise-cosine, flat-cosine or squared-error."),
    ] = "layerwise-cosine"
    norm_policy: Annotated[
        str,
        _number(
            "NAME",
            "Of batch norm while matching: frozen (statistics of 16 real images per class) or batch (of each batch).",
        ),
    ] = "frozen"


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """What is measured on the way and at the end."""

    eval_networks: Annotated[
        int | None,
        _chosen(
            "N",
            "20; on digits 3",
            "Networks trained for the final number; a quarter of it on the way.",
        ),
    ] = None
    eval_every: Annotated[
        int | None,
        _chosen(
            "K", "half of the networks", "Networks between two evaluations; 0: only at the end."
        ),
    ] = None
    eval_epochs: Annotated[
        int | None,
        _chosen(
            "EPOCHS", "the protocol's", "Epochs of an evaluation network; changes the protocol."
        ),
    ] = None
    eval_norm: Annotated[
        str | None,
        _chosen(
            "NAME",
            "as --norm; the usual one for batch, as in the papers",
            "Norm of the evaluation networks.",
        ),
    ] = None
    whole: Annotated[
        Literal["auto", "yes", "no"],
        arg(help="Also train on the whole real set; auto: where that is short."),
    ] = "auto"


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where the run lives."""

    seed: Annotated[int, _number("INT", "Same seed, same set.")] = 0
    out: Annotated[
        Path | None,
        _chosen("FOLDER", "runs/METHOD-DATA-ipcN-seedS", "The run directory."),
    ] = None
    resume: Annotated[
        bool, arg(help="Go on where the run in the run directory stopped, bit for bit.")
    ] = False
    save_every: Annotated[float, _number("MINUTES", "Minutes between checkpoints.")] = 10.0


@dataclasses.dataclass(frozen=True)
class Distill:
    """What every method of network matching is told."""

    method: ClassVar[str] = ""

    ipc: Annotated[int, _number("N", "Synthetic images per class.")] = 1
    init: Annotated[str, _number("NAME", _STARTS)] = "noise"
    coreset_epochs: Annotated[int | None, _CORESET_EPOCHS] = None
    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    run: RunOptions = dataclasses.field(default_factory=RunOptions)
    loop: LoopOptions = dataclasses.field(default_factory=LoopOptions)
    network: NetworkOptions = dataclasses.field(default_factory=NetworkOptions)
    report: ReportOptions = dataclasses.field(default_factory=ReportOptions)

    def own(self) -> dict[str, Any]:
        """The options that this method has and others have not."""
        common = {field.name for field in dataclasses.fields(GradientMatching)}
        names = [field.name for field in dataclasses.fields(self) if field.name not in common]
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class GradientMatching(Distill):
    """What every method that matches gradients is told besides."""

    gradient: GradientOptions = dataclasses.field(default_factory=GradientOptions)


_INIT = _number("NAME", _STARTS)
_STRATEGY = _chosen(
    "OPS",
    "all; without flip for digits, mnist, svhn",
    "Augmentations of color, crop, cutout, flip, scale, rotate, joined by _; or none.",
)


@dataclasses.dataclass(frozen=True)
class Dsa(GradientMatching):
    """Differentiable Siamese Augmentation (Zhao and Bilen, ICML 2021).

    Gradients of real and synthetic images are matched class by class under one augmentation.
    """

    method: ClassVar[str] = "dsa"

    init: Annotated[str, _INIT] = "real"
    strategy: Annotated[str | None, _STRATEGY] = None


@dataclasses.dataclass(frozen=True)
class Dc(GradientMatching):
    """Dataset Condensation with gradient matching (Zhao, Mopuri and Bilen, ICLR 2021).

    Gradients of real and synthetic images are matched class by class.
    """

    method: ClassVar[str] = "dc"


@dataclasses.dataclass(frozen=True)
class Dcc(GradientMatching):
    """Dataset Condensation with Contrastive signals (Lee et al., ICML 2022).

    Gradients are summed over classes before they are matched, after a class-wise warm-up.
    """

    method: ClassVar[str] = "dcc"

    init: Annotated[str, _INIT] = "real"
    warm_up_networks: Annotated[
        int | None, _chosen("K", "a quarter", "Networks that start with class-wise matching.")
    ] = None
    warm_up_updates: Annotated[
        int | None, _chosen("T", "10, or all", "Class-wise updates of each of them.")
    ] = None


@dataclasses.dataclass(frozen=True)
class Dsac(Dcc):
    """DCC under one siamese augmentation per class (Lee et al., ICML 2022).

    Gradients are summed over classes before they are matched, after a class-wise warm-up.
    """

    method: ClassVar[str] = "dsac"

    strategy: Annotated[str | None, _STRATEGY] = None


@dataclasses.dataclass(frozen=True)
class Dm(Distill):
    """Distribution Matching (Zhao and Bilen, WACV 2023).

    Mean embeddings of real and synthetic images are matched on random networks, class by class.
    """

    method: ClassVar[str] = "dm"

    init: Annotated[str, _INIT] = "real"
    strategy: Annotated[str | None, _STRATEGY] = None
    networks_per_update: Annotated[
        int, _number("K", "Networks that the loss of an update is averaged over.")
    ] = 1


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
        str | None, _chosen("NAME", "the set's; digits with real images", "Data set to test on.")
    ] = None
    data_dir: Annotated[
        Path | None,
        _chosen("PATH", "$JDD_DATA_DIR", "Where the published sets lie."),
    ] = None
    classes: Annotated[
        tuple[str, ...], _chosen("CLASS", "the set's", "Only these classes, with real images.")
    ] = ()
    ipc: Annotated[int | None, _chosen("N", "1", "Images per class, with real images.")] = None
    sets: Annotated[
        int | None,
        _chosen("N", "1", "Subsets of real images, each with so many networks."),
    ] = None
    protocol: Annotated[
        str | None,
        _chosen(
            "NAME",
            "the set's; dc with real images, 15 epochs with whole",
            "How networks train; see jdd methods.",
        ),
    ] = None
    networks: Annotated[int | None, _chosen("N", "20; 1 with whole", "Networks per set.")] = None
    coreset_epochs: Annotated[int | None, _CORESET_EPOCHS] = None
    eval_epochs: Annotated[
        int | None, _chosen("EPOCHS", "the protocol's", "Epochs; changes the protocol.")
    ] = None
    seed: Annotated[int, _number("INT", "Of networks and random subsets.")] = 0
    baseline: Annotated[
        Literal["random", "herding", "k-centre", "whole", "none"],
        arg(help="What a distilled set is compared with."),
    ] = "random"
    models: Annotated[
        str | None,
        _chosen(
            "NAMES",
            "the set's network for evaluation, or convnet",
            "Networks with commas between them, as in --models convnet,mlp,resnet18, or pools of the papers: "
            "M (six architectures), B (batch norm), W, D, A, P, N (convnets), S, SS (the set's own network "
            "without and with its batch norm); see jdd methods.",
        ),
    ] = None
    width: Annotated[int | None, _chosen("CHANNELS", "the network's", "Of convnet.")] = None
    depth: Annotated[int | None, _chosen("BLOCKS", "the network's", "Of convnet.")] = None
    norm: Annotated[
        str | None, _chosen("NAME", "the network's", "Of all networks that have one.")
    ] = None
    activation: Annotated[str | None, _chosen("NAME", "the network's", "Of convnet.")] = None
    pooling: Annotated[str | None, _chosen("NAME", "the network's", "Of convnet.")] = None
    downsampling: Annotated[str | None, _chosen("NAME", "the network's", "Of resnet18.")] = None
    out: Annotated[
        Path | None, _chosen("FILE", "only print", "Write the result to this JSON file.")
    ] = None


@dataclasses.dataclass(frozen=True)
class Show:
    """Say what a distilled set is, and draw it class by class."""

    set: Annotated[
        Positional[Path], arg(metavar="SET", help="A .safetensors file, or a run directory.")
    ]
    out: Annotated[Path | None, _chosen("FILE", "SET with .png", "The picture to write.")] = None
    overwrite: Annotated[bool, arg(help="Replace the picture if it exists.")] = False


@dataclasses.dataclass(frozen=True)
class Methods:
    """List the methods, the evaluation protocols and the networks."""


Command = (
    Annotated[
        Annotated[Dsa, subcommand("dsa")]
        | Annotated[Dc, subcommand("dc")]
        | Annotated[Dcc, subcommand("dcc")]
        | Annotated[Dsac, subcommand("dsac")]
        | Annotated[Dm, subcommand("dm")],
        subcommand("distill", description="Distil a data set: jdd distill METHOD [OPTIONS]."),
    ]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Show, subcommand("show")]
    | Annotated[Methods, subcommand("methods")]
)
