"""Resumable runs in a folder: `prepare` a configuration, then `run` it.

Other modules are imported when they are needed: ``draw`` (matplotlib), ``progress`` (rich), ``lock``
(filelock), ``compilation_cache`` (platformdirs).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jdd.configuration import Configuration as Configuration
    from jdd.configuration import DataChoice as DataChoice
    from jdd.configuration import EvaluationPlan as EvaluationPlan
    from jdd.runs.errors import FolderError as FolderError
    from jdd.runs.errors import Interrupted as Interrupted
    from jdd.runs.errors import OtherConfiguration as OtherConfiguration
    from jdd.runs.errors import RunError as RunError
    from jdd.runs.experiment import ChoicesDoNotFit as ChoicesDoNotFit
    from jdd.runs.experiment import Experiment as Experiment
    from jdd.runs.experiment import prepare as prepare
    from jdd.runs.scores import Score as Score
    from jdd.runs.session import Result as Result
    from jdd.runs.session import run as run

_PLACES = {
    "ChoicesDoNotFit": "jdd.runs.experiment",
    "Configuration": "jdd.configuration",
    "DataChoice": "jdd.configuration",
    "EvaluationPlan": "jdd.configuration",
    "Experiment": "jdd.runs.experiment",
    "FolderError": "jdd.runs.errors",
    "Interrupted": "jdd.runs.errors",
    "OtherConfiguration": "jdd.runs.errors",
    "Result": "jdd.runs.session",
    "RunError": "jdd.runs.errors",
    "Score": "jdd.runs.scores",
    "prepare": "jdd.runs.experiment",
    "run": "jdd.runs.session",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: a module that imports `jdd.runs.lock` should not wait for jax.
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'jdd.runs' has no attribute '{name}'")
