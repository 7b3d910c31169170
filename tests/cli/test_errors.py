"""Which option a message is about."""

from __future__ import annotations

import pytest

from jdd.cli.errors import UsageError, blame, require


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("depth must be at least 1", "--depth"),
        ("unknown norm 'x'", "--norm"),
        ("group norm has 4 groups: width must be a multiple", "--width, --norm"),
        ("normalisation of widths", "--width, --depth, --norm, --data-dir"),
        ("no data_dir given", "--data-dir"),
    ],
)
def test_blame(message, named):
    with pytest.raises(UsageError) as caught, blame("--width", "--depth", "--norm", "--data-dir"):
        raise ValueError(message + "\n  over two lines")
    assert str(caught.value) == f"{message} over two lines (option {named})"


def test_other_errors_pass():
    with pytest.raises(TypeError), blame("--width"):
        raise TypeError("a defect, not a wrong value")


def test_require():
    require(True, "--ipc", "never said")
    with pytest.raises(UsageError, match=r"^too many \(option --ipc\)$"):
        require(False, "--ipc", "too many")
