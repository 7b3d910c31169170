"""Runs that are killed, stopped, damaged or on a full disk end with the same files as an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

import jdd

pytestmark = pytest.mark.slow

# Two updates per network, trained in between: 48 updates in dispatches of at most two.
OPTIONS = (
    "distill dc --classes 0 1 --ipc 1 --width 4 --depth 1 --real-batch 8 --networks 24 --updates 2 "
    "--net-epochs 1 --eval-every 0 --eval-networks 2 --eval-epochs 1 --whole no --seed 5"
).split()
LAST = 48
EXPERTS = (
    "experts --classes 0 1 --width 4 --depth 1 --experts 3 --epochs 2 --augment no_augmentation "
    "--batch-size 64"
).split()

# Operations of which the n-th one is not done: the process is killed just before it.
WITHIN_A_CHECKPOINT = [
    ("os.mkdir", ".orbax-checkpoint-tmp", 2),
    ("open", "/state.orbax-checkpoint-tmp/_METADATA", 1),
    ("os.rename", "/state.orbax-checkpoint-tmp", 1),
    ("open", ".checksums.json.", 2),
    ("os.rename", ".checksums.json.", 1),
    ("open", "_CHECKPOINT_METADATA", 3),
    ("os.rename", "/checkpoints/", 3),
]
BETWEEN_CHECKPOINTS = [
    ("open", "metrics.jsonl", 3),
    ("open", ".set.safetensors.", 1),
    ("os.rename", ".set.safetensors.", 2),
    ("os.rename", ".set.json.", 1),
    # While orbax removes the oldest checkpoint.
    ("os.rmdir", "ocdbt.process_0", 1),
    ("os.rmdir", "array_metadatas", 2),
    ("os.rmdir", "/checkpoints/", 1),
]


class Driver:
    """Runs ``jdd`` in processes with faults (see driver.py)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = 0
        # Not the user's cache: a process that is killed may leave half an entry in it.
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
        return self.begin([*OPTIONS, "--out", str(out), *more], faults)

    def begin(self, arguments: list[str], faults: Mapping[str, Any]) -> tuple[int, Path]:
        self.logs += 1
        log = self.folder / f"log{self.logs}"
        return self.ask(start=arguments, log=str(log), faults=faults), log

    def run(self, out: Path, *more: str, **faults: Any) -> tuple[int | str, list[str]]:
        """Returns the exit code of the command and the lines that it printed."""
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
    """The folder of an undisturbed run."""
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
    """Returns the steps of the checkpoints, without unfinished ones and those set aside."""
    return sorted(int(p.name) for p in (out / "checkpoints").iterdir() if p.name.isdigit())


def leftovers(out: Path) -> list[str]:
    folders = [p for p in (out, out / "checkpoints") if p.is_dir()]
    return [p.name for folder in folders for p in folder.iterdir() if "tmp" in p.name]


def last_state(out: Path) -> list[bytes]:
    """Returns the bytes of each array of the last checkpoint, read by orbax alone."""
    with warnings.catch_warnings():
        # That the arrays are loaded to the devices they were saved from.
        warnings.simplefilter("ignore")
        leaves = jax.tree.leaves(ocp.load(str(out / "checkpoints" / str(LAST))))
    is_key = [jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key) for x in leaves]
    arrays = [jax.random.key_data(x) if key else x for x, key in zip(leaves, is_key, strict=True)]
    assert any(is_key) and not all(is_key)
    return [np.asarray(x).tobytes() for x in arrays]


def everything(out: Path) -> dict[str, Any]:
    """Returns what two runs with the same options have in common: files, last state, scores, names of files."""
    result = json.loads((out / "result.json").read_text())
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {
        **{name: (out / name).read_bytes() for name in ("set.safetensors", "set.json", "grid.png")},
        "state": last_state(out),
        "scores": [{**score, "seconds": 0} for score in result["scores"]],
        "rest": [{**r["score"], "seconds": 0} for r in records if "score" in r],
        "folder": sorted(p.name for p in out.iterdir()),
    }


def resume(out: Path) -> list[str]:
    """Returns the option of a user who sees only whether a run has begun."""
    return ["--resume"] if (out / "config.json").exists() else []


