"""The original's buffers of experts, files of PyTorch, as a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jdd.datasets import Dataset
from jdd.experts.plan import ExpertPlan
from jdd.experts.recording import num_parameters
from jdd.experts.store import Store, open_store
from jdd.experts.writing import StoreWriter
from jdd.interop import order_from_torch
from jdd.validation import count


def import_buffers(
    files: Sequence[str | Path],
    plan: ExpertPlan,
    dataset: Dataset,
    folder: str | Path,
    *,
    command: str = "",
) -> Store:
    """Writes the experts of the original's ``replay_buffer_N.pt`` to a store, as they are.

    Such a file is a list of experts; an expert is a list of snapshots, the initialisation first; a snapshot
    is the list of ``net.parameters()``. It does not state how the experts were trained: the plan does, and
    nobody checks that.

    Args:
      files: in the order of their experts. PyTorch reads them and builds nothing but tensors.
      plan: how the experts were trained; its epochs may be fewer than those in the files.
      dataset: that the plan names.
      folder: the store, which must not exist or be of this plan.
      command: that started it, for its files.

    Returns:
      The store.

    Raises:
      ValueError: if PyTorch is not installed, a file is no such list, or its networks are not the plan's
        (FolderError: the folder).
      OSError: if a file cannot be read or written.
    """
    plan = plan.with_fingerprint(dataset.fingerprint)
    model = plan.network.model(dataset.num_classes, dataset.image_shape)
    path, parameters = Path(folder).expanduser(), num_parameters(model)
    trajectories = ((file, expert) for file in files for expert in _read(Path(file).expanduser()))
    # The first is read before the folder is made: it shows whether the files fit at all.
    held = next(trajectories, None)
    if held is None:
        raise ValueError("buffers: there is no expert in the files")
    order = order_from_torch(model, [tuple(x.shape) for x in held[1][0]])
    with StoreWriter.open(path, plan, parameters, experts=1, command=command) as writer:
        for number, (file, expert) in enumerate(_after(held, trajectories)):
            if number in writer.complete:
                continue
            writer.write(number, list(_flattened(file, expert, order, plan.epochs)))
            writer.finish(number, {"file": str(file)})
    return open_store(path)


def _after(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _flattened(
    file: str | Path, expert: Sequence[Any], order: np.ndarray, epochs: int
) -> Iterator[np.ndarray]:
    """The first snapshots of an expert, in our order."""
    if len(expert) <= epochs:
        raise ValueError(
            f"buffers: an expert in {file} has {count(len(expert) - 1, 'epoch')}, not {epochs}"
        )
    for snapshot in expert[: epochs + 1]:
        flat = np.concatenate([np.asarray(x, np.float32).reshape(-1) for x in snapshot])
        if flat.size != order.size:
            raise ValueError(
                f"buffers: a network in {file} has {flat.size} parameters, that of the plan {order.size}"
            )
        yield flat[order]


def _read(file: Path) -> list[list[list[np.ndarray]]]:
    """The experts of a file."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            "buffers: reading the original's .pt files needs PyTorch: pip install 'jdd[bench]'"
        ) from None
    if not file.is_file():
        raise ValueError(f"buffers: {file}: there is no such file")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"buffers: PyTorch cannot read {file}: {line}") from None
    except Exception as error:  # what its unpickler refuses has types of its own
        raise ValueError(f"buffers: PyTorch cannot read {file}: {type(error).__name__}") from None
    is_buffer = isinstance(content, list) and all(
        isinstance(expert, list) and expert and all(isinstance(s, list) and s for s in expert)
        for expert in content
    )
    if not is_buffer:
        raise ValueError(
            f"buffers: {file} is no list of experts, of lists of snapshots, of lists of tensors"
        )
    return [[[x.detach().numpy() for x in s] for s in expert] for expert in content]
