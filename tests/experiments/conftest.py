"""Scripts of ``experiments/`` as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def load_script():
    """``load_script("main_table")`` or ``("benchmarks/iteration")``, imported as from its own folder."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:

        def load(name):
            file = EXPERIMENTS / f"{name}.py"
            if str(file.parent) not in sys.path:
                patch.syspath_prepend(str(file.parent))
            return importlib.import_module(file.stem)

        yield load
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(EXPERIMENTS)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def options_of(load_script):
    """``options_of(script, "words of a command")``: the options that a script reads from them."""

    def read(script, words):
        parse = load_script("benchmarks/script").parse
        return parse(script.__file__, script.__doc__, script.Options, words.split())

    return read