def test_ten_kills_at_random_moments(driver: Driver, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    rng = random.Random(0)
    moments = [*rng.sample(WITHIN_A_CHECKPOINT, 3), *rng.sample(BETWEEN_CHECKPOINTS, 4)]
    faults = [{"kill": moment} for moment in moments]
    # And at any time while the arrays are written, or soon after.
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
    """Cuts the files of arrays to half their lengths."""
    for file in folder.rglob("d/*"):
        os.truncate(file, file.stat().st_size // 2)


def test_one_run_and_many_misfortunes(driver: Driver, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # No file can grow beyond two kilobytes: the third checkpoint cannot be written.
    code, printed = driver.run(out, "--save-every", "0", small_files_from_save=(3, 2048))
    assert code == 1 and not any("Traceback" in line for line in printed), "\n".join(printed)
    good = steps(out)
    assert printed[-1].startswith("jdd: error: ") and "File too large" in printed[-1]
    assert f"the state of update {good[-1]} is saved; to continue: jdd distill dc" in printed[-1]
    assert len(good) == 2 and not leftovers(out)
    assert json.loads((out / "set.json").read_text())["results"] == {"step": good[-1]}

    # Ctrl-C: the run ends when the state is saved.
    code, printed = driver.run(out, "--resume", signals=["SIGINT"])
    assert code == 130 and f"from update {good[-1]}" in "\n".join(printed), printed
    stopped = steps(out)[-1]
    assert stopped > good[-1]
    assert f"jdd: stopped at update {stopped} of {LAST}; to continue: jdd distill dc" in printed[-1]

    # The newest checkpoint is damaged: the run continues from the one before, with a warning.
    damage(out / "checkpoints" / str(stopped))
    # While a process is in the run directory (here: asleep), a second one is refused.
    pid, log = driver.start(out, "--save-every", "0", "--resume", signals=["SIGSTOP"])
    assert driver.ask(wait=pid) == "stopped"
    text = log.read_text()
    assert f"jdd: warning: checkpoint {stopped} is damaged" in text
    assert f"continuing from update {good[-1]}" in text and f"from update {good[-1]}\n" in text
    assert not any(word in text for word in ("Traceback", "ERROR", "ignored"))
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    code, printed = driver.run(out, "--resume")
    assert code == 2 and len(printed) == 1, printed
    assert f"in use by process {pid} on" in printed[0] and "--out" in printed[0]
    code, printed = driver.run(out)
    assert code == 2 and len(printed) == 1 and "already exists" in printed[0], printed
    assert before == {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    os.kill(pid, signal.SIGKILL)
    assert driver.ask(wait=pid) == -signal.SIGKILL

    # Ctrl-C twice: the run ends at once.
    code, printed = driver.run(out, "--resume", signals=["SIGINT", "SIGINT"])
    assert code == 130 and printed[-1] == "jdd: stopped", printed

    # Other options are refused, and the message names the one that differs.
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != ".lock"}
    code, printed = driver.run(out, "--resume", "--momentum", "0.25")
    assert code == 2 and len(printed) == 1, printed
    assert "has recipe.optimizer.momentum 0.5, not 0.25: " in printed[0]
    assert "(option --momentum)" in printed[0]
    assert before == {p: p.read_bytes() for p in before}

    code, printed = driver.run(out, "--resume")
    assert code == 0, printed
    shutil.rmtree(out / "checkpoints" / f"{stopped}.damaged")
    assert everything(out) == everything(whole)


def test_kills_while_experts_are_trained(driver: Driver, tmp_path: Path) -> None:
    """The same command continues the store; the bytes are those of a store that was never disturbed."""

    def run(out: Path, **faults: Any) -> tuple[int | str, str]:
        pid, log = driver.begin([*EXPERTS, "--out", str(out)], faults)
        return driver.ask(wait=pid), log.read_text()

    whole, out = tmp_path / "whole", tmp_path / "store"
    code, printed = run(whole)
    assert code == 0, printed
    moments = [
        ("open", "plan.json", 1),
        ("os.rename", "plan.json", 1),
        ("open", "snapshots.f32", 1),
        ("open", "experts.jsonl", 1),
        ("os.rename", "experts.jsonl", 1),
        # The record of the first expert, then that of the second.
        ("open", "experts.jsonl", 2),
        ("open", "experts.jsonl", 3),
    ]
    for moment in moments:
        code, printed = run(out, kill=moment)
        assert code == -signal.SIGKILL, (moment, printed)
    code, printed = run(out)
    assert code == 0 and "1 are complete" in printed, printed
    assert not leftovers(out)
    for name in ("snapshots.f32", "plan.json"):
        assert (out / name).read_bytes().replace(b"/store", b"/whole") == (
            whole / name
        ).read_bytes()


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
    assert f"the state of update {good[-1]} is saved" in printed[-1]
    assert len(good) == 2 and not leftovers(out)
    assert json.loads((out / "set.json").read_text())["results"] == {"step": good[-1]}
    (small_disk / "filler").unlink()
    code, printed = driver.run(out, "--resume")
    assert code == 0 and not any("warning" in line for line in printed), printed
    assert everything(out) == everything(whole)
