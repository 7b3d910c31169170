"""Which option a message names, and what becomes of errors of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from jax.errors import JaxRuntimeError

from jdd.cli.errors import UsageError, naming, naming_first, require

FLAGS = ("--width", "--depth", "--norm", "--data-dir")


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("depth must be at least 1", "--depth"),
        ("unknown norm 'x'", "--norm"),
        ("group norm has 4 groups: width must be a multiple", "--width, --norm"),
        ("normalisation of widths", "--width"),
        ("no data_dir given", "--data-dir"),
        ("no data dir given", "--data-dir"),
        ("depth: a warm-up of networks is too long", "--depth"),
        ("depth must be at most that of a width of 3", "--depth"),
    ],
)
def test_naming(message, named):
    with pytest.raises(UsageError) as caught, naming(*FLAGS):
        raise ValueError(message + "\n  over two lines")
    assert str(caught.value) == f"{message} over two lines (option {named})"


def test_naming_of_several_words():
    with pytest.raises(UsageError) as caught, naming("--warm-up-networks", "--warm-up-updates"):
        raise ValueError("warm-up networks must be between 0 and 8, got 9")
    assert str(caught.value).endswith("got 9 (option --warm-up-networks)")
    with pytest.raises(UsageError) as caught, naming("--networks", "--warm-up-networks"):
        raise ValueError("warm_up_networks must be from 0 to the 8 networks, got 9")
    assert str(caught.value).endswith("got 9 (option --warm-up-networks)")


@pytest.mark.parametrize(
    ("message", "usual", "ending"),
    [
        ("no", None, "no (option --width)"),
        ("no", ["--norm", "--depth", "--norm"], "no (option --norm, --depth)"),
        ("no", [], "no"),
        ("no depth", [], "no depth (option --depth)"),
    ],
)
def test_what_is_named_where_no_option_is_mentioned(message, usual, ending):
    with pytest.raises(UsageError) as caught, naming("--width", "--depth", usual=usual):
        raise OSError(message)
    assert str(caught.value) == ending


def test_only_what_a_message_begins_with():
    with pytest.raises(UsageError, match=r"\(option --width\)$"), naming_first("--norm", "--width"):
        raise ValueError("width must be a multiple of 4 with this norm")
    with pytest.raises(ValueError, match=r"^this norm$"), naming_first("--norm"):
        raise ValueError("this norm")


def test_other_errors_pass():
    with pytest.raises(TypeError), naming("--width"):
        raise TypeError("a defect, not a wrong value")


def test_require():
    require(True, "--ipc", "unused")
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


def full_error(line: str) -> str:
    """The content of the file that an error line names."""
    return Path(line.rpartition(" is in ")[2].strip()).read_text()


OUT_OF_MEMORY = JaxRuntimeError("RESOURCE_EXHAUSTED: 9 GB\n\nbuffers:\n1: f32[9]")


def test_out_of_memory_names_what_helps(cli, failing, monkeypatch, tmp_path):
    def run(command, arguments):
        raise OUT_OF_MEMORY

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("jdd.cli.distill.distill", run)
    monkeypatch.setattr("jdd.cli.distill.repeat", run)
    assert "--over-classes map or a smaller --real-batch" in cli("distill", "dsa").err
    # These commands have no such options.
    for outcome in (cli("distill", "--config", "run"), failing(OUT_OF_MEMORY)):
        assert outcome.code == 1 and "jdd: error: out of memory; the full" in outcome.err
        assert "--over-classes" not in outcome.err
    outcome = failing(MemoryError("Unable to allocate 9. GiB"))
    assert outcome.code == 1
    assert outcome.err == "jdd: error: out of memory: Unable to allocate 9. GiB\n"


def test_errors_of_jax_are_one_line_and_kept(failing, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = failing(OUT_OF_MEMORY)
    assert outcome.code == 1 and len(outcome.err.splitlines()) == 1
    assert "f32" not in outcome.err
    assert "Traceback" in full_error(outcome.err) and "1: f32[9]" in full_error(outcome.err)
    outcome = failing(JaxRuntimeError("INTERNAL: %broken.3 = f32[]"))
    assert outcome.code == 1 and len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("jdd: error: JAX failed while it ran (JaxRuntimeError); the full")
    assert "broken" not in outcome.err and "INTERNAL: %broken.3" in full_error(outcome.err)


def test_a_defect_keeps_its_traceback(failing):
    with pytest.raises(KeyError):
        failing(KeyError("a defect"))
