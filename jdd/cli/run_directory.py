"""The folder of one run: config, metrics, checkpoints, the set, pictures, the result."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jdd.atomic_write import append_line, is_leftover, write_atomically
from jdd.checkpoint import Checkpoints
from jdd.cli.errors import UsageError, blame, one_line
from jdd.cli.places import check_run_folder
from jdd.runs.lock import hold

# What an entry of the options is told by, where that is not an option of its name.
_TOLD_BY = {"train_split": "--data", "method": "METHOD"}


class RunDirectory:
    """The files of a run. ``open`` it: a fresh one is made, an existing one only resumed.

    While it is open no other process can open it.

    Attributes:
      path: the folder.
      config: what ``config.json`` holds.
      checkpoints: of the whole state, in ``checkpoints/``.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.checkpoints = Checkpoints(path / "checkpoints")

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, config: Mapping[str, Any], *, resume: bool) -> Iterator[RunDirectory]:
        """Makes the folder and writes ``config.json``, or goes back to a run with these options.

        Args:
          path: the folder.
          config: JSON; its ``options`` are what makes one run another.
          resume: whether to go on with a run that is there.

        Raises:
          UsageError: if there is something and it is not to be resumed, nothing to resume, the run
            that is there has other options or another process is at work in it, or the folder
            cannot be made.
        """
        check_run_folder(path, resume=resume)
        with contextlib.ExitStack() as stack:
            with blame("--out"):
                stack.enter_context(hold(path))
            check_run_folder(path, resume=resume)  # again: now nobody else writes
            fresh = json.loads(json.dumps(config))
            run = cls(path, _saved(path) if resume else fresh)
            if resume:
                _refuse_differences(path, run.config["options"], fresh["options"])
            with blame("--out"):
                for entry in path.iterdir():
                    if is_leftover(entry.name):
                        entry.unlink()
                if not resume:
                    run.write_json("config.json", fresh)
            yield run

    def changed(self, now: Mapping[str, Any]) -> list[str]:
        """In words, how versions and device differ from those that the run began with.

        Not a reason to refuse, but bits may differ.
        """
        texts = []
        for part in ("versions", "device"):
            began, given = self.config.get(part), dict(now[part])
            began = began if isinstance(began, dict) else {}
            for name in [*began, *(name for name in given if name not in began)]:
                if began.get(name) != given.get(name):
                    texts.append(f"{name} {_said(began.get(name))}, now {_said(given.get(name))}")
        return texts

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds one line to ``metrics.jsonl``."""
        append_line(self.path / "metrics.jsonl", json.dumps(dict(record), allow_nan=False))

    def metrics(self) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``; a line that is damaged, or half-written, is passed over."""
        file = self.path / "metrics.jsonl"
        if not file.exists():
            return []
        records = []
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line, parse_constant=_refuse_constant)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                records.append(record)
        return records

    def rewind(self, step: int) -> None:
        """Drops the records of later steps: the run goes on from this one."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        self._write("metrics.jsonl", text)

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file as a whole or not at all."""
        self._write(name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.path / name, text.encode())


def _saved(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {file}: {one_line(error)} (option --resume)") from None
    if not isinstance(saved, dict) or not isinstance(saved.get("options"), dict):
        raise UsageError(f"cannot read {file}: it has no options (option --resume)")
    return saved


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _said(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _refuse_differences(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    # The ConvNet goes without saying; first, because another network comes with other options.
    saved, now = ({"model": "convnet", **options} for options in (saved, now))
    for name in [*saved, *(name for name in now if name not in saved)]:
        if saved.get(name) != now.get(name):
            was, given = json.dumps(saved.get(name)), json.dumps(now.get(name))
            option = _TOLD_BY.get(name, "--" + name.replace("_", "-"))
            raise UsageError(f"the run in {path} has {name} {was}, not {given} (option {option})")
