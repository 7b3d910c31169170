"""A run directory is held by one process at a time, and by none that has died."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import jdd
from jdd.runs import lock
from jdd.runs.lock import hold

HOLD = """
import sys
from pathlib import Path
from jdd.runs.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds ``tmp_path``."""
    path = os.pathsep.join([str(Path(jdd.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_is_made_and_held_once(tmp_path):
    folder = tmp_path / "a" / "b"
    with hold(folder):
        mine = f"b is in use by process {os.getpid()} on "
        with pytest.raises(ValueError, match=mine), hold(folder):
            pass
        # The refused attempt took nothing away.
        with pytest.raises(ValueError, match=mine), hold(folder):
            pass
    with hold(folder):
        pass
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_the_process_that_holds_it_is_named(tmp_path, holder):
    before = (tmp_path / ".lock").read_bytes()
    with pytest.raises(ValueError, match=f"in use by process {holder.pid} on "), hold(tmp_path):
        pass
    assert (tmp_path / ".lock").read_bytes() == before


def test_a_killed_process_leaves_no_lock(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with hold(tmp_path):
        name = (tmp_path / ".lock").read_text()
    assert name.startswith(f"process {os.getpid()} on ") and str(holder.pid) not in name


def test_the_lock_goes_with_an_error(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path):
        raise KeyError
    with hold(tmp_path):
        pass


def test_a_name_that_is_empty_or_no_text(tmp_path):
    for content, name in ((b"", "another process"), (b"\xff\n", "�")):
        with hold(tmp_path):
            (tmp_path / ".lock").write_bytes(content)
            with pytest.raises(ValueError, match=f"in use by {name}$"), hold(tmp_path):
                pass


def test_a_folder_that_cannot_be_made_or_written_in(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "a", Path("/proc")):
        with pytest.raises(OSError, match=f"^cannot write in {folder}: "), hold(folder):
            pytest.fail("it was held")


def test_a_file_system_without_locks_has_none(tmp_path, monkeypatch):
    def no_locks(file, *, blocking):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "lock_descriptor", no_locks)
    with hold(tmp_path), hold(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_full_disk_is_no_reason_to_stop(tmp_path, monkeypatch):
    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock.os, "write", full)
    with hold(tmp_path), pytest.raises(ValueError, match="another process"), hold(tmp_path):
        pass
