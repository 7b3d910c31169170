"""Which option a message is about."""

from __future__ import annotations

import pytest
from jax.errors import JaxRuntimeError

from jdd.cli.errors import UsageError, blame, require


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("depth must be at least 1", "--depth"),
        ("unknown norm 'x'", "--norm"),
        ("group norm has 4 groups: width must be a multiple", "--width, --norm"),
        ("normalisation of widths", "--width, --depth, --norm, --data-dir"),
        ("no data_dir given", "--data-dir"),
        ("no data dir given", "--data-dir"),
        ("depth: a warm-up of networks is too long", "--depth"),
    ],
)
def test_blame(message, named):
    with pytest.raises(UsageError) as caught, blame("--width", "--depth", "--norm", "--data-dir"):
        raise ValueError(message + "\n  over two lines")
    assert str(caught.value) == f"{message} over two lines (option {named})"


def test_blame_of_several_words():
    with pytest.raises(UsageError) as caught, blame("--warm-up-networks", "--warm-up-updates"):
        raise ValueError("warm-up networks must be between 0 and 8, got 9")
    assert str(caught.value).endswith("got 9 (option --warm-up-networks)")


def test_other_errors_pass():
    with pytest.raises(TypeError), blame("--width"):
        raise TypeError("a defect, not a wrong value")


def test_require():
    require(True, "--ipc", "never said")
    with pytest.raises(UsageError, match=r"^too many \(option --ipc\)$"):
        require(False, "--ipc", "too many")


@pytest.fixture
def failing(cli, monkeypatch):
    """``jdd methods`` as a command in which something raises."""

    def run(error):
        def methods():
            raise error

        monkeypatch.setattr("jdd.cli.show.methods", methods)
        return cli("methods")

    return run


def test_what_the_library_refuses_is_one_line(failing, monkeypatch):
    outcome = failing(ValueError("no such\nthing"))
    assert (outcome.code, outcome.err) == (1, "jdd: error: no such thing\n")
    monkeypatch.setenv("JDD_TRACEBACK", "1")
    outcome = failing(ValueError("no such thing"))
    assert outcome.code == 1 and "Traceback" in outcome.err
    assert outcome.err.endswith("jdd: error: no such thing\n")


def test_out_of_memory_names_what_helps(failing):
    outcome = failing(JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB\n\nbuffers:\n1: f32[9]"))
    assert outcome.code == 1 and len(outcome.err.splitlines()) == 1
    for word in ("out of memory", "9 GB", "--over-classes", "--real-batch"):
        assert word in outcome.err
    assert "f32" not in outcome.err
    outcome = failing(JaxRuntimeError("INTERNAL: broken"))
    assert (outcome.code, outcome.err) == (1, "jdd: error: INTERNAL: broken\n")


def test_a_defect_keeps_its_traceback(failing):
    with pytest.raises(KeyError):
        failing(KeyError("a defect"))
