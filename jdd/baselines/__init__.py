"""Baselines: networks trained on real images (random ones, ones chosen by their features, or all)."""

from __future__ import annotations

from collections.abc import Callable

from jdd.baselines.coresets import CORESET_EPOCHS as CORESET_EPOCHS
from jdd.baselines.coresets import SELECTIONS as SELECTIONS
from jdd.baselines.coresets import coreset_images as coreset_images
from jdd.baselines.coresets import from_herding as from_herding
from jdd.baselines.coresets import from_k_centre as from_k_centre
from jdd.baselines.coresets import select_images as select_images
from jdd.baselines.coresets import train_on_all as train_on_all
from jdd.baselines.real_sets import WHOLE_SET as WHOLE_SET
from jdd.baselines.real_sets import evaluate_real_sets as evaluate_real_sets
from jdd.baselines.real_sets import evaluate_whole_set as evaluate_whole_set
from jdd.baselines.real_sets import real_set as real_set
from jdd.baselines.real_sets import whole_set as whole_set
from jdd.baselines.selection import herding as herding
from jdd.baselines.selection import k_centre as k_centre
from jdd.synthetic import Initial, from_real

BASELINES: dict[str, Callable[[], Initial]] = {
    "random": from_real,
    "herding": from_herding,
    "k-centre": from_k_centre,
}
"""Subsets of real images by their name on the command line, which also has "whole"."""
