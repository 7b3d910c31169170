"""Compiled programs go to the user's cache folder, unless the user chose another."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import pytest

from jdd.runs.compilation_cache import keep_compiled_programs


@pytest.fixture
def folder(monkeypatch):
    """The folder that JAX is configured to use by the call; JAX's own setting stays."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    updates = {}
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)

    def call() -> str | None:
        updates.clear()
        keep_compiled_programs()
        assert set(updates) <= {"jax_compilation_cache_dir"}
        return updates.get("jax_compilation_cache_dir")

    return call


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_the_users_cache_folder(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == str(tmp_path / "jdd" / "jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert folder() == str(Path.home() / ".cache" / "jdd" / "jax")


def test_the_users_choice_is_kept(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    assert folder() is None
