"""Metadata in words, for ``jdd show``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jdd.artefact.checks import is_finite, is_int
from jdd.artefact.decoding import arrays_text
from jdd.synthetic import equivalent_ipc
from jdd.validation import count

if TYPE_CHECKING:
    from jdd.artefact.distilled_set import DistilledSet
    from jdd.artefact.metadata import Metadata

# Shown in rows of their own.
_ELSEWHERE = ("version", "protocol", "synthetic", "name", "ipc", "seed")


def described(metadata: Metadata, protocol: str) -> dict[str, str]:
    """Returns every field as words, by name.

    Args:
      metadata: of a set.
      protocol: its evaluation protocol, in words.
    """
    names = metadata.class_names
    facts = {
        "method": metadata.method,
        "data set": f"{metadata.dataset}, {len(names)} classes: {', '.join(names)}",
        "stored images": f"{metadata.ipc} per class",
        "parametrisation": words(metadata.synthetic),
        "decoding": metadata.decode,
        "space": f"{metadata.space}, {metadata.layout}, mean {list(metadata.mean)}, std {list(metadata.std)}",
        "protocol": protocol,
        "learning rate": "of the protocol"
        if metadata.learning_rate is None
        else f"{metadata.learning_rate} (learned)",
        "seed": str(metadata.seed),
        "versions": words(metadata.versions),
    }
    recipe = metadata.configuration.get("recipe", {})
    recipe = recipe if isinstance(recipe, Mapping) else {}
    for name, value in {**metadata.configuration, **recipe}.items():
        if name not in _ELSEWHERE and name != "recipe" and value not in (None, {}, []):
            facts[f"run: {name}"] = words(value)
    for name, value in metadata.results.items():
        facts[f"result: {name}"] = _score(value) or words(value)
    return facts


def rows_of(distilled: DistilledSet) -> dict[str, str]:
    """Returns what a set holds as words, by name; also where its parametrisation is unknown here."""
    n = len(distilled.labels)
    if distilled.metadata.unknown_choices():
        rows = {"images": f"{n}, not decoded: their parametrisation is unknown here"}
    else:
        size = "x".join(map(str, distilled.image_shape))
        variants = "" if distilled.variants == 1 else f", {distilled.variants} variants of each"
        stored = f"{count(distilled.num_floats, 'number')} stored"
        words = budget(distilled.num_floats, distilled.num_classes, distilled.image_shape)
        rows = {"images": f"{n} of {size}{variants} ({stored})", "budget": words}
    rows["labels"] = "hard" if distilled.labels.ndim == 1 else "soft"
    rows["stored arrays"] = arrays_text(distilled.stored)
    if distilled.whitening is not None:
        rows["whitening"] = "ZCA, of the file: test images must go through it too"
    return rows


def budget(num_floats: int, num_classes: int, image_shape: tuple[int, int, int]) -> str:
    """Returns how much a set stores, and how many images per class that is.

    >>> budget(58_560, 10, (32, 32, 3)), budget(30_720, 10, (32, 32, 3))
    ('58560 numbers, as many as 1.906 images per class', '30720 numbers, as many as 1 image per class')
    """
    equivalent = f"{equivalent_ipc(num_floats, num_classes, image_shape):.4g}"
    images = "image" if equivalent == "1" else "images"
    return f"{count(num_floats, 'number')}, as many as {equivalent} {images} per class"


def words(value: Any) -> str:
    """Returns JSON as words; a choice as the call that makes it.

    >>> words({"choice": "uniform", "n": 64}), words({"epochs": 300, "decay": {"after": 152}})
    ('uniform(n=64)', 'epochs 300, decay (after 152)')
    """
    if isinstance(value, Mapping) and "choice" in value:
        arguments = (f"{name}={words(x)}" for name, x in value.items() if name != "choice")
        return f"{value['choice']}({', '.join(arguments)})"
    if isinstance(value, Mapping) and set(value) == {"function"}:
        return str(value["function"])
    if isinstance(value, Mapping):
        is_group = {name: isinstance(x, Mapping) and "choice" not in x for name, x in value.items()}
        parts = (
            f"{name} ({words(x)})" if is_group[name] else f"{name} {words(x)}"
            for name, x in value.items()
        )
        return ", ".join(parts)
    if isinstance(value, list):
        return f"[{', '.join(map(words, value))}]"
    return str(value)


def _score(result: Any) -> str | None:
    """An accuracy as it is printed; None for any other result."""
    if not isinstance(result, Mapping):
        return None
    mean, std, networks = (result.get(name) for name in ("mean", "std", "networks"))
    if not (is_finite(mean) and is_finite(std) and is_int(networks)):
        return None
    deviation = f" +- {100 * std:.2f}" if networks > 1 else ""
    about = [count(networks, "network")]
    about += [str(result[name]) for name in ("network", "protocol") if name in result]
    return f"{100 * mean:.2f}{deviation} % ({', '.join(about)})"
