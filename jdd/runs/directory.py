"""The folder of one run: configuration, metrics, checkpoints, the set, pictures, the result."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jdd.artefact import versions
from jdd.artefact.decoding import unknown_choices
from jdd.atomic_write import append_line, is_leftover, write_atomically
from jdd.checkpoint import Checkpoints
from jdd.configuration import Configuration
from jdd.differences import differences, of_data, value_text
from jdd.runs.errors import FolderError, OtherConfiguration, one_line
from jdd.runs.lock import LOCK, hold
from jdd.runs.machine import device

SET = "set.safetensors"
CONFIG = "config.json"
RESULT = "result.json"


class RunDirectory:
    """The files of a run. `open` it: a new one is made, an existing one only resumed.

    While it is open no other process can open it.

    Attributes:
      path: the folder.
      config: the content of ``config.json``.
      is_extension: whether this is a longer run than its ``config.json`` states; see `extend`.
      checkpoints: of the whole state, in ``checkpoints/``.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], *, is_extension: bool) -> None:
        self.path = path
        self.config = config
        self.is_extension = is_extension
        self.checkpoints = Checkpoints(path / "checkpoints")

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, path: Path, configuration: Configuration, *, resume: bool, command: str = ""
    ) -> Iterator[RunDirectory]:
        """Makes the folder and writes ``config.json``, or opens that of a run with this configuration.

        Args:
          path: the folder.
          configuration: of the run.
          resume: whether to continue a run that has begun.
          command: what started the run, for its ``config.json``.

        Raises:
          FolderError: if the folder has files and is not to be resumed, there is no run to resume, another
            process holds the folder, or it cannot be made.
          OtherConfiguration: a FolderError, if the run to resume has another configuration.
          OSError: if a file cannot be written in it.
        """
        check_folder(path, resume=resume)
        record = configuration.record()
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(hold(path))
            except (ValueError, OSError) as error:
                raise FolderError(f"folder: {one_line(error)}") from error
            check_folder(path, resume=resume)  # again: now nobody else writes
            now = {"versions": versions(), "device": device(), "command": command}
            config, is_extension = {"configuration": record, **now}, False
            if resume:
                saved, before = read_config(path)
                is_extension = is_longer(before, configuration)
                if not is_extension:
                    refuse_differences(path, before, record)
                    config = saved
            run = cls(path, config, is_extension=is_extension)
            for entry in path.iterdir():
                if is_leftover(entry.name):
                    entry.unlink()
            try:
                if not resume:
                    run.write_json(CONFIG, config)
                yield run
            except BaseException:
                if not resume and not run.has_results():
                    run.remove()
                raise

    def is_complete(self) -> bool:
        """Whether the run was finished, with its whole length."""
        return (self.path / RESULT).exists() and not self.is_extension

    def extend(self) -> None:
        """Makes an extension the run of this folder. Until then the folder is that of the shorter run."""
        if self.is_extension:
            (self.path / RESULT).unlink(missing_ok=True)
            self.write_json(CONFIG, self.config)

    def has_results(self) -> bool:
        """Whether something was computed that a later run can use."""
        return self.checkpoints.latest() is not None or (self.path / SET).exists()

    def remove(self) -> None:
        """Removes the files of a run that failed before it had results; they would block the next one."""
        for name in (CONFIG, "metrics.jsonl", LOCK):
            (self.path / name).unlink(missing_ok=True)
        for folder in (self.path / "checkpoints", self.path):
            with contextlib.suppress(OSError):  # not there, or files of the user's are in it
                folder.rmdir()

    def changed(self) -> list[str]:
        """In words, how versions and device differ from those that the run began with.

        Not a reason to refuse, but bits may differ.
        """
        texts = []
        for part, now in (("versions", versions()), ("device", device())):
            before = self.config.get(part)
            before = before if isinstance(before, Mapping) else {}
            for name in dict.fromkeys([*before, *now]):
                if before.get(name) != now.get(name):
                    was, is_now = before.get(name, "unknown"), now.get(name, "unknown")
                    texts.append(f"{name} {was}, now {is_now}")
        return texts

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds one line to ``metrics.jsonl``."""
        append_line(self.path / "metrics.jsonl", json.dumps(dict(record), allow_nan=False))

    def metrics(self) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``; lines that are damaged or half-written are left out."""
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
        """Drops the records of later steps: the run continues from this one."""
        kept = [record for record in self.metrics() if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_atomically(self.path / "metrics.jsonl", text.encode())

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes a JSON file as a whole or not at all."""
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / name, text.encode())


def check_folder(path: Path, *, resume: bool) -> None:
    """Refuses to begin in a folder with files, and to resume where there is no run.

    Files of a process that was killed before it had written ``config.json`` do not count.

    Raises:
      FolderError: in one line.
    """
    try:
        has_run, exists = (path / CONFIG).is_file(), path.exists()
        names = [entry.name for entry in path.iterdir()] if path.is_dir() else [path.name]
    except OSError as error:  # a name that is too long, a folder that cannot be read
        raise FolderError(f"folder: {one_line(error)}") from error
    if resume and not has_run:
        raise FolderError(f"resume: there is no run in {path}")
    is_free = path.is_dir() and all(name == LOCK or is_leftover(name) for name in names)
    if not resume and exists and not is_free:
        continued = ", or resume its run" if has_run else ""
        raise FolderError(f"{path} already exists: choose another folder{continued}")


def read_config(path: Path) -> tuple[dict[str, Any], Configuration]:
    """The content of the ``config.json`` of a run directory, or of that file, and its configuration.

    Raises:
      FolderError: if it cannot be read, or was written by jdd 0.1.
    """
    file = path / CONFIG if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderError(f"cannot read {file}: {one_line(error)}") from None
    if isinstance(config, dict) and "options" in config:
        raise FolderError(
            f"{file} is of a run of jdd 0.1, which this version cannot continue: its set is still read"
        )
    if not isinstance(config, dict) or not isinstance(config.get("configuration"), dict):
        raise FolderError(f"cannot read {file}: it has no configuration")
    unknown = unknown_choices(config["configuration"])
    if unknown:
        raise FolderError(
            f"cannot read {file}: its choice {unknown[0]!r} is registered by no imported module (JDD_IMPORT "
            "names modules to import)"
        )
    try:
        return config, Configuration.from_record(config["configuration"])
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # a file that was edited
        raise FolderError(f"cannot read {file}: {one_line(error)}") from None


def is_longer(before: Configuration, now: Configuration) -> bool:
    """Whether one configuration continues another with more networks or iterations, and differs in nothing else.

    The evaluations on the way may differ. A recipe whose steps depend on the length of a run (a decay,
    queries, a warm-up) is not continued so.
    """
    recipe = before.recipe
    if type(now.recipe) is not type(recipe) or now.recipe.rounds <= recipe.rounds:
        return False
    if not recipe.is_extensible:
        return False
    longer = dataclasses.replace(
        before,
        recipe=dataclasses.replace(recipe, **{recipe.length: now.recipe.rounds}),
        evaluation=dataclasses.replace(before.evaluation, every=now.evaluation.every),
    )
    return not list(differences(_identity(longer.record()), _identity(now.record())))


def refuse_differences(path: Path, saved: Configuration, now: Mapping[str, Any]) -> None:
    """Raises an `OtherConfiguration` that names an entry in which two configurations differ.

    Data sets are compared by fingerprint: the same images under another name or path are the same. Of
    several entries one that is not within a choice is named: others may follow from it.
    """
    found = list(differences(_identity(saved.record()), _identity(now)))
    if found:
        name, was, is_now = min(found, key=lambda each: max(1, each.entry.count(".")))
        raise OtherConfiguration(
            f"the run in {path} has {name} {value_text(was)}, not {value_text(is_now)}: give the same options, or "
            "begin in another folder",
            name,
        )


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record in the order in which entries are compared, without what does not make another run."""
    identity = {**record, "data": of_data(record["data"])}
    if "experts" in record:  # in another folder they are the same
        identity["experts"] = record["experts"]["fingerprint"]
    return identity


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
