"""Fixtures shared by all tests: the arrays that the original PyTorch code produced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="session")
def reference() -> Callable[[str], np.lib.npyio.NpzFile]:
    """``reference("augment")`` opens tests/reference/augment.npz (its README explains each key)."""
    return lambda name: np.load(REFERENCE / f"{name}.npz")
