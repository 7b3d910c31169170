"""Checks of what a file holds: each raises a ``ValueError`` of one line that names the entry."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np


def require(condition: bool, message: str) -> None:
    """Raises a ``ValueError`` with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def require_strings(owner: str, values: Mapping[Any, Any]) -> None:
    """Raises a ``ValueError`` unless every value is a string."""
    for name, value in values.items():
        require(isinstance(value, str), f"{owner}: {name} is {value!r}, not a string")


def require_finite(name: str, array: np.ndarray) -> None:
    """Raises a ``ValueError`` that counts the values that are not finite, if there are any.

    >>> require_finite("images", np.array([1.0, np.nan]))
    Traceback (most recent call last):
        ...
    ValueError: images hold 1 values that are not finite
    """
    count = int(np.sum(~np.isfinite(array)))
    require(count == 0, f"{name} hold {count} values that are not finite")


def check_labels(labels: np.ndarray, num_images: int, classes: int) -> None:
    """Raises a ``ValueError`` unless the labels are integers ``[N]`` or float32 ``[N, classes]``."""
    require(
        labels.ndim > 0 and len(labels) == num_images,
        f"labels have shape {labels.shape}, but there are {num_images} images",
    )
    if labels.ndim == 2:
        require(labels.dtype == np.float32, f"soft labels are {labels.dtype}, not float32")
        require(
            labels.shape[-1] == classes,
            f"soft labels have {labels.shape[-1]} columns, but there are {classes} classes",
        )
        require_finite("labels", labels)
        return
    require(labels.ndim == 1, f"labels have shape {labels.shape}, not [N] or [N, num_classes]")
    require(
        np.issubdtype(labels.dtype, np.integer), f"hard labels are {labels.dtype}, not integers"
    )
    require(labels.size > 0, "there are no labels")
    low, high = int(labels.min()), int(labels.max())
    require(
        low >= 0 and high < classes,
        f"labels run from {low} to {high}, but there are {classes} classes",
    )


def is_int(value: Any) -> TypeGuard[int]:
    """Whether a value of JSON is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether a value of JSON is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def json_mapping(name: str, value: Any) -> dict[str, Any]:
    """Returns the mapping as it reads after a round trip through JSON.

    Raises:
      ValueError: if it is no mapping, or cannot be written as JSON.

    >>> json_mapping("results", {"classes": (1, 2)})
    {'classes': [1, 2]}
    """
    require(isinstance(value, Mapping), f"{name} is {value!r}, not a mapping")
    try:
        return json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be JSON: {error}") from None


def one_line(error: Exception) -> str:
    """Returns the message of an error on one line.

    >>> one_line(ValueError("a\\n  b"))
    'a b'
    """
    return " ".join(str(error).split())
