"""Dataset distillation as pure functions, in JAX.

Every method is the same choices made differently: what is learned (``synthetic``), which real images
are matched (``data``), what both sides go through (``augment``), what must agree (``matching`` over
``losses``), and how the network moves in between (``methods``, ``training``). A `Recipe` holds them.

>>> import jdd
>>> recipe = jdd.dm(ipc=10, data="cifar10")
>>> recipe.objective, recipe.motion
(class_embeddings(), never())
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jdd import artefact as artefact
    from jdd import augment as augment
    from jdd import baselines as baselines
    from jdd import choice as choice
    from jdd import configuration as configuration
    from jdd import data as data
    from jdd import datasets as datasets
    from jdd import evaluate as evaluate
    from jdd import experts as experts
    from jdd import interop as interop
    from jdd import losses as losses
    from jdd import matching as matching
    from jdd import methods as methods
    from jdd import nn as nn
    from jdd import runs as runs
    from jdd import synthetic as synthetic
    from jdd import training as training
    from jdd.artefact import DistilledSet as DistilledSet
    from jdd.choice import register as register
    from jdd.choice import register_function as register_function
    from jdd.datasets import load_dataset as load_dataset
    from jdd.methods import Recipe as Recipe
    from jdd.methods import TrajectoryRecipe as TrajectoryRecipe
    from jdd.methods import build as build
    from jdd.methods import cafe as cafe
    from jdd.methods import cafe_fixed as cafe_fixed
    from jdd.methods import datm as datm
    from jdd.methods import dc as dc
    from jdd.methods import dcc as dcc
    from jdd.methods import dm as dm
    from jdd.methods import dream as dream
    from jdd.methods import dream_plus as dream_plus
    from jdd.methods import dsa as dsa
    from jdd.methods import dsac as dsac
    from jdd.methods import ftd as ftd
    from jdd.methods import haba as haba
    from jdd.methods import idc as idc
    from jdd.methods import mtt as mtt
    from jdd.methods import ncfm as ncfm
    from jdd.methods import tesla as tesla

try:
    __version__ = version("jdd")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

_MODULES = (
    "artefact",
    "augment",
    "baselines",
    "choice",
    "configuration",
    "data",
    "datasets",
    "evaluate",
    "experts",
    "interop",
    "losses",
    "matching",
    "methods",
    "nn",
    "runs",
    "synthetic",
    "training",
)
_NAMES = {
    "DistilledSet": "artefact",
    "register": "choice",
    "register_function": "choice",
    "load_dataset": "datasets",
    **dict.fromkeys(
        "Recipe TrajectoryRecipe build dc dsa dcc dsac dm cafe cafe_fixed idc dream dream_plus ncfm mtt tesla "
        "ftd datm haba".split(),
        "methods",
    ),
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `jdd --help` and a user of one loss should not wait for all of it.
    if name in _MODULES:
        return importlib.import_module(f"jdd.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"jdd.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'jdd' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
