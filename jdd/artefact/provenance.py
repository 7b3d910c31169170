"""Which software made a set."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
"""The folder that holds the package: a git checkout for developers, ``site-packages`` for others."""


def versions() -> dict[str, str]:
    """Returns the running versions of Python, jdd, jax, jaxlib and flax, and the commit of a checkout.

    >>> sorted(set(versions()) - {"commit"})
    ['flax', 'jax', 'jaxlib', 'jdd', 'python']
    """
    running = {"python": platform.python_version()}
    for package in ("jdd", "jax", "jaxlib", "flax"):
        try:
            running[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            running[package] = "not installed"
    commit = checkout_commit(CHECKOUT)
    return running | ({"commit": commit} if commit else {})


@functools.cache
def checkout_commit(folder: Path) -> str:
    """Returns the commit of a git checkout, with "-dirty" if files were changed since.

    Args:
      folder: the top of the checkout.

    Returns:
      What ``git describe --always --dirty`` prints; empty if the folder is not the top of a checkout, git
      is not installed, or git fails.
    """
    # An installed package may lie inside the checkout of another project.
    if not (folder / ".git").exists():
        return ""
    # A git hook sets GIT_DIR and others, which would name another checkout.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
