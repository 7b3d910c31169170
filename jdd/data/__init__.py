"""Data sources, normalisation, and the class table that keeps real images on the device."""

from __future__ import annotations

from jdd.data.batch import Batch, Draw
from jdd.data.dataset import Dataset, Split, denormalise, normalise
from jdd.data.published import NotPublished
from jdd.data.registry import load_dataset
from jdd.data.table import ClassTable, class_table, draw_indices, take

__all__ = [
    "Batch",
    "ClassTable",
    "Dataset",
    "Draw",
    "NotPublished",
    "Split",
    "class_table",
    "denormalise",
    "draw_indices",
    "load_dataset",
    "normalise",
    "take",
]
