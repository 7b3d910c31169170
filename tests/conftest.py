"""Fixtures shared by all tests: the arrays that the original PyTorch code produced."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

REFERENCE = Path(__file__).parent / "reference"

# Tracing makes many objects that live on, and JAX adds work of its own to every collection.
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def reference() -> Callable[[str], np.lib.npyio.NpzFile]:
    """``reference("augment")`` opens tests/reference/augment.npz (its README explains each key)."""
    return lambda name: np.load(REFERENCE / f"{name}.npz")


# A process may have 65,530 memory maps, and every compiled program takes several: beyond, the process ends.
_MOST_MAPS = 40_000


@pytest.fixture(autouse=True, scope="module")
def few_memory_maps() -> Iterator[None]:
    """Forgets compiled programs after a module, once they take many memory maps."""
    yield
    maps = Path("/proc/self/maps")
    if maps.is_file() and maps.read_bytes().count(b"\n") > _MOST_MAPS:
        jax.clear_caches()
