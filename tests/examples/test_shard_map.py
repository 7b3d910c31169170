"""Losses and objectives under ``shard_map``, on two devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jdd

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs


def test_classes_over_two_devices():
    path = os.pathsep.join([str(Path(jdd.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    two = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("two_devices.py")],
        env={**os.environ, **two},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"after {done.stdout.split()}: {done.stderr}"
    names = "losses sums convolutions training gradients dc dsa dm cafe".split()
    assert done.stdout.split() == [f"check_{name}" for name in names]
