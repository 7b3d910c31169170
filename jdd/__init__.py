"""Dataset distillation as pure functions, in JAX.

Every method is the same five choices made differently: what is learned (``synthetic``), which real
images are matched (``data``), what both sides go through (``augment``), what must agree
(``matching`` over ``losses``), and how the network moves in between (``methods``, ``training``).

>>> import jdd
>>> sorted(jdd.methods.METHODS)
['cafe', 'cafe-fixed', 'dc', 'dcc', 'dm', 'dsa', 'dsac']
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jdd import augment as augment
    from jdd import data as data
    from jdd import datasets as datasets
    from jdd import evaluate as evaluate
    from jdd import interop as interop
    from jdd import losses as losses
    from jdd import matching as matching
    from jdd import methods as methods
    from jdd import nn as nn
    from jdd import synthetic as synthetic
    from jdd import training as training
    from jdd.artefact import DistilledSet as DistilledSet

try:
    __version__ = version("jdd")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

_SUBPACKAGES = (
    "augment",
    "data",
    "datasets",
    "evaluate",
    "interop",
    "losses",
    "matching",
    "methods",
    "nn",
    "synthetic",
    "training",
)


def __getattr__(name: str) -> Any:
    # Loaded on first use: `jdd --help` and a user of one loss should not wait for all of it.
    if name in _SUBPACKAGES:
        return importlib.import_module(f"jdd.{name}")
    if name == "DistilledSet":
        return importlib.import_module("jdd.artefact").DistilledSet
    raise AttributeError(f"module 'jdd' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES, "DistilledSet"])
