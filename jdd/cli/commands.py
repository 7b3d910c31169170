"""The commands as frozen records, one per method to distil by: which options each has."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

from tyro.conf import subcommand

from jdd.cli.options import (
    CORESET_EPOCHS,
    DataOptions,
    Evaluate,
    GradientOptions,
    LoopOptions,
    MatchOptions,
    Methods,
    NetworkOptions,
    QueryOptions,
    ReportOptions,
    RunOptions,
    Show,
    chosen,
    number,
)

_INIT = number(
    "NAME", "Images start at: real (random images), herding or k-centre (chosen images), or noise."
)
_STRATEGY = chosen(
    "OPS",
    "all; without flip for digits, mnist, svhn",
    "Augmentations of color, crop, cutout, flip, scale, rotate, joined by _; or none.",
)
_WARM_UP_NETWORKS = chosen("K", "a quarter", "Networks that start with class-wise matching.")
_WARM_UP_UPDATES = chosen("T", "10, or all", "Class-wise updates of each of them.")


@dataclasses.dataclass(frozen=True)
class Distill:
    """What every method of matching networks is told."""

    method: ClassVar[str] = ""

    ipc: Annotated[int, number("N", "Synthetic images per class.")] = 1
    init: Annotated[str, _INIT] = "noise"
    coreset_epochs: Annotated[int | None, CORESET_EPOCHS] = None
    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    run: RunOptions = dataclasses.field(default_factory=RunOptions)
    match: MatchOptions = dataclasses.field(default_factory=MatchOptions)
    network: NetworkOptions = dataclasses.field(default_factory=NetworkOptions)
    report: ReportOptions = dataclasses.field(default_factory=ReportOptions)

    def own(self) -> dict[str, Any]:
        """The options that this method has and others have not."""
        common = {field.name for field in dataclasses.fields(Distill)} | {
            "loop",
            "gradient",
            "query",
        }
        names = [field.name for field in dataclasses.fields(self) if field.name not in common]
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True)
class FixedLoops(Distill):
    """What every method with fixed loops is told besides."""

    loop: LoopOptions = dataclasses.field(default_factory=LoopOptions)


@dataclasses.dataclass(frozen=True)
class GradientMatching(FixedLoops):
    """What every method that matches gradients is told besides."""

    gradient: GradientOptions = dataclasses.field(default_factory=GradientOptions)


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
    warm_up_networks: Annotated[int | None, _WARM_UP_NETWORKS] = None
    warm_up_updates: Annotated[int | None, _WARM_UP_UPDATES] = None


@dataclasses.dataclass(frozen=True)
class Dsac(Dcc):
    """DCC under one siamese augmentation per class (Lee et al., ICML 2022).

    Gradients are summed over classes before they are matched, after a class-wise warm-up.
    """

    method: ClassVar[str] = "dsac"

    strategy: Annotated[str | None, _STRATEGY] = None


@dataclasses.dataclass(frozen=True)
class Dm(FixedLoops):
    """Distribution Matching (Zhao and Bilen, WACV 2023).

    Mean embeddings of real and synthetic images are matched on random networks, class by class.
    """

    method: ClassVar[str] = "dm"

    init: Annotated[str, _INIT] = "real"
    strategy: Annotated[str | None, _STRATEGY] = None
    networks_per_update: Annotated[
        int, number("K", "Networks that the loss of an update is averaged over.")
    ] = 1


@dataclasses.dataclass(frozen=True)
class FeatureAlignment(Distill):
    """What every method that aligns features of all layers is told besides."""

    strategy: Annotated[
        str, number("OPS", "color, crop, cutout, flip, scale, rotate, joined by _; or none.")
    ] = "none"
    layer_weights: Annotated[
        tuple[float, ...],
        chosen(
            "WEIGHT",
            "1 for the last three, 0.1 before",
            "Of each tap of the network, and last of its embedding.",
        ),
    ] = ()
    discrimination: Annotated[
        float, number("WEIGHT", "Of the discrimination of real images by synthetic ones.")
    ] = 0.01


@dataclasses.dataclass(frozen=True)
class Cafe(FeatureAlignment):
    """CAFE: aligning features (Wang et al., CVPR 2022).

    Features of every layer are aligned, on networks that are trained and left by how they answer
    queries.
    """

    method: ClassVar[str] = "cafe"

    query: QueryOptions = dataclasses.field(default_factory=QueryOptions)


@dataclasses.dataclass(frozen=True)
class CafeFixed(FeatureAlignment, FixedLoops):
    """CAFE's objective under fixed loops: the ablation of its schedule (Wang et al., CVPR 2022).

    Features of every layer are aligned, with DC's loop counts.
    """

    method: ClassVar[str] = "cafe-fixed"


Command = (
    Annotated[
        Annotated[Dsa, subcommand("dsa")]
        | Annotated[Dc, subcommand("dc")]
        | Annotated[Dcc, subcommand("dcc")]
        | Annotated[Dsac, subcommand("dsac")]
        | Annotated[Dm, subcommand("dm")]
        | Annotated[Cafe, subcommand("cafe")]
        | Annotated[CafeFixed, subcommand("cafe-fixed")],
        subcommand("distill", description="Distil a data set: jdd distill METHOD [OPTIONS]."),
    ]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Show, subcommand("show")]
    | Annotated[Methods, subcommand("methods")]
)
