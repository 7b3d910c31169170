"""The machine of a run: device, and the largest memory so far."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import jax


def device() -> dict[str, Any]:
    """The platform and kind of the first device, and how many there are."""
    first = jax.devices()[0]
    kind = {"platform": first.platform, "kind": first.device_kind, "count": jax.device_count()}
    return kind | ({"cores": os.cpu_count()} if first.platform == "cpu" else {})


def peak_memory_mb() -> dict[str, float]:
    """The largest memory that the process, and its accelerator, have held so far."""
    peak = {}
    with contextlib.suppress(ImportError):
        import resource  # POSIX only

        unit = 1 if sys.platform == "darwin" else 1024
        peak["host"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    stats = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        peak["device"] = stats["peak_bytes_in_use"] / 1e6
    return {name: round(value, 1) for name, value in peak.items()}
