"""Checkpoints: bit-exact round trips, exact resumption, damage, mismatches and full disks."""

from __future__ import annotations

import dataclasses
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import struct
from orbax.checkpoint import v1 as ocp

from jdd import checkpoint
from jdd.atomic_write import require_room
from jdd.checkpoint import Checkpoints, DamagedCheckpoint

CONFIG = {"method": "dsa", "options": {"ipc": 10, "lr": 0.1, "classes": (0, 1)}}


class Inner(NamedTuple):
    momentum: jax.Array
    nothing: tuple[()]


@struct.dataclass
class RunState:
    key: jax.Array
    keys: jax.Array
    images: jax.Array
    opt_state: Any
    inner: Inner
    step: jax.Array
    half: jax.Array
    bytes: jax.Array
    flags: jax.Array
    host: np.ndarray
    empty: jax.Array
    no_keys: jax.Array
    absent: None = None


OPTIMISER = optax.chain(optax.identity(), optax.sgd(0.1, momentum=0.5))


def make_state(seed: int) -> RunState:
    key = jax.random.key(seed)
    images = jax.random.normal(key, (4, 3, 3, 1)) * 1e-30
    return RunState(
        key=key,
        keys=jax.random.split(jax.random.key(seed, impl="rbg"), 3),
        images=images.at[0, 0, 0, 0].set(jnp.nan).at[1, 0, 0, 0].set(-0.0),
        opt_state=OPTIMISER.init(images),
        inner=Inner(jnp.full((2,), float(seed)), ()),
        step=jnp.int32(seed),
        half=jax.random.normal(key, (5,), jnp.bfloat16),
        bytes=jax.random.randint(key, (7,), 0, 256, jnp.uint8),
        flags=jax.random.bernoulli(key, 0.5, (3,)),
        host=np.arange(3, dtype=np.float64) / (seed + 1),
        empty=jnp.zeros((0, 3)),
        no_keys=jax.random.split(jax.random.key(0, impl="rbg"), 0),
    )


def assert_identical(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree.leaves_with_path(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y), path
        assert x.dtype == y.dtype, path
        assert x.shape == y.shape, path
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), path


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


def test_restores_every_kind_of_leaf_bit_for_bit(checkpoints: Checkpoints) -> None:
    state = make_state(3)
    checkpoints.save(3, state, CONFIG)
    restored = checkpoints.restore(None, make_state(0), config=CONFIG)
    assert isinstance(restored, RunState)
    assert_identical(restored, state)


def test_restores_into_an_abstract_target(checkpoints: Checkpoints) -> None:
    state = {"key": jax.random.key(1), "keys": jax.random.split(jax.random.key(2, impl="rbg"), 2)}
    state |= {"x": jnp.arange(3, dtype=jnp.float16), "empty": jnp.zeros((0,))}
    state |= {"no_keys": state["keys"][:0]}
    checkpoints.save(0, state, {})
    assert_identical(checkpoints.restore(0, jax.eval_shape(lambda: state)), state)


def test_restores_to_the_devices_of_the_target(checkpoints: Checkpoints) -> None:
    device = jax.devices()[-1]
    free = {"x": jnp.ones(2), "key": jax.random.key(1), "empty": jnp.ones(0)}
    state = {"free": free, "bound": jax.device_put(free, device)}
    checkpoints.save(0, state, {})
    restored = checkpoints.restore(0, state)
    assert_identical(restored, state)
    for name in free:
        assert not restored["free"][name].committed
        assert restored["bound"][name].committed
        assert restored["bound"][name].sharding == state["bound"][name].sharding


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class Checked:
    """A class that no library can build around anything but arrays, without names for its fields."""

    images: jax.Array
    labels: jax.Array

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise ValueError("as many labels as images")

    def tree_flatten(self) -> tuple[tuple[jax.Array, jax.Array], None]:
        return (self.images, self.labels), None

    @classmethod
    def tree_unflatten(cls, _: None, children: tuple[jax.Array, jax.Array]) -> Checked:
        return cls(*children)


