"""The README's Python runs, block after block, as a reader would type it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

README = Path(__file__).parents[2] / "README.md"


def test_python_blocks():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["state"].step == 10 and np.isfinite(names["matching_losses"]).all()
    assert names["gradient"].shape == (2, 1, 8, 8, 3) and jax.numpy.isfinite(names["distance"])
    assert 0 <= names["found"].mean <= 1
