"""Options of the command line as frozen records, read by tyro. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg
from tyro.constructors import PrimitiveConstructorSpec


def _read_by(kind: Callable[[str], Any], description: str = "") -> PrimitiveConstructorSpec[Any]:
    """How one word becomes a value. (The parser's own would read the word None as no value.)"""

    def from_words(words: list[str]) -> Any:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"must be {description}, got {words[0]!r}") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="VALUE",
        instance_from_str=from_words,
        is_instance=lambda value: True,
        str_from_instance=lambda value: [str(value)],
    )


WHOLE = _read_by(int, "a whole number")
NUMBER = _read_by(float, "a number")
TEXT = _read_by(str)
PATH = _read_by(Path)


def option(metavar: str, text: str, default: str = "") -> Any:
    """An option; ``default`` in words where it is worked out when the command runs."""
    if default:
        return arg(metavar=metavar, help=text, help_behavior_hint=f"(default: {default})")
    return arg(metavar=metavar, help=text)


def choice(text: str) -> Any:
    """A choice of the recipe, written as the call that makes it."""
    return option("CALL", text, "the method's")


# Options that several commands have.
_DataDir = Annotated[
    Path | None, PATH, option("PATH", "Where the published sets are.", "$JDD_DATA_DIR")
]
_RunFolder = Annotated[
    Path | None, PATH, option("FOLDER", "The run directory.", "runs/METHOD-DATA-ipcN-seedS")
]
_Resume = Annotated[bool, arg(help="Continue the run in the run directory, bit for bit.")]
_SaveEvery = Annotated[float, NUMBER, option("MINUTES", "Between two checkpoints.")]


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """What is distilled."""

    data: Annotated[
        str,
        option(
            "NAME",
            "digits, mnist, fashion_mnist, svhn, cifar10, cifar100, cifar100-dcc, tiny_imagenet, imagenet32, "
            "imagenet32-GROUP (automobile, truck, lizard, fish, terrier, insect), npz:PATH, folder:PATH, "
            "idx:PATH, cifar:PATH or tfds:NAME.",
        ),
    ] = "digits"
    data_dir: _DataDir = None
    classes: Annotated[
        tuple[str, ...],
        option("CLASS", "Only these classes, by name or index, in this order.", "all"),
    ] = ()
    test_share: Annotated[
        float | None,
        NUMBER,
        option(
            "SHARE", "Share of each class that is test, for folders without a test split.", "none"
        ),
    ] = None


@dataclasses.dataclass(frozen=True)
class NetworkOptions:
    """The network that is matched on; evaluations use it too, apart from its norm."""

    model: Annotated[
        str,
        option(
            "NAME",
            "convnet, mlp, lenet, alexnet, vgg11, resnet18, or a variant such as resnet18bn_ap.",
        ),
    ] = "convnet"
    width: Annotated[int | None, WHOLE, option("CHANNELS", "Of every block of convnet.", "128")] = (
        None
    )
    depth: Annotated[int | None, WHOLE, option("BLOCKS", "Of convnet.", "3")] = None
    norm: Annotated[
        str | None,
        TEXT,
        option(
            "NAME",
            "instance, batch, layer, group or none; mlp and lenet have none.",
            "instance; none for alexnet",
        ),
    ] = None
    activation: Annotated[
        str | None, TEXT, option("NAME", "relu, leaky_relu, sigmoid or swish, of convnet.", "relu")
    ] = None
    pooling: Annotated[str | None, TEXT, option("NAME", "avg, max or none, of convnet.", "avg")] = (
        None
    )
    downsampling: Annotated[
        str | None, TEXT, option("NAME", "stride or avg_pool, of resnet18.", "stride")
    ] = None


