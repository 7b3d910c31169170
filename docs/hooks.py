"""Lets pages link to the kept results as a reader of the repository does: ``../experiments/...``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pictures and JSON files of experiments/results to the site."""
    for path in sorted(RESULTS.rglob("*")):
        if path.suffix in (".png", ".json", ".jsonl"):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Points links from ``../experiments`` to the copies that ``on_files`` has added."""
    return markdown.replace("](../experiments/results/", "](experiments/results/")
