"""What a user brings: terminals of any width and encoding, pipes, names of every kind."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from jdd.artefact import DistilledSet
from jdd.cli import main
from jdd.runs.directory import RunDirectory
from tests.cli.conftest import QUICK, TINY, Run, files
from tests.cli.subprocesses import environment

NAMES = ("T-shirt/top", "[bold]Hund[/bold]", "犬 und Kätzchen", "../up", ":smile:", "x" * 300)


def jdd(*arguments: object, **changes: str) -> subprocess.CompletedProcess[bytes]:
    """``python -m jdd`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "jdd", *map(str, arguments)],
        env=environment(changes),
        capture_output=True,
        timeout=300,
    )


def test_python_dash_m():
    done = jdd("--version")
    assert done.returncode == 0 and done.stdout.decode() == f"jdd {version('jdd')}\n"
    assert not done.stderr
    done = jdd("distil")
    assert done.returncode == 2 and b"did you mean 'distill'?" in done.stderr and not done.stdout


# Terminals.


@pytest.mark.parametrize("columns", ["0", "1", "6", "7", "19", "20", "39", "many", ""])
def test_help_and_mistakes_on_a_narrow_terminal(cli, refused, monkeypatch, columns):
    """The parser's layout does not end where the terminal is narrower than about seven columns."""
    monkeypatch.setenv("COLUMNS", columns)
    for command in ("--help", "distill --help", "evaluate --help", "distill dsa --help"):
        outcome = cli(*command.split())
        assert outcome.code == 0 and "usage: jdd" in outcome.out
    assert all(word in outcome.out for word in ("--strategy", "--net-epochs", "--save-every"))
    assert refused(cli("evaluate"), "Missing from jdd evaluate: SET")
    assert os.environ["COLUMNS"] == columns


@pytest.mark.slow
def test_help_ends_at_every_width():
    program = (
        "import os; from jdd.cli import main\n"
        "for n in range(1, 21):\n"
        "    os.environ['COLUMNS'] = str(n)\n"
        "    for words in ('--help', 'distill cafe --help', 'evaluate --help', 'show --help', 'show'):\n"
        "        main(words.split())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout.count(b"usage: jdd show") == 20


@pytest.mark.slow
def test_a_run_in_a_terminal_of_six_columns(tmp_path):
    words = ["distill", "dm", *TINY, *QUICK, "--strategy", "none", "--out", "run"]
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 6, 0, 0))
    env = environment({"TERM": "xterm"})
    env.pop("COLUMNS", None)
    with subprocess.Popen(
        [sys.executable, "-m", "jdd", *words],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=env,
        cwd=tmp_path,
    ) as process:
        os.close(inside)
        text = b""
        try:
            while part := os.read(terminal, 65536):
                text += part
        except OSError:  # the end of a terminal
            pass
    os.close(terminal)
    assert process.returncode == 0, text.decode(errors="replace")
    assert b"Everything is in run (" in text and b"Traceback" not in text
    assert (tmp_path / "run" / "result.json").exists()


# Encodings.


def encoded(monkeypatch: pytest.MonkeyPatch, encoding: str, *words: object) -> tuple[int, str, str]:
    """A command whose output has an encoding."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code = main([str(word) for word in words])
    for stream in (out, err):
        stream.flush()
    texts = [stream.buffer.getvalue().decode(encoding) for stream in (out, err)]  # type: ignore[attr-defined]
    return code, texts[0], texts[1]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data whose classes have names of every kind, in a folder with such a name."""
    folder = tmp_path_factory.mktemp("names") / "data [v2] é"
    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(NAMES)), 4)
    images = rng.integers(0, 256, (len(labels), 8, 8, 1), dtype=np.uint8)
    splits = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
    np.savez(folder / "named.npz", allow_pickle=False, class_names=np.array(NAMES), **splits)
    return folder


SHORT = "--width 4 --depth 1 --real-batch 4 --networks 1".split()


@pytest.fixture(scope="module")
def named_run(named: Path) -> Path:
    """A run of these data."""
    words = ["distill", "dm", "--data", f"npz:{named / 'named.npz'}", "--strategy", "none"]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code = main([*words, *SHORT, *QUICK, "--out", str(named / "run [1]")])
    assert code == 0, err.getvalue()
    assert f"Everything is in {named / 'run [1]'} (" in out.getvalue()
    return named / "run [1]"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_every_command_in_every_encoding(monkeypatch, encoding, named: Path, named_run: Path):
    code, out, err = encoded(monkeypatch, encoding, "--help")
    assert code == 0 and "usage: jdd" in out and not err
    code, out, err = encoded(monkeypatch, encoding, "methods")
    assert code == 0 and "dsa" in out and not err
    code, out, err = encoded(monkeypatch, encoding, "distill", "dm", "--help")
    assert code == 0 and "--strategy" in out and not err
    code, out, err = encoded(monkeypatch, encoding, "show", named_run)
    assert code == 0 and "T-shirt/top, [bold]Hund[/bold], " in out and not err
    assert ("犬" in out) == (encoding == "utf-8")
    code, out, err = encoded(monkeypatch, encoding, "evaluate", named / "[nothing] é.safetensors")
    assert code == 2 and err.startswith("jdd: error: ") and "[nothing]" in err and not out
    data = f"npz:{named / 'named.npz'}"
    words = ["--data", data, "--classes", "犬 und Kätzchen", "Katze"]
    code, out, err = encoded(monkeypatch, encoding, "evaluate", "random", *words)
    assert code == 2 and "unknown class 'Katze'" in err and "[bold]Hund[/bold]" in err and not out


@pytest.mark.slow
def test_a_locale_of_ascii(named_run: Path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = jdd("show", named_run, PYTHONIOENCODING="", **plain)
    assert done.returncode == 0 and b"[bold]Hund[/bold]" in done.stdout, done.stderr
    done = jdd("show", named_run, PYTHONIOENCODING="latin-1", **plain)
    assert done.returncode == 0 and "Kätzchen".encode("latin-1") in done.stdout, done.stderr
    done = jdd("--help", PYTHONIOENCODING="ascii:strict", **plain)
    assert done.returncode == 0 and not done.stderr


# Names.


def test_names_of_classes_stay_as_they_are(named_run: Path):
    metadata = DistilledSet.load(named_run / "set.safetensors").metadata
    assert metadata.class_names == NAMES


@pytest.mark.slow
def test_a_run_folder_that_is_named_after_classes(cli, named: Path, tmp_path, monkeypatch):
    shutil.copy(named / "named.npz", tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)
    words = ["distill", "dm", "--data", "npz:data.npz", "--strategy", "none", *SHORT, *QUICK]
    outcome = cli(*words, "--classes", *NAMES[:4])
    assert outcome.code == 0, outcome.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("dm-npz-data.npz-T-shirt-top--bold-Hund--bold-")
    assert (folder / "result.json").exists()
    outcome = cli(*words, "--classes", *NAMES)
    assert outcome.code == 0, outcome.err
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "runs"]


def test_forty_classes(cli, tmp_path, monkeypatch, refused):
    labels = np.repeat(np.arange(40), 2)
    images = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    monkeypatch.chdir(tmp_path)
    words = ["distill", "dm", "--data", "npz:a.npz", "--classes", *map(str, range(40))]
    seen = []

    def opened(path, configuration, *, resume, command=""):
        seen.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "open", opened)
    assert cli(*words, *SHORT, "--strategy", "none").code == 130
    (path,) = seen
    assert path.parent == Path("runs") and len(path.name) <= 120
    path.mkdir(parents=True)  # the file system takes the name


def test_brackets_in_messages_and_paths(cli, refused, tmp_path, monkeypatch, dc_run: Run):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(dc_run.path, tmp_path / "exp [v2]")
    outcome = cli(*dc_run.arguments, "--out", "exp [v2]", "--resume")
    assert outcome.code == 0 and "exp [v2] is complete." in outcome.out
    assert refused(cli(*dc_run.arguments, "--out", "exp [v2]"), "exp [v2] already exists")
    assert "exp [v2]/grid.png" in cli("show", "exp [v2]").out
    absent = cli("distill", "dm", "--data", "npz:[/bold].npz")
    assert refused(absent, "npz:[/bold].npz: no such file", "--data")


# Pipes.


@pytest.mark.slow
@pytest.mark.parametrize("command", ["--help", "methods", "distill dsa --help", "show {run}"])
def test_a_closed_pipe_is_no_traceback(command, dc_run: Run, tmp_path):
    shutil.copytree(dc_run.path, tmp_path / "run")
    words = command.format(run=tmp_path / "run").split()
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "jdd", *words],
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=300,
    )
    os.close(writer)
    assert done.returncode == 1 and not done.stderr, done.stderr.decode()


@pytest.mark.slow
def test_a_run_whose_reader_has_gone_leaves_nothing(tmp_path):
    """It ends when it would print its facts, before it has begun."""
    words = ["distill", "dm", *TINY, *QUICK, "--strategy", "none", "--out", str(tmp_path / "run")]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "jdd", *words],
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=300,
    )
    os.close(writer)
    assert done.returncode == 1 and b"Traceback" not in done.stderr, done.stderr.decode()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_ctrl_c_that_also_ends_the_reader_saves_the_state(tmp_path):
    """As in ``jdd distill ... 2>&1 | tee log``."""
    words = ["distill", "dm", *TINY, *QUICK, "--strategy", "none", "--networks", "1000000"]
    with subprocess.Popen(
        [sys.executable, "-m", "jdd", *words, "--out", str(tmp_path / "run")],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        assert any(b"compiled in" in line for line in process.stdout)
        process.stdout.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=100) == 130
    assert list((tmp_path / "run" / "checkpoints").iterdir())


# A start that fails.


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            {"JAX_DISABLE_JIT": "1"},
            "JAX_DISABLE_JIT is set, but a run is one compiled program: unset it\n",
        ),
        ({"JDD_IMPORT": "nothing_of_this_name"}, "JDD_IMPORT: cannot import"),
    ],
    ids=str,
)
@pytest.mark.slow
def test_a_setting_that_no_run_can_have(tmp_path, setting, words):
    words_of = ["distill", "dm", *TINY, *QUICK, "--strategy", "none", "--out", str(tmp_path / "a")]
    done = jdd(*words_of, **setting)
    (line,) = done.stderr.decode().splitlines(keepends=True)
    assert done.returncode == 2 and line.startswith("jdd: error: ") and words in line
    assert not done.stdout and not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device"), 1),
        (ValueError("what a user's choice raises"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_start_that_fails_while_it_compiles_leaves_nothing(
    cli, tmp_path, monkeypatch, error, code
):
    def advance(method, most):
        raise error

    monkeypatch.setattr("jdd.methods.advance", advance)
    words = ["distill", "dm", *TINY, *QUICK, "--strategy", "none", "--out", tmp_path / "run"]
    outcome = cli(*words)
    assert outcome.code == code and len(outcome.err.splitlines()) == 1, outcome.err
    assert not (tmp_path / "run").exists()
    if code == 1 and isinstance(error, OSError):
        assert "no state was saved; to begin again: jdd distill dm" in outcome.err


def test_a_start_that_fails_leaves_the_next_one_free(cli, refused, tmp_path, monkeypatch):
    before = files(tmp_path)
    words = ["distill", "dm", *TINY, *QUICK, "--out", tmp_path / "run"]
    for wrong in (
        ["--sampler", "never"],
        ["--initial", "from_set('no')"],
        ["--optimizer", "sgd(0)"],
    ):
        assert cli(*words, *wrong).code == 2
    assert files(tmp_path) == before and list(tmp_path.iterdir()) == []


def test_a_config_is_json_in_any_locale(dc_run: Run):
    assert json.loads((dc_run.path / "config.json").read_bytes().decode("ascii"))
