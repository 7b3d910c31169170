"""Data sets from files: the published ones by name, and readers of a user's own formats."""

from jdd.datasets.dataset import Dataset as Dataset
from jdd.datasets.dataset import pixel_statistics as pixel_statistics
from jdd.datasets.published import NotPublished as NotPublished
from jdd.datasets.registry import load_dataset as load_dataset
from jdd.datasets.source import DataWarning as DataWarning
