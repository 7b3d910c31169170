"""The direction of imports that the layout promises, and what an import brings along."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import jdd
from jdd import methods

ROOT = Path(jdd.__file__).parent
# A layer may import those before it. (A preset knows the protocol of its paper, and initial images come
# from the class table: evaluate and data are below methods.)
ORDER = (
    "losses augment nn interop data datasets matching synthetic training evaluate baselines methods "
    "configuration artefact checkpoint runs experts cli"
).split()
# Import nothing of ours but each other.
BOTTOM = {
    "atomic_write",
    "checksums",
    "choice",
    "differences",
    "file_names",
    "leaves",
    "network_output",
    "streaming",
    "validation",
}


def files_of(layer: str) -> list[Path]:
    single = ROOT / f"{layer}.py"
    return [single] if single.is_file() else [*(ROOT / layer).rglob("*.py")]


def imported(node: ast.AST) -> set[str]:
    """The parts of jdd that a statement imports."""
    if isinstance(node, ast.ImportFrom) and node.module == "jdd":
        return {alias.name for alias in node.names}
    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return {module.split(".")[1] for module in modules if module.startswith("jdd.")}


def is_ours(name: str) -> bool:
    return (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()


@pytest.mark.parametrize("layer", [*sorted(BOTTOM), *ORDER])
def test_a_layer_imports_only_what_is_below_it(layer):
    allowed = {layer, *BOTTOM}
    if layer in ORDER:
        allowed |= set(ORDER[: ORDER.index(layer)])
    files = files_of(layer)
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            above = {name for name in imported(node) if is_ours(name) and name not in allowed}
            assert not above, f"{file.relative_to(ROOT)} imports {above}"


def test_every_module_has_a_place():
    top = {
        path.stem
        for path in ROOT.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert top - {"__init__", "__main__"} == BOTTOM | set(ORDER)


def test_losses_import_nothing_of_ours_but_losses():
    for file in (ROOT / "losses").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                assert not module.startswith("jdd") or module.startswith("jdd.losses")


def modules_after(statement: str) -> set[str]:
    """What is imported, in a fresh process, by one statement."""
    program = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import jdd", "jax flax jdd.choice jdd.methods"),
        ("from jdd import losses", "flax jdd.choice jdd.data jdd.matching jdd.nn"),
        (
            "from jdd import matching",
            "flax jdd.nn jdd.datasets jdd.synthetic jdd.training jdd.evaluate jdd.methods "
            "matplotlib orbax tensorflow_datasets sklearn",
        ),
        ("from jdd import data, augment", "flax jdd.nn jdd.datasets jdd.matching jdd.methods"),
        (
            "import jdd; jdd.dsa(1)",
            "jdd.datasets jdd.artefact jdd.checkpoint jdd.runs jdd.cli matplotlib orbax "
            "tensorflow_datasets sklearn tyro",
        ),
        ("import jdd.cli", "jax flax jdd.choice jdd.methods matplotlib orbax tensorflow_datasets"),
    ],
)
def test_what_an_import_does_not_bring_along(statement, absent):
    assert not modules_after(statement) & set(absent.split())


def test_no_public_name_of_methods_is_also_a_module():
    """``jdd.methods.build`` is the function, whatever was imported before."""
    modules = {info.name for info in pkgutil.iter_modules(methods.__path__)}
    for name in modules:
        importlib.import_module(f"jdd.methods.{name}")
    public = {
        name for name, value in vars(methods).items() if not isinstance(value, types.ModuleType)
    }
    assert not modules & public


def test_every_choice_of_a_recipe_has_a_kind_that_methods_or_below_define():
    for kind in (methods.CHOICES | methods.TRAJECTORY_CHOICES).values():
        assert kind.__module__.split(".")[1] in ORDER[: ORDER.index("methods") + 1]


def test_modules_stay_short():
    long = {f.name: n for f in ROOT.rglob("*.py") if (n := len(f.read_text().splitlines())) > 400}
    assert not long
