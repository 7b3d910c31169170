"""The store of experts: snapshots ``[expert, epoch, P]`` in one file, read in parts, with their checksums."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jdd.checksums import array_checksum, json_checksum
from jdd.configuration import DataChoice
from jdd.data import Normalisation, Trajectories
from jdd.differences import differences, of_data, value_text
from jdd.experts.plan import ExpertPlan
from jdd.nn import Network
from jdd.validation import at_least, count

PLAN = "plan.json"
RECORDS = "experts.jsonl"
SNAPSHOTS = "snapshots.f32"
# The same bytes on every machine.
DTYPE = np.dtype("<f4")


@dataclasses.dataclass(frozen=True)
class Store:
    """Complete experts of one plan, in a folder; nothing of them is in memory.

    Attributes:
      path: the folder.
      plan: how they were trained.
      parameters: P, numbers of a network.
      records: of each expert, in order: the checksum of each snapshot, the last loss, the test accuracy.
      experts: their numbers in the file, in order.
      metadata: the content of ``plan.json``.
    """

    path: Path
    plan: ExpertPlan
    parameters: int
    records: tuple[Mapping[str, Any], ...]
    experts: tuple[int, ...]
    metadata: Mapping[str, Any]

    @property
    def num_experts(self) -> int:
        """How many experts are complete."""
        return len(self.experts)

    @property
    def fingerprint(self) -> str:
        """A short hash of the snapshots' checksums: 32 hexadecimal digits.

        Stores with the same fingerprint have the same experts, in the same order.
        """
        return json_checksum({"snapshots": [record["checksums"] for record in self.records]})

    @property
    def normalisation(self) -> Normalisation:
        """What the images went through that the experts were trained on; a run with them uses it too."""
        return self.plan.normalisation

    @property
    def command(self) -> str:
        """The command that trains experts that are missing or damaged anew, or imports them again."""
        imported = any("file" in record for record in self.records)
        if (imported or not self.experts) and self.metadata.get("command"):
            return self.metadata["command"]
        most = max(self.experts, default=0) + 1
        return self.plan.command(most, self.path)

    def first(self, experts: int) -> Store:
        """The same store with its first experts only.

        Raises:
          ValueError: if there are fewer.
        """
        at_least("experts", experts, 1)
        if experts > self.num_experts:
            raise ValueError(
                f"{self.path} has {count(self.num_experts, 'expert')}, not {experts}: to train the others: "
                f"{self.plan.command(experts, self.path)}"
            )
        return dataclasses.replace(
            self, records=self.records[:experts], experts=self.experts[:experts]
        )

    def trajectories(
        self, *, epochs: int | None = None, experts: int | None = None
    ) -> Trajectories:
        """Reads the first epochs of the first experts, checks them, and moves them to the device.

        Args:
          epochs: E: the initialisation and the parameters after the epochs 1 to E are read; None for all.
          experts: how many; None for all.

        Returns:
          Snapshots float32 ``[experts, E + 1, P]``.

        Raises:
          ValueError: if there are fewer, or what is read is damaged or cut; the message names the command
            that helps.
        """
        store = self if experts is None else self.first(experts)
        stored = self.plan.epochs
        epochs = stored if epochs is None else at_least("epochs", epochs, 0)
        if epochs > stored:
            longer = dataclasses.replace(self.plan, epochs=epochs)
            raise ValueError(
                f"the experts in {self.path} have {count(stored, 'epoch')}, {epochs} are needed: train others "
                f"in another folder: {longer.command(self.num_experts)} --out FOLDER"
            )
        snapshots = np.empty((store.num_experts, epochs + 1, self.parameters), np.float32)
        for i in range(store.num_experts):
            snapshots[i] = store.read(i, epochs + 1)
        return Trajectories(jnp.asarray(snapshots))

    def read(self, i: int, snapshots: int) -> np.ndarray:
        """The first snapshots ``[snapshots, P]`` of the i-th expert, on the host, memory-mapped.

        Raises:
          ValueError: if one is damaged or cut.
        """
        expert, record = self.experts[i], self.records[i]
        mapped = self._mapped(expert)
        for t in range(snapshots):
            if mapped is None or array_checksum(mapped[t]) != record["checksums"][t]:
                kind = "cut" if mapped is None else f"damaged (after epoch {t})"
                raise ValueError(
                    f"expert {expert} in {self.path} is {kind}: to train it anew: {self.command}"
                )
        assert mapped is not None
        return mapped[:snapshots]

    def is_intact(self, i: int) -> bool:
        """Whether all snapshots of the i-th expert are as they were written."""
        try:
            self.read(i, self.plan.epochs + 1)
        except ValueError:
            return False
        return True

    def _mapped(self, expert: int) -> np.ndarray | None:
        """All snapshots of an expert; None where the file ends before."""
        shape = (self.plan.epochs + 1, self.parameters)
        size = shape[0] * shape[1] * DTYPE.itemsize
        file = self.path / SNAPSHOTS
        if not file.is_file() or os.path.getsize(file) < (expert + 1) * size:
            return None
        return np.memmap(file, DTYPE, "r", expert * size, shape)

    def check(
        self,
        data: DataChoice,
        network: Network,
        normalisation: Normalisation | None = None,
        *,
        epochs: int = 0,
        experts: int = 1,
    ) -> None:
        """Refuses use with data or a network that the experts were not trained with.

        Args:
          data: of the run, with its fingerprint (``prepare(configuration).configuration.data``).
          network: that is matched on.
          normalisation: of the run; None to compare none.
          epochs: the last epoch that the run reads.
          experts: how many it reads at least.

        Raises:
          ValueError: stating both values, and the command that trains such experts.
        """
        plan = self.plan
        wanted = dataclasses.replace(
            plan,
            data=data,
            network=network,
            normalisation=plan.normalisation if normalisation is None else normalisation,
            epochs=max(plan.epochs, epochs),
        )
        most = max(experts, self.num_experts)
        other = first_difference(plan, wanted)
        if other is not None:
            what, was, now = other
            raise ValueError(
                f"the experts in {self.path} have {what} {was}, this run has {now}: to train others: "
                f"{wanted.command(most)} --out FOLDER"
            )
        if experts > self.num_experts:
            self.first(experts)


def first_difference(before: ExpertPlan, now: ExpertPlan) -> tuple[str, str, str] | None:
    """The first entry in which two plans differ, with both values in words; None if they do not."""

    def compared(plan: ExpertPlan) -> dict[str, Any]:
        record = plan.record()
        return {**record, "data": of_data(record["data"])}

    other = next(differences(compared(before), compared(now)), None)
    return None if other is None else (other.entry, value_text(other.before), value_text(other.now))


def open_store(path: str | Path) -> Store:
    """Opens the experts in a folder; nothing is read but their records.

    An expert that was being trained when the program was killed is not there.

    Args:
      path: the folder.

    Returns:
      The store.

    Raises:
      ValueError: if the folder is no store, has no complete expert, or its file is cut.
    """
    store = read_store(Path(path).expanduser())
    if not store.experts:
        raise ValueError(f"there is no complete expert in {store.path}: {store.command}")
    for expert in store.experts:
        if store._mapped(expert) is None:
            raise ValueError(
                f"{store.path / SNAPSHOTS} is cut: it ends before expert {expert}: to train what is missing: "
                f"{store.command}"
            )
    return store


def read_store(path: Path) -> Store:
    """The store in a folder, which may have no expert yet.

    Raises:
      ValueError: if it is none, or another version wrote it.
    """
    try:
        metadata = json.loads((path / PLAN).read_text(encoding="utf-8"))
        plan = ExpertPlan.from_record(metadata["plan"])
        parameters = at_least("parameters", metadata["parameters"], 1)
    except FileNotFoundError:
        raise ValueError(
            f"there are no experts in {path}: `jdd experts --out FOLDER` trains them"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"cannot read {path / PLAN}: {' '.join(str(error).split())}") from None
    records = read_records(path, plan)
    experts = tuple(sorted(records))
    return Store(path, plan, parameters, tuple(records[e] for e in experts), experts, metadata)


def read_records(path: Path, plan: ExpertPlan) -> dict[int, dict[str, Any]]:
    """The records of complete experts by number; lines that are damaged or half-written are left out."""
    records: dict[int, dict[str, Any]] = {}
    if not (path / RECORDS).exists():
        return records
    for line in (path / RECORDS).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict):
            continue
        expert, checksums = record.get("expert"), record.get("checksums")
        is_complete = isinstance(checksums, list) and len(checksums) == plan.epochs + 1
        if isinstance(expert, int) and expert >= 0 and is_complete:
            records[expert] = record
    return records
