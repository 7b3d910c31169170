"""Sums that tell whether something is what was saved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def sum_of(x: Any) -> str | None:
    """A sum of the bytes of an array; None where this process has only a part of it.

    >>> sum_of(np.zeros(2)) == sum_of(-np.zeros(2))
    False
    """
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return None
    flat = np.ascontiguousarray(np.asarray(x)).reshape(-1)
    return hashlib.blake2b(flat.view(np.uint8).data, digest_size=16).hexdigest()


def sum_of_file(metadata: str, tensors: Mapping[str, np.ndarray]) -> str:
    """A sum of what a file of tensors says (JSON, but for its entry "sum") and holds."""
    said = {name: value for name, value in json.loads(metadata).items() if name != "sum"}
    held = {name: [str(x.dtype), list(x.shape), sum_of(x)] for name, x in tensors.items()}
    return sum_of_json({"metadata": said, "tensors": held})


def sum_of_json(content: Mapping[str, Any]) -> str:
    """A sum of what JSON text says, however it is spelled.

    >>> sum_of_json({"a": 1, "b": 2}) == sum_of_json({"b": 2, "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
