"""Every method and command under JAX's strict settings, with the same results as without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jdd.artefact import DistilledSet
from tests.cli.conftest import QUICK, Outcome
from tests.cli.subprocesses import in_one_process
from tests.methods.small_runs import NETWORK_PRESETS

pytestmark = pytest.mark.slow

SMALL = "--classes 0 1 --width 4 --depth 1 --real-batch 8 --networks 1 --updates 2".split()
OWN = {
    "cafe": "--window 2 --query 8 --max-epochs 2".split(),
    "dsa": ["--strategy", "crop_scale"],
    "dsac": ["--strategy", "crop"],
    "dm": ["--strategy", "color_cutout", "--norm", "batch"],
    "dc": ["--norm", "batch"],
}
# The objectives and motions of the others are those of these, or are traced as a whole.
RUN = ("dsa", "dm", "cafe", "ncfm")
DISTIL = {name: ["distill", name, *SMALL, *OWN.get(name, []), *QUICK] for name in NETWORK_PRESETS}
OF_REAL_IMAGES = "--classes 0 1 --width 4 --depth 1 --networks 1 --eval-epochs 1".split()
EXPERTS = "--classes 0 1 --width 4 --depth 1 --experts 2 --epochs 4 --normalisation zca".split()
DATM = "--classes 0 1 --width 4 --depth 1 --steps 3 --iterations 3 --skip-above 50".split()
COMMANDS = {
    "whitened experts": ["experts", *EXPERTS, "--out", "whitened"],
    "datm": ["distill", "datm", *DATM, *QUICK, "--experts", "whitened", "--out", "datm"],
    "random": ["evaluate", "random", *OF_REAL_IMAGES, "--protocol", "dsa-no-flip"],
    "herding": ["evaluate", "from_herding(1)", *OF_REAL_IMAGES],
    "set": ["evaluate", "dm", "--networks", "1", "--eval-epochs", "1", "--baseline", "none"],
    "show": ["show", "dm", "--out", "dm.png"],
    "experts": (
        "experts --classes 0 1 --width 4 --depth 1 --experts 1 --epochs 1 --normalisation zca "
        "--flatness flat_trajectory --augment batch_standardised(dsa_augmentation('crop'))"
    ).split(),
}
# Two that show faults where a program is traced are one setting.
SETTINGS = {
    "64 bits, ranks": {"JAX_ENABLE_X64": "1", "JAX_NUMPY_RANK_PROMOTION": "raise"},
    "nans": {"JAX_DEBUG_NANS": "1"},
}


def commands_of(setting: str) -> dict[str, list[str]]:
    """The commands under a setting."""
    commands = {name: [*DISTIL[name], "--out", name] for name in RUN} | COMMANDS
    if setting == "64 bits, ranks":
        commands |= {
            f"trace {name}": ["trace", *DISTIL[name]] for name in DISTIL if name not in RUN
        }
    return commands


def outcomes(
    commands: dict[str, list[str]], changes: dict[str, str], folder: Path
) -> dict[str, Outcome]:
    """The outcomes of commands under a setting, in one process."""
    folder.mkdir()
    return dict(zip(commands, in_one_process([*commands.values()], changes, folder), strict=True))


def test_every_command_works_with_the_same_results(tmp_path):
    failures, different = {}, []
    for setting, changes in {"usual": {}, **SETTINGS}.items():
        commands = commands_of(setting)
        for name, outcome in outcomes(commands, changes, tmp_path / setting).items():
            if outcome.code != 0 or "warning" in outcome.err.lower():
                failures[setting, name] = outcome.err
        for name in (*RUN, "datm"):
            usual, images = (
                DistilledSet.load(tmp_path / each / name / "set.safetensors").images
                for each in ("usual", setting)
            )
            assert usual.dtype == images.dtype == np.float32
            if not np.allclose(usual, images, rtol=1e-4, atol=1e-4):
                different.append((setting, name))
    assert not failures and not different
