"""The Python of the README and of the pages in docs/ runs, block after block, as a reader would type it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jdd import choice, methods, nn

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    file.name
    for file in (ROOT / "docs").glob("*.md")
    if "```python" in file.read_text(encoding="utf-8")
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """``run(page)``: the names that all blocks of a page define, one after the other."""

    def blocks(page: str) -> dict[str, Any]:
        text = (ROOT / page).read_text(encoding="utf-8")
        names: dict[str, Any] = {"__name__": "page"}
        for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            exec(compile(block, page, "exec"), names)
        return names

    # A smaller network compiles in a tenth of the time.
    monkeypatch.setattr(nn, "convnet", functools.partial(nn.convnet, width=4, depth=1))
    monkeypatch.chdir(ROOT)
    tables: list[dict[str, Any]] = [choice.FACTORIES, methods.PRESETS]
    before = [dict(table) for table in tables]
    yield blocks
    for table, content in zip(tables, before, strict=True):
        for name in table.keys() - content.keys():
            del table[name]


def test_the_readme(run):
    names = run("README.md")
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


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_pages(run, page):
    assert len(run(f"docs/{page}")) > 2
