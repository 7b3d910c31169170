"""Names of files and folders made from names of data sets and classes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_LONGEST, _KEPT = 120, 100


def file_name(name: str) -> str:
    """A name that every file system takes: other characters are replaced, a long one is cut.

    >>> file_name("great white shark/2"), len(file_name("a" * 300))
    ('great-white-shark-2', 113)
    """
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)
    return safe if len(safe) <= _LONGEST else f"{safe[:_KEPT]}-{_short_hash(name)}"


def file_names(names: Sequence[str]) -> list[str]:
    """A name of its own for each name, also where upper and lower case are one.

    A name that could be taken for another's, is hidden or has no letter or digit ends in its place in the list.

    >>> file_names(["cat", "dog", "a/b", "a b", "Cat", "..", "ß"])
    ['cat-0', 'dog', 'a-b-2', 'a-b-3', 'Cat-4', 'class-5', 'class-6']
    """
    safe = [file_name(name) for name in names]
    safe = [s if any(c.isalnum() for c in s) else "class" for s in safe]
    safe = [s if not s.startswith(".") else f"class{s}" for s in safe]
    lowered = [s.lower() for s in safe]
    unique = [lowered.count(s.lower()) == 1 and s != "class" for s in safe]
    numbered = [
        s if alone else f"{s}-{i}" for i, (s, alone) in enumerate(zip(safe, unique, strict=True))
    ]
    if len({s.lower() for s in numbered}) < len(names):  # such as a class that is named "cat-0"
        return [f"{i}-{s}" for i, s in enumerate(safe)]
    return numbered


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
