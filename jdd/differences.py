"""In what two records of settings differ, entry by entry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """One entry with two values.

    Attributes:
      entry: its name, such as "recipe.sampler.n".
      before, now: its values, as JSON.
    """

    entry: str
    before: Any
    now: Any


def differences(before: Any, now: Any, entry: str = "") -> Iterator[Difference]:
    """The entries of two JSON objects that differ.

    Of two different choices only the names are compared, not their arguments. Data sets with the same
    fingerprint are the same, whatever their names.

    >>> list(
    ...     differences({"seed": 1, "network": {"width": 4}}, {"seed": 1, "network": {"width": 8}})
    ... )
    [Difference(entry='network.width', before=4, now=8)]
    """
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        if before != now:
            yield Difference(entry, before, now)
    elif before.get("choice") != now.get("choice"):
        yield Difference(entry, before.get("choice"), now.get("choice"))
    elif entry == "data" and before["fingerprint"] == now["fingerprint"] != "":
        return
    else:
        for key in dict.fromkeys([*before, *now]):
            inner = f"{entry}.{key}" if entry else key
            yield from differences(before.get(key), now.get(key), inner)


def of_data(record: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a data set in the order in which they are compared.

    Classes come first, because another name need not be other data.
    """
    return {name: record[name] for name in ("classes", "test_share", "name", "fingerprint")}


def value_text(value: Any) -> str:
    """A value as JSON for a message, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
