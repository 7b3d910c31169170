"""Pickled batches of images, read without running code of the file.

A pickle is a program: it can call any function that it names. The published files (CIFAR's Python
version, ImageNet32) name only the functions that rebuild an array of numbers. A class of this module
takes the place of each, so that numpy is not called with arguments of the file either. Every other
name is refused.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_NUMBERS = re.compile(r"[<>|=]?[uif][1248]")
_ORDERS = ("<", ">", "|", "=")


def read_pickle(path: Path) -> dict[str, Any]:
    """Reads the dictionary of a pickle with texts, numbers, lists, dictionaries and number arrays.

    Python 2 or 3 can have written it; byte strings of Python 2 are read as Latin-1. Other functions
    and classes that the file names are refused before they are looked up.

    Raises:
      ValueError: one line that names the file, when it cannot be read, is damaged, holds no
        dictionary, or names other functions than those that rebuild arrays.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except Exception as error:  # the opcodes of damaged pickles raise many types
        first_line = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: cannot be read as a pickle: {first_line}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a pickle of {type(content).__name__}, not of a dictionary")
    return {str(key): _value(value) for key, value in content.items()}


class _Callable:
    """A function that a pickle can call and cannot change (pickles can set attributes)."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


class _DType:
    """Takes the place of numpy's dtype; for numbers only."""

    __slots__ = ("value",)

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of {str(code)[:20]!r}, only numbers are read")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]  # (version, byte order, fields of records and subarrays)
        if order not in _ORDERS:
            raise pickle.UnpicklingError(f"byte order {str(order)[:20]!r}")
        self.value = self.value.newbyteorder(order)


class _Array:
    """Takes the place of numpy's ndarray; its state holds the numbers."""

    __slots__ = ("value",)

    def __init__(self, *_: Any) -> None:
        self.value = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, in_fortran_order, data = state
        content = data.encode("latin-1") if isinstance(data, str) else data
        if not isinstance(dtype, _DType) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array of other things than numbers")
        if len(content) != math.prod(shape) * dtype.value.itemsize:
            raise pickle.UnpicklingError(f"{len(content)} bytes for an array of shape {shape}")
        flat = np.frombuffer(content, dtype.value)
        self.value = flat.reshape(shape, order="F" if in_fortran_order else "C")


def _encode(text: str, encoding: str) -> bytes:
    """Decodes bytes that Python 3 wrote for Python 2 to read."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in {str(encoding)[:20]!r}, only Latin-1 is read")
    return text.encode("latin-1")


def _stand_in(module: str, name: str) -> object:
    if (module, name) == ("_codecs", "encode"):
        return _Callable(_encode)
    if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
        return _Callable(_Array)
    if (module, name) == ("numpy", "dtype"):
        return _Callable(_DType)
    if (module, name) == ("numpy", "ndarray"):
        return object()  # named only as an argument of _reconstruct
    raise pickle.UnpicklingError(
        f"it asks for {module}.{name}"[:120] + ", which arrays of numbers do not need"
    )


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _stand_in(module, name)


def _value(value: Any) -> Any:
    return value.value if isinstance(value, _Array) else value
