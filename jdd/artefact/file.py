"""Reading and writing the safetensors file of a set, with its metadata in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from jdd.artefact.checks import one_line, require
from jdd.atomic_write import write_atomically
from jdd.checksums import tensors_checksum

SUFFIX = ".safetensors"
_HEADER_KEY = "jdd"


def write(
    path: str | Path, tensors: Mapping[str, np.ndarray], metadata: str, *, overwrite: bool
) -> Path:
    """Writes tensors and metadata to a file, and the metadata beside it as ``.json``.

    Each file is written under another name, flushed to the disk and then renamed, so that no reader
    sees half of one.

    Args:
      path: must end in ``.safetensors``, in a folder that exists.
      tensors: by name.
      metadata: JSON text of an object; its checksum is added.
      overwrite: whether to replace files that exist.

    Returns:
      The path.

    Raises:
      ValueError: if the path is not allowed, or one of the two files exists and overwrite is not set.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ValueError(f"{path}: the name of a distilled set must end in {SUFFIX}")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: there is no folder {path.parent}")
    beside = path.with_suffix(".json")
    for file in (path, beside):
        if file.exists() and not overwrite:
            raise ValueError(f"{file} already exists")
    # In C order: safetensors writes the memory as it lies.
    tensors = {name: np.array(x, order="C") for name, x in tensors.items()}
    entries = json.loads(metadata) | {"sum": tensors_checksum(metadata, tensors)}
    text = json.dumps(entries, indent=2)
    write_atomically(path, safetensors.numpy.save(tensors, metadata={_HEADER_KEY: text}))
    write_atomically(beside, (text + "\n").encode())
    return path


def read(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """Reads the tensors and the JSON text of the metadata.

    Raises:
      ValueError: in one line without the path: if there is no such file, it is cut off or no safetensors
        file, or jdd did not write it.
    """
    if not path.is_file():
        raise ValueError("is a folder, not a file" if path.is_dir() else "there is no such file")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"not a whole safetensors file ({one_line(error)})") from None
    require(_HEADER_KEY in header, "a safetensors file, but not a distilled set of jdd")
    return tensors, header[_HEADER_KEY]


def check_sum(tensors: Mapping[str, np.ndarray], metadata: str) -> None:
    """Compares the content of a file with its checksum. The first sets of jdd 0.1 have none.

    Raises:
      ValueError: if they differ.
    """
    recorded = json.loads(metadata).get("sum")
    same = recorded in (None, tensors_checksum(metadata, tensors))
    require(same, "not what was saved: the file is damaged, or was edited")