def test_restores_what_orbax_alone_does_not(checkpoints: Checkpoints) -> None:
    state = {
        "a.b": jnp.ones(2),
        "a": {"b": jnp.zeros(2)},
        "checked": Checked(jnp.ones((2, 3)), jnp.arange(2)),
        "big endian": np.arange(3, dtype=">f4"),
        "scalar": np.float32(3),
        "nothing": np.zeros((0, 2), np.int8),
    }
    checkpoints.save(0, state, {})
    zeros = {name: jax.tree.map(jnp.zeros_like, state[name]) for name in ("a.b", "a", "checked")}
    host = {name: np.zeros_like(state[name]) for name in ("big endian", "nothing")}
    target = {**zeros, **host, "scalar": np.float32(0)}
    assert_identical(checkpoints.restore(0, target), state)


def test_a_state_of_empty_arrays(checkpoints: Checkpoints) -> None:
    state = {"x": jnp.zeros((0, 3))}
    checkpoints.save(0, state, {})
    assert_identical(checkpoints.restore(0, state), state)


def test_a_resumed_scan_continues_identically(checkpoints: Checkpoints) -> None:
    def body(state: RunState, _: None) -> tuple[RunState, jax.Array]:
        key, draw = jax.random.split(state.key)
        gradient = jnp.nan_to_num(state.images) - jax.random.normal(draw, state.images.shape)
        updates, opt_state = OPTIMISER.update(gradient, state.opt_state)
        images = jnp.nan_to_num(state.images) + jnp.asarray(updates)
        state = state.replace(key=key, images=images, opt_state=opt_state, step=state.step + 1)  # type: ignore[attr-defined]
        return state, jnp.sum(images)

    device_state = make_state(0).replace(host=jnp.zeros(3))  # type: ignore[attr-defined]
    run = jax.jit(lambda state: jax.lax.scan(body, state, None, length=5))
    halfway, _ = run(device_state)
    checkpoints.save(5, halfway, CONFIG)
    expected, expected_sums = run(halfway)
    actual, sums = run(checkpoints.restore(5, device_state))
    assert_identical(actual, expected)
    assert_identical(sums, expected_sums)
    assert int(actual.step) == 10


