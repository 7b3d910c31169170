"""The papers as recipes. A new preset is one new module here and one line in `PRESETS`."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from jdd.methods.presets.characteristic_functions import ncfm as ncfm
from jdd.methods.presets.constant_memory import tesla as tesla
from jdd.methods.presets.contrastive_signals import dcc as dcc
from jdd.methods.presets.contrastive_signals import dsac as dsac
from jdd.methods.presets.difficulty_alignment import datm as datm
from jdd.methods.presets.distribution_matching import dm as dm
from jdd.methods.presets.efficient_parametrisation import idc as idc
from jdd.methods.presets.factorisation import haba as haba
from jdd.methods.presets.feature_alignment import cafe as cafe
from jdd.methods.presets.feature_alignment import cafe_fixed as cafe_fixed
from jdd.methods.presets.flat_trajectories import ftd as ftd
from jdd.methods.presets.gradient_matching import dc as dc
from jdd.methods.presets.representative_matching import dream as dream
from jdd.methods.presets.representative_matching import dream_plus as dream_plus
from jdd.methods.presets.siamese_augmentation import dsa as dsa
from jdd.methods.presets.training_trajectories import mtt as mtt
from jdd.methods.recipe import Recipe
from jdd.methods.trajectory_recipe import TrajectoryRecipe


class Preset(NamedTuple):
    """A method by name.

    Attributes:
      recipe: ``recipe(ipc, *, data, architecture, ...) -> Recipe`` or ``TrajectoryRecipe``; further keyword
        arguments are options of this method alone, on the command line too.
      title: its full name.
      paper: authors, venue and year.
    """

    recipe: Callable[..., Any]
    title: str
    paper: str = ""

    @property
    def family(self) -> type[Recipe] | type[TrajectoryRecipe]:
        """The kind of its recipes.

        >>> PRESETS["mtt"].family.__name__, PRESETS["dm"].family.__name__
        ('TrajectoryRecipe', 'Recipe')
        """
        kind = typing.get_type_hints(self.recipe).get("return")
        return TrajectoryRecipe if kind is TrajectoryRecipe else Recipe


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
    "mtt": Preset(mtt, "Matching Training Trajectories", "Cazenavette et al., CVPR 2022"),
    "tesla": Preset(
        tesla, "TrajEctory matching with Soft Label Assignment", "Cui et al., ICML 2023"
    ),
    "ftd": Preset(ftd, "Flat Trajectory Distillation", "Du et al., CVPR 2023"),
    "datm": Preset(datm, "Difficulty-Aligned Trajectory Matching", "Guo et al., ICLR 2024"),
    "haba": Preset(haba, "HAllucinators and BAses", "Liu et al., NeurIPS 2022"),
}
