"""Where JAX keeps compiled programs between processes."""

from __future__ import annotations

import os

import platformdirs


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache folder; JAX_COMPILATION_CACHE_DIR takes precedence."""
    import jax  # takes seconds, and `jdd --help` needs none of it

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = platformdirs.user_cache_path("jdd", appauthor=False) / "jax"
        jax.config.update("jax_compilation_cache_dir", str(folder))
