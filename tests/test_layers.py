"""The direction of imports that the layout promises."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import jdd

ROOT = Path(jdd.__file__).parent
# A layer may import those before it. (A method knows by which protocol its paper is judged, and initial images
# come from the class table: evaluate and data stand lower than in the first design.)
ORDER = "losses augment nn interop data datasets matching synthetic training evaluate baselines methods cli".split()
BELOW_ALL = {"validation", "streaming", "atomic_write", "choice", "network_output"}


@pytest.mark.parametrize("layer", ORDER)
def test_a_layer_imports_only_what_is_below_it(layer):
    allowed = {*BELOW_ALL, *ORDER[: ORDER.index(layer) + 1]}
    if layer == "cli":
        allowed |= {"artefact", "checkpoint"}
    files = list((ROOT / layer).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            above = {name for name in _imported(node) if _is_ours(name) and name not in allowed}
            assert not above, f"{file.relative_to(ROOT)} imports {above}"


def _imported(node: ast.AST) -> set[str]:
    """The parts of jdd that a statement imports."""
    if isinstance(node, ast.ImportFrom) and node.module == "jdd":
        return {alias.name for alias in node.names}
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return {module.split(".")[1] for module in modules if module.startswith("jdd.")}


def _is_ours(name: str) -> bool:
    return (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()


def test_losses_import_nothing_of_ours_but_losses():
    for file in (ROOT / "losses").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                assert not module.startswith("jdd") or module.startswith("jdd.losses")


def test_modules_stay_short():
    long = {f.name: n for f in ROOT.rglob("*.py") if (n := len(f.read_text().splitlines())) > 400}
    assert not long