def test_keeps_the_latest(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None
    for step in (0, 9, 10, 100):
        checkpoints.save(step, {"x": jnp.int32(step)}, CONFIG)
    assert checkpoints.steps() == [10, 100]
    assert checkpoints.latest() == 100
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["10", "100"]
    assert int(checkpoints.restore(10, {"x": jnp.int32(0)})["x"]) == 10


def test_nothing_is_removed_before_the_checksums_of_the_next_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, write, seen = Checkpoints(tmp_path, keep=1), checkpoint.write_atomically, []

    def spied(path: Path, content: bytes) -> None:
        seen.append((path.parent.name, checkpoints.steps()))
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", spied)
    for step in (1, 2):
        checkpoints.save(step, {"x": jnp.ones(2)}, CONFIG)
    # Before the rename, so that a kill leaves no checkpoint without checksums.
    assert seen == [("1.orbax-checkpoint-tmp", []), ("2.orbax-checkpoint-tmp", [1])]
    assert checkpoints.steps() == [2]


def test_half_written_checkpoints_are_ignored_and_swept(checkpoints: Checkpoints) -> None:
    state = {"x": jnp.arange(4)}
    checkpoints.save(1, state, CONFIG)
    whole = checkpoints.directory / "1"
    shutil.copytree(whole, checkpoints.directory / "2.orbax-checkpoint-tmp")
    # Killed while it was removed.
    shutil.copytree(whole, checkpoints.directory / "0")
    shutil.rmtree(checkpoints.directory / "0" / "state")
    (checkpoints.directory / "7").mkdir()
    shutil.copytree(whole / "state", checkpoints.directory / "7" / "state")
    (checkpoints.directory / "notes.txt").write_text("not ours")
    (checkpoints.directory / "008").mkdir()
    assert checkpoints.latest() == 1
    with pytest.raises(DamagedCheckpoint, match=r"0: state/.* is not what was saved"):
        checkpoints.restore(0, state)
    checkpoints.save(7, {"x": jnp.arange(4) + 1}, CONFIG)
    assert checkpoints.restore(None, state)["x"].tolist() == [1, 2, 3, 4]
    left = sorted(path.name for path in checkpoints.directory.iterdir())
    assert left == ["008", "1", "7", "notes.txt"]
    resumed = checkpoints.resume(state, config=CONFIG)
    assert resumed is not None and (resumed.step, resumed.set_aside) == (7, ())


@pytest.mark.parametrize("damage", ["empty", "truncate", "remove"])
def test_a_damaged_checkpoint_is_reported(checkpoints: Checkpoints, damage: str) -> None:
    state = {"x": jax.random.normal(jax.random.key(0), (1000,))}
    checkpoints.save(1, state, CONFIG)
    checkpoints.save(2, state, CONFIG)
    files = sorted((checkpoints.directory / "2" / "state").rglob("d/*"))
    assert files
    for file in files:
        if damage == "remove":
            file.unlink()
        else:
            file.write_bytes(
                file.read_bytes()[: 0 if damage == "empty" else file.stat().st_size // 2]
            )
    with pytest.raises(ValueError, match=r"^cannot read .*2: .*; remove it to go on from 1$"):
        checkpoints.restore(None, state)
    assert_identical(checkpoints.restore(1, state), state)


def damaged(content: bytes, how: str) -> bytes:
    if how.startswith("flip"):
        place = int(how.split()[1]) * (len(content) - 1) // 100
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    return content[: len(content) // 2]


@pytest.mark.parametrize("how", ["truncate", *(f"flip {percent}" for percent in (0, 30, 60, 100))])
def test_whatever_is_damaged_no_other_state_comes_back(
    checkpoints: Checkpoints, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    # Of several arrays: orbax reads them in as many tasks, and each would report the damage.
    states = {
        step: {"x": list(jax.random.normal(key, (8, 50))), "key": key}
        for step in (1, 2)
        for key in [jax.random.key(step)]
    }
    for step, state in states.items():
        checkpoints.save(step, state, CONFIG)
    newest, kept = checkpoints.directory / "2", checkpoints.directory / "kept"
    shutil.copytree(newest, kept)
    fallen_back = set()
    for file in sorted(path.relative_to(kept) for path in kept.rglob("*") if path.is_file()):
        content = (kept / file).read_bytes()
        if not content:
            continue
        (newest / file).write_bytes(damaged(content, how))
        resumed = checkpoints.resume(states[2], config=CONFIG)
        assert resumed is not None
        assert_identical(resumed.state, states[resumed.step])
        if resumed.step == 1:
            fallen_back.add(file)
            (line,) = resumed.set_aside
            assert line.startswith("checkpoint 2 is damaged (") and "\n" not in line
            assert checkpoints.steps() == [1] and (checkpoints.directory / "2.damaged").is_dir()
        else:
            assert not resumed.set_aside
        shutil.rmtree(newest, ignore_errors=True)
        shutil.copytree(kept, newest)
    everything_in_state = {path.relative_to(kept) for path in (kept / "state").rglob("*")}
    assert fallen_back >= {file for file in everything_in_state if (kept / file).is_file()}
    # Orbax reads no damaged file but that of the metadata, of which it logs a line.
    assert all("_CHECKPOINT_METADATA" in r.getMessage() for r in caplog.records if r.levelno > 30)
    assert not any(record.exc_info for record in caplog.records)


def test_what_was_not_saved_so_is_damage_too(checkpoints: Checkpoints) -> None:
    state = {"x": jnp.arange(4.0)}
    for step in (1, 2, 3):
        checkpoints.save(step, state, CONFIG)
    # Valid JSON and complete arrays, but other ones, as after a copy that went wrong.
    description = checkpoints.directory / "3" / "_CHECKPOINT_METADATA"
    description.write_text(description.read_text().replace('"ipc": 10', '"ipc": 11'))
    other = Checkpoints(checkpoints.directory.parent / "other")
    other.save(2, {"x": jnp.arange(4.0) + 1}, CONFIG)
    shutil.rmtree(checkpoints.directory / "2" / "state")
    shutil.copytree(other.directory / "2" / "state", checkpoints.directory / "2" / "state")
    for step, message in (
        (3, "its metadata is not what was saved"),
        (2, r"state/\S+ is not what was saved"),
    ):
        with pytest.raises(DamagedCheckpoint, match=message):
            checkpoints.restore(step, state, config=CONFIG)
    with pytest.raises(ValueError, match=r"can be read \(3: its metadata .*; 2: state/"):
        checkpoints.resume(state, config=CONFIG)


def test_after_falling_back_the_step_is_saved_anew(checkpoints: Checkpoints) -> None:
    state = {"x": jnp.arange(4)}
    for step in (1, 2, 3):
        checkpoints.save(step, state, CONFIG)
    for step in (2, 3):
        (checkpoints.directory / str(step) / "_CHECKPOINT_METADATA").write_text("{")
    with pytest.raises(
        ValueError, match=r"^no checkpoint in .* can be read \(3: .*; 2: .*\)$"
    ) as e:
        checkpoints.resume(state, config=CONFIG)
    assert "\n" not in str(e.value)
    assert [path.name for path in sorted(checkpoints.directory.iterdir())] == ["2", "3"]
    shutil.rmtree(checkpoints.directory)
    assert checkpoints.resume(state, config=CONFIG) is None
    for step in (1, 2):
        checkpoints.save(step, state, CONFIG)
    (checkpoints.directory / "2" / "_CHECKPOINT_METADATA").unlink()
    resumed = checkpoints.resume(state, config=CONFIG)
    assert resumed is not None and resumed.step == 1
    checkpoints.save(2, {"x": jnp.arange(4) + 1}, CONFIG)
    resumed = checkpoints.resume(state, config=CONFIG)
    assert resumed is not None and (resumed.step, resumed.set_aside) == (2, ())
    assert resumed.state["x"].tolist() == [1, 2, 3, 4]


def test_other_settings_are_no_damage(checkpoints: Checkpoints) -> None:
    state = {"x": jnp.ones(2)}
    for step in (1, 2):
        checkpoints.save(step, state, CONFIG)
    with pytest.raises(ValueError, match=r"another config: method was"):
        checkpoints.resume(state, config=CONFIG | {"method": "dc"})
    with pytest.raises(ValueError, match=r"state\['x'\] is float32\[3\] here"):
        checkpoints.resume({"x": jnp.ones(3)}, config=CONFIG)
    assert checkpoints.steps() == [1, 2]


def test_checkpoints_of_other_formats_are_refused_and_stay(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"x": jnp.arange(4)}
    old = {"format": 2, "config": {}, "leaves": [["['x']", "int32", [4]]], "key_impls": {}}
    ocp.save(str(checkpoints.directory / "1"), {"0": state["x"]}, custom_metadata=old)
    with pytest.raises(ValueError, match=r"1: it has no checksums.json: .* of an older format\)$"):
        checkpoints.resume(state)
    monkeypatch.setattr(checkpoint, "_FORMAT", 4)
    checkpoints.save(2, state, CONFIG)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"2 is not a checkpoint of this version$"):
        checkpoints.resume(state)
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["1", "2"]


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"state": 3}', '{"state": {}}', "\xff"])
def test_checksums_that_are_none_are_damage(checkpoints: Checkpoints, content: str) -> None:
    state = {"x": jnp.arange(4)}
    checkpoints.save(1, state, CONFIG)
    (checkpoints.directory / "1" / "checksums.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DamagedCheckpoint, match=r"its (checksums.json|metadata)") as e:
        checkpoints.restore(1, state)
    assert "\n" not in str(e.value)


def test_what_orbax_cannot_load_is_no_damage(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"x": jnp.arange(4)}
    checkpoints.save(1, state, CONFIG)

    def failing(*_: Any, **__: Any) -> None:
        raise KeyError("no such device\nand a long explanation")

    monkeypatch.setattr(ocp, "load", failing)
    with pytest.raises(ValueError, match=r"^cannot read .*1: .*no such device") as e:
        checkpoints.resume(state, config=CONFIG)
    assert not isinstance(e.value, DamagedCheckpoint) and "\n" not in str(e.value)
    assert checkpoints.steps() == [1]


@pytest.fixture
def limit_file_sizes() -> Iterator[Callable[[int], None]]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [200, 4000])
def test_a_disk_that_is_full_is_an_os_error_and_leaves_what_was_there(
    checkpoints: Checkpoints,
    size: int,
    caplog: pytest.LogCaptureFixture,
    limit_file_sizes: Callable[[int], None],
) -> None:
    state = {"x": jax.random.normal(jax.random.key(0), (10_000,))}
    checkpoints.save(1, state, CONFIG)
    limit_file_sizes(size)
    with pytest.raises(OSError, match="File too large") as e:
        checkpoints.save(2, state, CONFIG)
    limit_file_sizes(resource.RLIM_INFINITY)
    assert "\n" not in str(e.value) and not caplog.records
    assert [path.name for path in checkpoints.directory.iterdir()] == ["1"]
    assert_identical(checkpoints.restore(None, state), state)
    checkpoints.save(2, state, CONFIG)
    assert checkpoints.steps() == [1, 2]


# Threads of orbax's fail after it has raised.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("size", [200, 4000])
def test_a_disk_that_fills_during_a_save_leaves_what_was_there(
    checkpoints: Checkpoints,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
    limit_file_sizes: Callable[[int], None],
) -> None:
    state = {"x": list(jax.random.normal(jax.random.key(0), (5, 10_000)))}
    checkpoints.save(1, state, CONFIG)
    monkeypatch.setattr(checkpoint, "require_room", lambda *_: limit_file_sizes(size))
    with pytest.raises(OSError, match="File too large") as e:
        checkpoints.save(2, state, CONFIG)
    monkeypatch.undo()
    limit_file_sizes(resource.RLIM_INFINITY)
    assert "\n" not in str(e.value)
    assert checkpoints.steps() == [1]
    assert_identical(checkpoints.restore(None, state), state)
    checkpoints.save(2, state, CONFIG)
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["1", "2"]


def test_the_room_that_is_checked_is_enough(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    monkeypatch.setattr(checkpoint, "require_room", lambda folder, size: sizes.append(size))
    bits = jax.random.bits(jax.random.key(0), (200_000,))
    for step, state in enumerate(
        ([bits], list(bits[:300]), list(jax.random.split(jax.random.key(0), 300)))
    ):
        checkpoints.save(step, state, CONFIG)
        files = [path for path in (checkpoints.directory / str(step)).rglob("*")]
        # In whole blocks, and a block for each folder.
        assert sum(-(-path.stat().st_size // 4096) * 4096 for path in files) < sizes[-1]


def test_require_room(
    tmp_path: Path, limit_file_sizes: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_room(tmp_path, 10_000)
    with pytest.raises(OSError, match=str(tmp_path)) as e:
        require_room(tmp_path, 1 << 62)
    assert "\n" not in str(e.value)
    limit_file_sizes(5000)
    with pytest.raises(OSError, match="File too large: 10,000 bytes"):
        require_room(tmp_path, 10_000)
    require_room(tmp_path, 5000)
    # As on macOS.
    monkeypatch.delattr("os.posix_fallocate")
    require_room(tmp_path, 1 << 62)
    assert not list(tmp_path.iterdir())


def test_the_config_is_stored(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, {"x": jnp.ones(2)}, CONFIG)
    assert checkpoints.config() == {
        "method": "dsa",
        "options": {"ipc": 10, "lr": 0.1, "classes": [0, 1]},
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"method": "dc"}, r'method was "dsa", is "dc"'),
        (
            CONFIG | {"options": {"ipc": 1, "lr": 0.1, "classes": (0, 1)}},
            r"options\.ipc was 10, is 1",
        ),
        ({"method": "dsa"}, r"options was .*, is not set"),
        (CONFIG | {"seed": 0}, r"seed was not set, is 0"),
    ],
)
def test_another_config_is_reported_by_key(
    checkpoints: Checkpoints, config: dict[str, Any], message: str
) -> None:
    state = {"x": jnp.ones(2)}
    checkpoints.save(1, state, CONFIG)
    with pytest.raises(ValueError, match=f"another config: {message}$"):
        checkpoints.restore(None, state, config=config)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            {"x": jnp.ones(3), "k": jax.random.key(0)},
            r"state\['x'\] is float32\[3\] here, but float32\[2\]",
        ),
        ({"x": jnp.ones(2, jnp.int32), "k": jax.random.key(0)}, r"state\['x'\] is int32\[2\] here"),
        (
            {"x": jnp.ones(2), "k": jax.random.key(0, impl="rbg")},
            r"key<rbg>\[\] here, but key<fry>\[\]",
        ),
        ({"x": jnp.ones(2)}, r"state\['k'\] is in the checkpoint, but not"),
        (
            {"x": jnp.ones(2), "k": jax.random.key(0), "y": jnp.ones(1)},
            r"state\['y'\] is in this run's state, but not",
        ),
    ],
)
def test_another_state_is_reported_by_leaf(
    checkpoints: Checkpoints, target: dict[str, Any], message: str
) -> None:
    checkpoints.save(1, {"x": jnp.ones(2), "k": jax.random.key(0)}, CONFIG)
    with pytest.raises(ValueError, match=message):
        checkpoints.restore(None, target)


