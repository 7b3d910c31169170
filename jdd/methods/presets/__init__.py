"""The papers as recipes. A new preset is one new module here and one line in `PRESETS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jdd.methods.presets.characteristic_functions import ncfm as ncfm
from jdd.methods.presets.contrastive_signals import dcc as dcc
from jdd.methods.presets.contrastive_signals import dsac as dsac
from jdd.methods.presets.distribution_matching import dm as dm
from jdd.methods.presets.efficient_parametrisation import idc as idc
from jdd.methods.presets.feature_alignment import cafe as cafe
from jdd.methods.presets.feature_alignment import cafe_fixed as cafe_fixed
from jdd.methods.presets.gradient_matching import dc as dc
from jdd.methods.presets.representative_matching import dream as dream
from jdd.methods.presets.representative_matching import dream_plus as dream_plus
from jdd.methods.presets.siamese_augmentation import dsa as dsa
from jdd.methods.recipe import Recipe


class Preset(NamedTuple):
    """A method by name.

    Attributes:
      recipe: ``recipe(ipc, *, data, architecture, ...) -> Recipe``; further keyword arguments are options
        of this method alone, on the command line too.
      title: its full name.
      paper: authors, venue and year.
    """

    recipe: Callable[..., Recipe]
    title: str
    paper: str = ""


PRESETS: dict[str, Preset] = {
    "dc": Preset(dc, "Dataset Condensation", "Zhao, Mopuri, Bilen, ICLR 2021"),
    "dsa": Preset(dsa, "Differentiable Siamese Augmentation", "Zhao, Bilen, ICML 2021"),
    "dcc": Preset(dcc, "Dataset Condensation with Contrastive signals", "Lee et al., ICML 2022"),
    "dsac": Preset(dsac, "DCC with Differentiable Siamese Augmentation", "Lee et al., ICML 2022"),
    "dm": Preset(dm, "Distribution Matching", "Zhao, Bilen, WACV 2023"),
    "cafe": Preset(cafe, "Condense dataset by Aligning FEatures", "Wang et al., CVPR 2022"),
    "cafe-fixed": Preset(
        cafe_fixed, "CAFE's objective under fixed loops", "Wang et al., CVPR 2022"
    ),
    "idc": Preset(idc, "Information-intensive Dataset Condensation", "Kim et al., ICML 2022"),
    "dream": Preset(
        dream, "Dataset distillation by REpresentAtive Matching", "Liu et al., ICCV 2023"
    ),
    "dream-plus": Preset(
        dream_plus, "Bidirectional representative matching (DREAM+)", "Liu et al., arXiv 2310.15052"
    ),
    "ncfm": Preset(ncfm, "Neural Characteristic Function Matching", "Wang et al., CVPR 2025"),
}
