"""The README's Python runs, block after block, as a reader would type it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jdd import nn

README = Path(__file__).parents[2] / "README.md"


def test_python_blocks(monkeypatch):
    # A smaller network compiles in a tenth of the time.
    monkeypatch.setattr(nn, "convnet", functools.partial(nn.convnet, width=4, depth=1))
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert set(names["gradient"]) == {"kernel", "bias"}
    assert names["gradient"]["kernel"].any()
    assert names["state"].step == 10 and np.isfinite(names["losses"]).all()
    assert names["batch"].images.shape == (10, 1, 1, 8, 8, 1)
    assert names["batch"].labels.tolist() == [[c] for c in range(10)]
    # The composition fits together: one step of it can be traced.
    real, composed = names["data"].Data(names["train"]), names["method"]
    assert composed.recipe is names["mine"] and composed.recipe.updates == 5
    state = jax.eval_shape(composed.init, jax.random.key(0), real)
    after, metrics = jax.eval_shape(composed.step, state, real)
    assert metrics.loss.shape == () and jax.tree.structure(after) == jax.tree.structure(state)
