"""The format of the metadata in a file: JSON with a version."""

from __future__ import annotations

import json
from typing import Any

from jdd.artefact import version_1
from jdd.artefact.checks import is_int, require

FORMAT_VERSION = 2
"""Of the files that this jdd writes. Those of version 1 (jdd 0.1) are read too."""


def format_version(text: str) -> int:
    """Returns the version of the format of some metadata.

    Raises:
      ValueError: if the text is no JSON object, or the version is newer than this jdd reads.

    >>> format_version('{"format_version": 1}')
    1
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the metadata is not JSON: {error}") from None
    require(isinstance(values, dict), "the metadata is not a JSON object")
    version = values.get("format_version")
    is_version = is_int(version) and version >= 1
    require(is_version, f"format_version is {version!r}, not a positive integer")
    if version > FORMAT_VERSION:
        newest = f"{FORMAT_VERSION}, the newest that this jdd reads"
        raise ValueError(f"format version {version} is newer than {newest}")
    return version


def entries_of(text: str, required: list[str]) -> dict[str, Any]:
    """Returns the entries of metadata in JSON, as the present version has them.

    Args:
      text: JSON.
      required: entries that every version must have.

    Raises:
      ValueError: if the format is not readable, or an entry is missing or not allowed.
    """
    version = format_version(text)
    values = json.loads(text)
    for name in required:
        require(name in values, f"the metadata lacks {name}")
    return version_1.upgraded(values) if version == 1 else values
