"""Pickles of image batches: what the published files hold is read, and nothing that runs."""

from __future__ import annotations

import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest

from jdd.datasets.pickles import read_pickle

BATCH = {
    "data": np.arange(24, dtype=np.uint8).reshape(2, 12),
    "labels": [3, 999],
    "mean": np.linspace(0, 1, 5),
    "filenames": ["a_s_1.png", "x" * 300],
    "batch_label": "training batch 1 of 5",
    "empty": [],
}


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "data_batch_1"


@pytest.fixture
def written(python2_pickle):
    """``written(by)``: the batch by Python 2, or by Python 3 with a protocol."""

    def write(by: str | int) -> bytes:
        if by == "Python 2":
            return python2_pickle(BATCH)
        # as numpy 1 named its module, and the published files do
        content = pickle.dumps(BATCH, int(by))
        return content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")

    return write


@pytest.mark.parametrize("by", ["Python 2", 0, 1, 2, 3, 4])
def test_what_batches_hold_is_read(file, written, by):
    file.write_bytes(written(by))
    found = read_pickle(file)
    assert found.keys() == BATCH.keys()
    for key, value in BATCH.items():
        assert type(found[key]) is type(value)
        np.testing.assert_array_equal(found[key], value)
    assert found["data"].dtype == np.uint8 and found["mean"].dtype == np.float64


# the module that the old files name, and what its dtypes call align
@pytest.mark.filterwarnings("ignore:numpy.core", "ignore:dtype")
def test_the_files_of_python_2_are_what_numpy_reads(written):
    """The writer of these tests against Python's own reader."""
    content = written("Python 2")
    found = pickle.loads(content, encoding="latin1")
    np.testing.assert_array_equal(found["data"], BATCH["data"])
    np.testing.assert_array_equal(found["mean"], BATCH["mean"])
    names = {opcode.name for opcode, *_ in pickletools.genops(content)}
    assert {"SHORT_BINSTRING", "BINSTRING"} <= names


def test_orders_of_bytes_and_axes(file):
    arrays = {"big": np.arange(6, dtype=">i4").reshape(2, 3), "columns": np.eye(3, 2).copy("F")}
    file.write_bytes(pickle.dumps(arrays, 2))
    for key, value in read_pickle(file).items():
        np.testing.assert_array_equal(value, arrays[key])


class Evil:
    """Makes a file in a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<i", len(value)) + value.encode()


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_runs_nothing(file, tmp_path, protocol):
    target = tmp_path / "made"
    content = pickle.dumps({"data": BATCH["data"], "labels": Evil(target)}, protocol)
    if protocol < 5:  # the test's own pickle is one that works
        pickle.loads(content)
        target.rmdir()
    file.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"data_batch_1: cannot be read as a pickle: it asks for"
    ) as e:
        read_pickle(file)
    assert not target.exists() and "\n" not in str(e.value)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cbuiltins\neval\n" + text("1") + b"\x85R.",
        b"c__builtin__\neval\n" + text("1") + b"\x85R.",
        b"(" + text("1") + b"ibuiltins\neval\n.",
        b"(cbuiltins\neval\n" + text("1") + b"o.",
        b"cbuiltins\nobject\n)\x81.",
        b"cnumpy\nload\n" + text("x") + b"\x85R.",
        b"cnumpy\nndarray\n(K\x01tR.",
        b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        b"\x80\x04" + text("numpy") + text("ndarray.tofile") + b"\x93.",
        b"\x80\x04" + text("os") + text("system") + b"\x93" + text("true") + b"\x85R.",
        b"cnumpy\ndtype\n" + text("O") + b"\x85R.",
        b"cnumpy\ndtype\n" + text("u1") + b"\x85R(K\x03" + text("?") + b"tb.",
        b"c_codecs\nencode\n" + text("x") + text("bz2") + b"\x86R.",
        b"cnumpy\ndtype\n}" + text("_function") + text("x") + b"sb.",
        b"cnumpy\ndtype\nN}" + text("_function") + text("x") + b"s\x86b.",
        b"Pmodule.object\n.",
        b"\x82\x01.",
        b"",
        b"not a pickle",
        b"K\x01.",
        b"](K\x01e.",
        b"\x8e" + b"\xff" * 7 + b"\x7f.",
    ],
)
def test_all_that_is_not_data_is_refused(file, opcodes):
    file.write_bytes(opcodes)
    with pytest.raises(ValueError, match="data_batch_1: ") as raised:
        read_pickle(file)
    assert "\n" not in str(raised.value)


def test_a_refused_pickle_leaves_nothing_behind(file, written):
    file.write_bytes(b"cnumpy\ndtype\nN}" + text("_function") + text("x") + b"s\x86b.")
    with pytest.raises(ValueError, match="it changes a function"):
        read_pickle(file)
    file.write_bytes(written("Python 2"))
    np.testing.assert_array_equal(read_pickle(file)["data"], BATCH["data"])


@pytest.mark.parametrize("by", ["Python 2", 3])
def test_a_file_cut_anywhere_is_one_line(file, written, by):
    content = written(by)
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(ValueError, match="data_batch_1: ") as raised:
            read_pickle(file)
        assert "\n" not in str(raised.value)


def test_an_array_that_is_not_what_it_says(file, python2_pickle):
    good = python2_pickle({"data": np.zeros((2, 3), np.uint8)})
    file.write_bytes(good.replace(b"K\x02K\x03t", b"K\x02K\x04t"))
    with pytest.raises(ValueError, match="6 bytes for an array of shape"):
        read_pickle(file)


def test_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"absent: cannot be read"):
        read_pickle(tmp_path / "absent")
