"""Checksums of arrays, JSON and files, to detect damage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

_blake2b = partial(hashlib.blake2b, digest_size=16)


def array_checksum(x: Any) -> str:
    """Returns a checksum of the bytes of an array, in C order.

    Args:
        x: the array; its dtype and shape do not enter the checksum.

    >>> array_checksum(np.zeros(2)) == array_checksum(-np.zeros(2))
    False
    """
    flat = np.ascontiguousarray(np.asarray(x)).reshape(-1)
    return _blake2b(flat.view(np.uint8).data).hexdigest()


def tensors_checksum(metadata: str, tensors: Mapping[str, np.ndarray]) -> str:
    """Returns a checksum of the metadata and the tensors of one file.

    Args:
        metadata: JSON text; its entry "sum", where the checksum itself is stored, is left out.
        tensors: the arrays by name. Their names, dtypes and shapes enter the checksum.

    >>> zeros = {"x": np.zeros(2, np.float32)}
    >>> tensors_checksum('{"a": 1, "sum": "?"}', zeros) == tensors_checksum('{"a": 1}', zeros)
    True
    """
    content = {name: value for name, value in json.loads(metadata).items() if name != "sum"}
    arrays = {name: [str(x.dtype), list(x.shape), array_checksum(x)] for name, x in tensors.items()}
    return json_checksum({"metadata": content, "tensors": arrays})


def json_checksum(content: Mapping[str, Any]) -> str:
    """Returns a checksum of a JSON object that does not depend on the order of its keys.

    >>> json_checksum({"a": 1, "b": 2}) == json_checksum({"b": 2, "a": 1})
    True
    """
    return _blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()


def folder_checksums(folder: Path) -> dict[str, str]:
    """Returns a checksum of every file in a folder and its subfolders, by its path in the folder.

    Raises:
        OSError: if a file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "a").write_bytes(b"text")
    ...     folder_checksums(Path(name)) == {"a": array_checksum(np.frombuffer(b"text", np.uint8))}
    True
    """
    checksums = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            checksum = hashlib.file_digest(file, _blake2b).hexdigest()  # type: ignore[arg-type]
        checksums[path.relative_to(folder).as_posix()] = checksum
    return checksums