@dataclasses.dataclass(frozen=True)
class PlanOptions:
    """What is measured during the run and at its end."""

    eval_networks: Annotated[
        int | None,
        WHOLE,
        option("N", "Networks trained for the final number.", "20; on digits 3"),
    ] = None
    eval_every: Annotated[
        int | None,
        WHOLE,
        option(
            "K",
            "Networks (with trajectories: iterations) of the run between two evaluations; 0: only at the end.",
            "half of them",
        ),
    ] = None
    eval_epochs: Annotated[
        int | None, WHOLE, option("EPOCHS", "Of an evaluation network.", "the protocol's")
    ] = None
    eval_norm: Annotated[
        str | None,
        TEXT,
        option(
            "NAME", "Norm of the evaluation networks.", "as --norm; without batch, as in the papers"
        ),
    ] = None
    random: Annotated[Literal["yes", "no"], arg(help="Also train on random real images.")] = "yes"
    whole: Annotated[
        Literal["auto", "yes", "no"],
        arg(help="Also train on the whole real set; auto: where that is short."),
    ] = "auto"


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Where the run is stored."""

    seed: Annotated[int, WHOLE, option("INT", "Same seed, same set.")] = 0
    out: _RunFolder = None
    resume: _Resume = False
    save_every: _SaveEvery = 10.0


@dataclasses.dataclass(frozen=True)
class Repeat:
    """Repeat a run from its config.json."""

    config: Annotated[Path, option("FILE", "The config.json of a run, or its run directory.")]
    data: Annotated[
        str | None,
        TEXT,
        option("NAME", "Where its data set is now, with the same images.", "as it was"),
    ] = None
    data_dir: _DataDir = None
    experts: Annotated[
        Path | None,
        PATH,
        option("FOLDER", "Where its experts are now, if it matches any.", "as it was"),
    ] = None
    seed: Annotated[int | None, WHOLE, option("INT", "Another seed.", "that of the run")] = None
    out: _RunFolder = None
    resume: _Resume = False
    save_every: _SaveEvery = 10.0


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Train fresh networks on a distilled set, or on real images, and test them.

    The set holds its data set, network and protocol; options replace them.
    """

    set: Annotated[
        Positional[str],
        arg(
            metavar="SET",
            help="A .safetensors file, a run directory, or real images: random, herding, k-centre, whole, "
            "or a call such as from_herding(5).",
        ),
    ]
    data: Annotated[
        str | None,
        TEXT,
        option("NAME", "Data set to test on.", "the set's; digits with real images"),
    ] = None
    data_dir: _DataDir = None
    classes: Annotated[
        tuple[str, ...], option("CLASS", "Only these classes, with real images.", "all")
    ] = ()
    test_share: Annotated[
        float | None,
        NUMBER,
        option("SHARE", "Share of each class that is test, for folders without one.", "the set's"),
    ] = None
    ipc: Annotated[int | None, WHOLE, option("N", "Images per class, with real images.", "1")] = (
        None
    )
    sets: Annotated[
        int | None, WHOLE, option("N", "Subsets of real images, each with so many networks.", "1")
    ] = None
    protocol: Annotated[
        str | None,
        TEXT,
        option(
            "NAME",
            "How networks train; `jdd methods` lists them.",
            "the set's; dc with real images, 15 epochs with whole",
        ),
    ] = None
    networks: Annotated[int | None, WHOLE, option("N", "Networks per set.", "20; 1 with whole")] = (
        None
    )
    eval_epochs: Annotated[
        int | None, WHOLE, option("EPOCHS", "Of training.", "the protocol's")
    ] = None
    seed: Annotated[int, WHOLE, option("INT", "Of networks and random subsets.")] = 0
    baseline: Annotated[
        str,
        option(
            "NAME",
            "Compare a distilled set with: random, herding, k-centre, whole, a call, or none.",
        ),
    ] = "random"
    models: Annotated[
        str | None,
        TEXT,
        option(
            "NAMES",
            "Networks separated by commas, as in convnet,mlp,resnet18, or pools of the papers: M (six "
            "architectures), B (batch norm), W, D, A, P, N (convnets), S, SS (the set's network without and "
            "with its batch norm).",
            "the set's evaluation network, or convnet",
        ),
    ] = None
    width: Annotated[int | None, WHOLE, option("CHANNELS", "Of convnet.", "the network's")] = None
    depth: Annotated[int | None, WHOLE, option("BLOCKS", "Of convnet.", "the network's")] = None
    norm: Annotated[
        str | None, TEXT, option("NAME", "Of all networks that have one.", "the network's")
    ] = None
    activation: Annotated[str | None, TEXT, option("NAME", "Of convnet.", "the network's")] = None
    pooling: Annotated[str | None, TEXT, option("NAME", "Of convnet.", "the network's")] = None
    downsampling: Annotated[str | None, TEXT, option("NAME", "Of resnet18.", "the network's")] = (
        None
    )
    out: Annotated[
        Path | None, PATH, option("FILE", "Write the result to this JSON file.", "none")
    ] = None


@dataclasses.dataclass(frozen=True)
class Show:
    """Describe a distilled set, and draw it class by class."""

    set: Annotated[
        Positional[Path], arg(metavar="SET", help="A .safetensors file, or a run directory.")
    ]
    out: Annotated[Path | None, PATH, option("FILE", "The picture to write.", "SET with .png")] = (
        None
    )
    overwrite: Annotated[bool, arg(help="Replace the picture if it exists.")] = False


@dataclasses.dataclass(frozen=True)
class Export:
    """Write all images of a distilled set, in all their variants, as files for other programs.

    A folder gets a PNG of each image, in a folder for each class. A .npz gets the images as networks see them, and
    loses nothing.
    """

    set: Annotated[
        Positional[Path], arg(metavar="SET", help="A .safetensors file, or a run directory.")
    ]
    out: Annotated[Path, PATH, option("PLACE", "A new folder, or a new file that ends in .npz.")]


@dataclasses.dataclass(frozen=True)
class Methods:
    """List methods, choices, evaluation protocols and networks."""
