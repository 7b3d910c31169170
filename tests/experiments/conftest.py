"""Scripts of ``experiments/`` as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def load_script(monkeypatch, tmp_path):
    """Imports a script as the experiments see it, from their own folder; its results go to tmp_path."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    before = set(sys.modules)

    def load(name):
        script = importlib.import_module(name)
        monkeypatch.setattr(script, "RESULTS", tmp_path)
        return script

    yield load
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(EXPERIMENTS)):
            del sys.modules[name]
