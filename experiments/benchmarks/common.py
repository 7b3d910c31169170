"""What the benchmarks share: timing, the machine, the matrix-product rate, results as JSON."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp


def seconds(function: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, results waited for."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def interleaved(rounds: int, **functions: Callable[[], Any]) -> dict[str, float]:
    """The best time of each function; they take turns, so that all see the same noise."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            best[name] = min(best[name], seconds(function))
    return best


def matrix_product() -> tuple[Callable[[], Any], float]:
    """A 4096 matrix product (the machine's rate) and its GFLOP."""
    a = jnp.ones((4096, 4096))
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(a))
    return lambda: product(a), 2 * 4096**3 / 1e9


def gradient_gflop(
    images: int, width: int = 128, channels: int = 3, side: int = 32, classes: int = 10
) -> float:
    """GFLOP of forward and backward pass of ConvNet-3 as direct convolutions, images without gradient."""
    multiplications = 2 * side**2 * 9 * channels * width
    for s in (side // 2, side // 4):
        multiplications += 3 * s**2 * 9 * width**2
    multiplications += 3 * (side // 8) ** 2 * width * classes
    return 2 * images * multiplications / 1e9


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "platform": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "processor": _cpu("model name") or platform.processor(),
        "avx512": "avx512f" in _cpu("flags"),
        "cores": os.cpu_count(),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _commit() -> str:
    """Of the code that was measured; empty outside a checkout."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu(field: str) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith(field)]
    return found[0] if found else ""


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(path: str | None, command: str, result: Mapping[str, Any]) -> None:
    """Writes a result with the command and the machine that made it."""
    if path is None:
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(
        json.dumps({"command": command, "machine": machine(), **result}, indent=1) + "\n"
    )
    print(f"wrote {path}")