def test_errors_of_saving(checkpoints: Checkpoints) -> None:
    state = {"x": jnp.ones(2)}
    with pytest.raises(ValueError, match="step -1"):
        checkpoints.save(-1, state, CONFIG)
    with pytest.raises(
        ValueError, match=r"state\['step'\] is of type int, but a checkpoint holds arrays"
    ):
        checkpoints.save(0, state | {"step": 3}, CONFIG)
    with pytest.raises(ValueError, match=r"state\['x'\] is of type ShapeDtypeStruct"):
        checkpoints.save(0, jax.eval_shape(lambda: state), CONFIG)
    for values in (["a"], [None], np.array([1], "m8[s]")):
        with pytest.raises(ValueError, match=r"state\['x'\] is \S+\[1\], but a checkpoint holds"):
            checkpoints.save(0, {"x": np.array(values)}, CONFIG)
    with pytest.raises(ValueError, match="without arrays"):
        checkpoints.save(0, (), CONFIG)
    with pytest.raises(ValueError, match="must be JSON"):
        checkpoints.save(0, state, {"x": jnp.ones(2)})
    assert checkpoints.latest() is None
    checkpoints.save(4, state, CONFIG)
    with pytest.raises(ValueError, match=r"step 4 .* is not after the latest checkpoint, 4"):
        checkpoints.save(4, state, CONFIG)


def test_errors_of_asking(checkpoints: Checkpoints) -> None:
    with pytest.raises(ValueError, match="there is no checkpoint in"):
        checkpoints.restore(None, {"x": jnp.ones(2)})
    checkpoints.save(4, {"x": jnp.ones(2)}, CONFIG)
    with pytest.raises(ValueError, match=r"there is no checkpoint 5 in .*; there is 4"):
        checkpoints.restore(5, {"x": jnp.ones(2)})
    with pytest.raises(ValueError, match="keep is 0"):
        Checkpoints(checkpoints.directory, keep=0)
