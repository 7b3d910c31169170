"""Runs that are killed, stopped, starved of disk or damaged end as the run that was not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jdd

# Two updates per network, trained in between: 48 updates in dispatches of at most two.
OPTIONS = (
    "distill dc --classes 0 1 --ipc 1 --width 4 --depth 1 --real-batch 8 --networks 24 --updates 2 "
    "--net-epochs 1 --eval-every 0 --eval-networks 2 --eval-epochs 1 --whole no --seed 5"
).split()
LAST = 48

# About to be done when the process is killed; the number says for which time.
WITHIN_A_CHECKPOINT = [
    ("os.mkdir", ".orbax-checkpoint-tmp", 2),
    ("open", "/state/_METADATA", 1),
    ("open", "_CHECKPOINT_METADATA", 2),
    ("os.rename", ".orbax-checkpoint-tmp", 2),
]
BETWEEN_CHECKPOINTS = [
    ("open", "metrics.jsonl", 3),
    ("open", ".set.safetensors.", 1),
    ("os.rename", ".set.safetensors.", 2),
    ("os.rename", ".set.json.", 1),
    ("os.rename", ".deleted", 1),
    ("os.rmdir", "ocdbt.process_0", 1),
    ("os.rmdir", ".deleted", 2),
]


class Driver:
    """Starts ``jdd`` in processes with faults (see driver.py)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = 0
        # A cache of its own: a process that is killed may leave half an entry behind.
        cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
        at_once = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PLATFORMS": "cpu"}
        path = os.pathsep.join(
            [str(Path(jdd.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        )
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **cache, **at_once, "PYTHONPATH": path},
        )

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def start(self, out: Path, *more: str, **faults: Any) -> tuple[int, Path]:
        self.logs += 1
        log = self.folder / f"log{self.logs}"
        arguments = [*OPTIONS, "--out", str(out), *more]
        return self.ask(start=arguments, log=str(log), faults=faults), log

    def run(self, out: Path, *more: str, **faults: Any) -> tuple[int | str, list[str]]:
        """How the command ended, and what it printed."""
        pid, log = self.start(out, *more, **faults)
        code = self.ask(wait=pid)
        assert_metrics_are_whole(out)
        return code, log.read_text().splitlines()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    driver = Driver(tmp_path_factory.mktemp("driver"))
    yield driver
    assert driver.process.stdin and driver.process.stdout
    driver.process.stdin.close()
    driver.process.wait()
    driver.process.stdout.close()


@pytest.fixture(scope="module")
def whole(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "run"
    code, printed = driver.run(out)
    assert code == 0, printed
    return out


def assert_metrics_are_whole(out: Path) -> None:
    file = out / "metrics.jsonl"
    text = file.read_text() if file.exists() else ""
    assert not text or text.endswith("\n")
    steps = [json.loads(line)["step"] for line in text.splitlines()]
    assert steps == sorted(steps)


def steps(out: Path) -> list[int]:
    """Of the checkpoints that are there under their own names."""
    return sorted(int(p.name) for p in (out / "checkpoints").iterdir() if p.name.isdigit())


def leftovers(out: Path) -> list[str]:
    found = [p for p in (out, out / "checkpoints") if p.is_dir()]
    return [p.name for folder in found for p in folder.iterdir() if "tmp" in p.name]


def everything(out: Path) -> dict[str, Any]:
    """All that a run is to give again: files, the bytes of the last state, scores, steps that have records."""
    description = json.loads((out / "checkpoints" / str(LAST) / "_CHECKPOINT_METADATA").read_text())
    result = json.loads((out / "result.json").read_text())
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {
        **{name: (out / name).read_bytes() for name in ("set.safetensors", "set.json", "grid.png")},
        "state": description["custom_metadata"]["sums"],
        "scores": [{**score, "seconds": 0} for score in result["scores"]],
        "rest": [{**r["score"], "seconds": 0} for r in records if "score" in r],
        "folder": sorted(p.name for p in out.iterdir()),
    }


def resume(out: Path) -> list[str]:
    """As a user would who does not know what happened."""
    return ["--resume"] if (out / "config.json").exists() else []


def test_ten_kills_at_random_moments(driver: Driver, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    rng = random.Random(0)
    moments = [*rng.sample(WITHIN_A_CHECKPOINT, 3), *rng.sample(BETWEEN_CHECKPOINTS, 4)]
    faults = [{"kill": moment} for moment in moments]
    # And whenever it happens to be: within the writing of the arrays, or soon after.
    faults += [{"kill_in_save": (n, rng.uniform(0, 0.1))} for n in (1, 2)]
    rng.shuffle(faults)
    faults.insert(0, {"kill": ("open", ".config.json.", 1)})
    assert len(faults) == 10
    begun = 0
    for fault in faults:
        code, printed = driver.run(out, "--save-every", "0", *resume(out), **fault)
        assert code == -signal.SIGKILL, (fault, printed)
        begun += any("orbax" in name for name in leftovers(out))
    assert begun >= 3
    code, printed = driver.run(out, *resume(out))
    assert code == 0, printed
    assert not any("Traceback" in line for line in printed)
    assert everything(out) == everything(whole)
    assert not leftovers(out)


def damage(folder: Path) -> None:
    """Cuts the files of arrays to half of what they were."""
    for file in folder.rglob("d/*"):
        os.truncate(file, file.stat().st_size // 2)


def test_one_run_and_many_misfortunes(driver: Driver, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # No file can grow beyond two kilobytes: the third checkpoint cannot be written.
    code, printed = driver.run(out, "--save-every", "0", small_files_from_save=(3, 2048))
    assert code == 1 and not any("Traceback" in line for line in printed), "\n".join(printed)
    good = steps(out)
    assert printed[-1].startswith("jdd: error: ") and "File too large" in printed[-1]
    assert f"the state of update {good[-1]} is safe; to go on: jdd distill dc" in printed[-1]
    assert len(good) == 2 and not leftovers(out)
    assert json.loads((out / "set.json").read_text())["results"] == {"step": good[-1]}

    # A keypress: it ends when the state is saved.
    code, printed = driver.run(out, "--resume", signals=["SIGINT"])
    assert code == 130 and f"from update {good[-1]}" in "\n".join(printed), printed
    stopped = steps(out)[-1]
    assert stopped > good[-1]
    assert f"jdd: stopped at update {stopped} of {LAST}; to go on: jdd distill dc" in printed[-1]

    # The newest checkpoint is damaged: the one before it serves, and that is said.
    damage(out / "checkpoints" / str(stopped))
    # While one process is at work (here: asleep) another one is refused, until the first one dies.
    pid, log = driver.start(out, "--save-every", "0", "--resume", signals=["SIGSTOP"])
    assert driver.ask(wait=pid) == "stopped"
    text = log.read_text()
    assert f"jdd: warning: checkpoint {stopped} is damaged" in text
    assert f"going on from update {good[-1]}" in text and f"from update {good[-1]}\n" in text
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    code, printed = driver.run(out, "--resume")
    assert code == 2 and len(printed) == 1, printed
    assert f"in use by process {pid} on" in printed[0] and "--out" in printed[0]
    code, printed = driver.run(out)
    assert code == 2 and len(printed) == 1 and "already exists" in printed[0], printed
    assert before == {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    os.kill(pid, signal.SIGKILL)
    assert driver.ask(wait=pid) == -signal.SIGKILL

    # Two keypresses: it ends at once.
    code, printed = driver.run(out, "--resume", signals=["SIGINT", "SIGINT"])
    assert code == 130 and printed[-1] == "jdd: stopped", printed

    # Another run's settings are refused, and the difference is named.
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
    code, printed = driver.run(out, "--resume", "--momentum", "0.25")
    assert code == 2 and len(printed) == 1, printed
    assert "has momentum 0.5, not 0.25 (option --momentum)" in printed[0]
    assert before == {p: p.read_bytes() for p in before}

    code, printed = driver.run(out, "--resume")
    assert code == 0, printed
    shutil.rmtree(out / "checkpoints" / f"{stopped}.damaged")
    assert everything(out) == everything(whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("there is no mount")
    command = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("room", [0, 24 * 1024], ids=["none", "for a half"])
def test_a_full_disk(driver: Driver, whole: Path, small_disk: Path, room: int) -> None:
    out = small_disk / "run"
    full = (3, str(small_disk), room)
    code, printed = driver.run(out, "--save-every", "0", full_disk_from_save=full)
    assert code == 1 and not any("Traceback" in line for line in printed), "\n".join(printed)
    good = steps(out)
    assert printed[-1].startswith("jdd: error: ") and "No space left on device" in printed[-1]
    assert f"the state of update {good[-1]} is safe" in printed[-1]
    assert len(good) == 2 and not leftovers(out)
    assert json.loads((out / "set.json").read_text())["results"] == {"step": good[-1]}
    (small_disk / "filler").unlink()
    code, printed = driver.run(out, "--resume")
    assert code == 0 and not any("warning" in line for line in printed), printed
    assert everything(out) == everything(whole)
