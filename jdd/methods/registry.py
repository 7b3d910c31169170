"""The methods by name, for the command line and reports."""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One method: its five choices in words, and its paper."""

    title: str
    objective: str
    augmentation: str
    start: str
    schedule: str
    paper: str


METHODS: dict[str, Entry] = {
    "dc": Entry(
        "Dataset Condensation",
        "class gradients, layer-wise cosine",
        "none",
        "noise",
        "network trained on the synthetic set between updates",
        "Zhao, Mopuri, Bilen, ICLR 2021",
    ),
    "dsa": Entry(
        "Differentiable Siamese Augmentation",
        "class gradients, layer-wise cosine",
        "DSA, siamese",
        "real images",
        "network trained on the synthetic set between updates",
        "Zhao, Bilen, ICML 2021",
    ),
}
