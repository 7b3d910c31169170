"""Every method and command under JAX's strict settings, with the same results as without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jdd.artefact import DistilledSet
from jdd.methods import PRESETS
from tests.cli.conftest import QUICK, Outcome
from tests.cli.subprocesses import in_one_process

pytestmark = pytest.mark.slow

SMALL = "--classes 0 1 --width 4 --depth 1 --real-batch 8 --networks 1 --updates 2".split()
OWN = {
    "cafe": "--window 2 --query 8 --max-epochs 2".split(),
    "dsa": ["--strategy", "crop_scale"],
    "dsac": ["--strategy", "crop"],
    "dm": ["--strategy", "color_cutout", "--norm", "batch"],
    "dc": ["--norm", "batch"],
}
OF_REAL_IMAGES = "--classes 0 1 --width 4 --depth 1 --networks 1 --eval-epochs 1".split()
COMMANDS = {
    **{name: ["distill", name, *SMALL, *OWN.get(name, []), *QUICK] for name in PRESETS},
    "random": ["evaluate", "random", *OF_REAL_IMAGES, "--protocol", "dsa-no-flip"],
    "whole": ["evaluate", "whole", *OF_REAL_IMAGES],
    "herding": ["evaluate", "from_herding(1)", *OF_REAL_IMAGES],
    "set": ["evaluate", "dsa", "--networks", "1", "--eval-epochs", "1", "--baseline", "none"],
    "show": ["show", "dm", "--out", "dm.png"],
}
SETTINGS = {
    "usual": {},
    "64 bits": {"JAX_ENABLE_X64": "1"},
    "ranks": {"JAX_NUMPY_RANK_PROMOTION": "raise"},
    "nans": {"JAX_DEBUG_NANS": "1"},
}


def outcomes(setting: str, folder: Path) -> dict[str, Outcome]:
    """The outcomes of all commands under a setting, in one process."""
    commands = []
    for name, words in COMMANDS.items():
        file = {"distill": name, "evaluate": f"{name}.json"}.get(words[0])
        commands.append([*words, "--out", file] if file else words)
    return dict(zip(COMMANDS, in_one_process(commands, SETTINGS[setting], folder), strict=True))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usual")
    for name, outcome in outcomes("usual", folder).items():
        assert outcome.code == 0, (name, outcome.err)
    return folder


@pytest.mark.parametrize("setting", [name for name in SETTINGS if name != "usual"])
def test_every_command_works_with_the_same_results(setting, usual: Path, tmp_path):
    failures = {
        name: outcome.err
        for name, outcome in outcomes(setting, tmp_path).items()
        if outcome.code != 0 or "warning" in outcome.err.lower()
    }
    assert not failures
    different = []
    for name in PRESETS:
        sets = [
            DistilledSet.load(folder / name / "set.safetensors") for folder in (usual, tmp_path)
        ]
        images = [each.images for each in sets]
        assert images[0].dtype == images[1].dtype == np.float32
        if not np.allclose(*images, rtol=1e-4, atol=1e-4):
            different.append(name)
    assert not different
