"""The published sets: files that are not the publisher's are read, with a warning."""

from __future__ import annotations

import gzip
import hashlib
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from jdd.datasets import DataWarning, NotPublished, load_dataset
from jdd.datasets.published import PUBLISHED, STATISTICS, deviations
from jdd.datasets.source import RawSplit, Source


def source(files: list[Path], train: int = 2, test: int = 1) -> Source:
    def split(n: int) -> RawSplit:
        return RawSplit(np.zeros((n, 1, 1, 1), np.uint8), np.zeros(n, np.int32))

    return Source(split(train), split(test), files=tuple(files))


@pytest.fixture
def as_published(tmp_path, write_idx, monkeypatch) -> Path:
    """A folder whose four files are what is published as mnist."""
    write_idx(tmp_path, train=20, test=10, classes=10)
    files = {f.name: hashlib.md5(f.read_bytes()).hexdigest() for f in sorted(tmp_path.iterdir())}
    entry = PUBLISHED["mnist"]._replace(versions=(files,), train=20, test=10)
    monkeypatch.setitem(PUBLISHED, "mnist", entry)
    return tmp_path


def test_the_published_files_are_read_in_silence(as_published):
    assert len(load_dataset("mnist", data_dir=as_published).train) == 20


def test_it_does_not_matter_who_zipped_them(as_published):
    for file in list(as_published.iterdir()):
        zipped = file.with_name(file.name.replace("-idx", ".idx") + ".gz")
        zipped.write_bytes(gzip.compress(file.read_bytes(), 1))
        file.unlink()
    assert len(load_dataset("mnist", data_dir=as_published).train) == 20


def test_a_changed_byte_is_one_line_that_names_the_file(as_published):
    file = as_published / "t10k-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.warns(NotPublished) as caught:
        load_dataset("mnist", data_dir=as_published)
    (message,) = [str(warning.message) for warning in caught]
    assert message == f"mnist: not as published: {file} has another checksum"
    assert caught[0].filename == __file__


def test_another_number_of_images_is_said(as_published, write_idx):
    write_idx(as_published, train=30, test=10, classes=10)
    with pytest.warns(
        NotPublished, match=r"train-images-.*train-labels.*; 30 train images, not 20$"
    ):
        load_dataset("mnist", data_dir=as_published)


def test_files_that_are_missing_or_too_many(tmp_path):
    entry = PUBLISHED["cifar10"]._replace(
        versions=({"b_1": None, "b_2": None, "b_3": None}, {"p_1": None, "p_2": None}),
        train=2,
        test=None,
    )
    names = [tmp_path / name for name in ("b_1", "b_2", "b_3", "b_4", "p_1", "p_2")]
    assert deviations(entry, source(names[:3])) == []
    assert deviations(entry, source(names[4:])) == []
    assert deviations(entry, source(names[1:3])) == ["no b_1"]
    assert deviations(entry, source(names[:4], train=3)) == [
        f"{names[3]} is not of the set",
        "3 train images, not 2",
    ]


def test_one_category_catches_every_warning():
    assert issubclass(NotPublished, DataWarning) and issubclass(DataWarning, UserWarning)


def test_every_set_is_recognised_by_something():
    assert set(STATISTICS) - {"svhn_cropped"} <= set(PUBLISHED)
    for name, entry in PUBLISHED.items():
        assert name in STATISTICS or name.startswith("imagenet32")
        assert entry.test is not None and (entry.versions or entry.train)
        for version in entry.versions:
            checksums = [md5 for md5 in version.values() if md5 is not None]
            assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in checksums)
            assert len(set(checksums)) == len(checksums)
        assert entry.folders[-1] == "."


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_real_files_have_the_checksums(shared_data, name):
    """MNIST there was zipped anew, Fashion-MNIST is the publisher's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_dataset(name, data_dir=shared_data)
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
