"""Experts of the digits: their training, and the store that outlives a kill at any time."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jdd.augment import batch_standardised, dsa_augmentation, no_augmentation
from jdd.configuration import DataChoice
from jdd.data import Batch, normalise, zca
from jdd.datasets import load_dataset
from jdd.experts import (
    ExpertPlan,
    default_folder,
    estimated_seconds,
    open_store,
    record,
    training,
)
from jdd.experts.store import RECORDS, SNAPSHOTS
from jdd.experts.writing import StoreWriter
from jdd.nn import network
from jdd.runs.errors import FolderError, Interrupted, RunError
from jdd.runs.interrupt import Interrupt
from jdd.training import SGD, TrainingState, flat_trajectory, sgd_step

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

DATASET = load_dataset("digits", classes=["0", "1"])
NETWORK = network("convnet", width=4, depth=1)
# 289 images: four minibatches of 64, and one of 33.
PLAN = ExpertPlan(
    2, DataChoice("digits", ("0", "1")), NETWORK, SGD(0.05, batch_size=64), no_augmentation()
)
OTHERS = dataclasses.replace(PLAN, seed=1)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record(PLAN, DATASET, tmp_path_factory.mktemp("experts") / "store", experts=3)


@pytest.fixture
def copied(recorded, tmp_path):
    """A copy of the store, to damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in recorded.store.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def content(path):
    return (path / SNAPSHOTS).read_bytes()


def test_an_expert_is_the_same_network_trained_step_by_step(recorded):
    """The order and the keys are the library's; the arithmetic is `sgd_step` on one minibatch after another."""
    model = NETWORK.model(2, DATASET.image_shape)
    order = np.argsort(DATASET.train.labels, kind="stable")
    images = normalise(jnp.asarray(DATASET.train.images[order]), DATASET.mean, DATASET.std)
    labels = jnp.asarray(DATASET.train.labels[order])
    key = training.expert_key(PLAN, 1)
    state = TrainingState.begin(model.init(jax.random.fold_in(key, 0)), PLAN.sgd)
    want = [ravel_pytree(state.variables["params"])[0]]
    step = jax.jit(sgd_step, static_argnums=(1, 4), static_argnames="rate")
    for epoch in range(2):
        epoch_key = jax.random.fold_in(jax.random.fold_in(key, 1), epoch)
        rows = jax.random.permutation(jax.random.fold_in(epoch_key, 0), len(labels))
        for i in range(5):
            batch = Batch(images[rows[64 * i : 64 * i + 64]], labels[rows[64 * i : 64 * i + 64]])
            state, _ = step(epoch_key, model, state, batch, PLAN.sgd, rate=0.05)
        want.append(ravel_pytree(state.variables["params"])[0])
    snapshots = recorded.store.trajectories().snapshots
    assert snapshots.shape == (3, 3, want[0].size) and snapshots.dtype == jnp.float32
    np.testing.assert_array_equal(snapshots[1, 0], want[0])
    np.testing.assert_allclose(snapshots[1], jnp.stack(want), atol=1e-5)
    # The original's CPU code stored the last parameters in every snapshot.
    flat = np.asarray(snapshots.reshape(9, -1))
    assert len(np.unique(flat, axis=0)) == 9
    assert recorded.accuracies.min() > 0.9


def test_only_what_a_run_reads_is_read(recorded):
    all_of_them = recorded.store.trajectories()
    part = recorded.store.trajectories(epochs=1, experts=2)
    np.testing.assert_array_equal(part.snapshots, all_of_them.snapshots[:2, :2])
    assert (part.num_experts, part.num_epochs) == (2, 1)


def test_a_store_that_is_continued_has_the_same_bits(recorded, tmp_path):
    folder = tmp_path / "store"
    first = record(PLAN, DATASET, folder, experts=1)
    again = record(PLAN, DATASET, folder, experts=3)
    assert (first.trained, again.trained) == (1, 2)
    assert content(folder) == content(recorded.store.path)
    assert again.store.fingerprint == recorded.store.fingerprint
    assert again.store.first(1).fingerprint == first.store.fingerprint != again.store.fingerprint
    nothing = record(PLAN, DATASET, folder, experts=2)
    assert nothing.trained == 0 and nothing.store.num_experts == 2
    assert open_store(folder).num_experts == 3


def test_experts_trained_at_once(recorded, tmp_path):
    """The numbers of an expert do not depend on its neighbours, apart from rounding."""
    together = record(PLAN, DATASET, tmp_path / "store", experts=3, at_once=2)
    np.testing.assert_allclose(
        together.store.trajectories().snapshots, recorded.store.trajectories().snapshots, atol=1e-5
    )


def test_an_interrupt_keeps_complete_experts(recorded, tmp_path, monkeypatch):
    folder, written = tmp_path / "store", []
    write = StoreWriter.write

    def interrupting(self, expert, snapshots):
        written.append(expert)
        if written == [0, 0, 0, 1]:  # after the first expert, and the initialisation of the second
            handler.asked = True
        write(self, expert, snapshots)

    handler = Interrupt()
    monkeypatch.setattr("jdd.experts.recording.Interrupt", lambda: handler)
    monkeypatch.setattr(StoreWriter, "write", interrupting)
    with pytest.raises(
        Interrupted, match="1 complete expert kept; to continue: jdd experts --data digits"
    ):
        record(PLAN, DATASET, folder, experts=3)
    monkeypatch.undo()
    # A process that is killed leaves half a line at most.
    with (folder / RECORDS).open("a") as file:
        file.write('{"expert": 1, "checks')
    assert open_store(folder).num_experts == 1
    assert record(PLAN, DATASET, folder, experts=3).trained == 2
    assert content(folder) == content(recorded.store.path)


def test_a_full_disk_keeps_complete_experts(recorded, tmp_path, monkeypatch):
    folder = tmp_path / "store"
    write = StoreWriter.write

    def full(self, expert, snapshots):
        if expert == 1:
            raise OSError(28, "No space left on device")
        write(self, expert, snapshots)

    monkeypatch.setattr(StoreWriter, "write", full)
    with pytest.raises(
        RunError, match="No space left on device; 1 complete expert kept; to continue: jdd"
    ):
        record(PLAN, DATASET, folder, experts=3)
    monkeypatch.undo()
    assert open_store(folder).num_experts == 1
    record(PLAN, DATASET, folder, experts=3)
    assert content(folder) == content(recorded.store.path)


def test_no_room_leaves_no_folder(tmp_path, monkeypatch):
    def full(folder, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jdd.experts.writing.require_room", full)
    with pytest.raises(OSError, match="No space"):
        record(PLAN, DATASET, tmp_path / "store", experts=3)
    assert not (tmp_path / "store").exists()


def test_damage_is_found_and_mended(recorded, copied, capsys):
    store = recorded.store
    damaged = bytearray(content(copied))
    damaged[(1 * 3 + 2) * store.parameters * 4 + 5] ^= 1  # of the second expert's last snapshot
    (copied / SNAPSHOTS).write_bytes(damaged)
    opened = open_store(copied)
    # What is not read is not checked.
    np.testing.assert_array_equal(
        opened.trajectories(epochs=1).snapshots, store.trajectories(epochs=1).snapshots
    )
    with pytest.raises(
        ValueError, match=r"expert 1 in .* is damaged \(after epoch 2\).*jdd experts"
    ):
        opened.trajectories()
    assert record(PLAN, DATASET, copied, experts=3).trained == 1
    assert "expert 1 was damaged" in capsys.readouterr().err
    assert content(copied) == content(store.path)


def test_a_store_that_is_cut_is_refused_and_mended(recorded, copied):
    size = len(content(copied))
    with (copied / SNAPSHOTS).open("r+b") as file:
        file.truncate(size - 4)
    with pytest.raises(ValueError, match=r"is cut: it ends before expert 2.*jdd experts --data"):
        open_store(copied)
    assert record(PLAN, DATASET, copied, experts=3).trained == 1
    assert content(copied) == content(recorded.store.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"epochs": 3}, "epochs 2, not 3"),
        ({"network": NETWORK.replace(width=8)}, "network.width 4, not 8"),
        ({"sgd": SGD(0.1, batch_size=64)}, "sgd.learning_rate 0.05, not 0.1"),
        ({"normalisation": zca()}, 'normalisation "per_channel", not "zca"'),
        ({"flatness": flat_trajectory()}, "flatness null, not"),
    ],
)
def test_other_settings_are_refused_with_both_values(recorded, changes, message):
    before = content(recorded.store.path)
    with pytest.raises(FolderError, match=message):
        record(dataclasses.replace(PLAN, **changes), DATASET, recorded.store.path, experts=3)
    assert content(recorded.store.path) == before


def test_a_run_with_other_data_or_another_network_is_refused(recorded):
    store = recorded.store
    data = store.plan.data
    store.check(dataclasses.replace(data, name="a copy"), NETWORK, epochs=2, experts=3)
    for arguments, options, message in (
        (
            (dataclasses.replace(data, classes=("0", "2"), fingerprint="f"), NETWORK),
            {},
            "data.classes",
        ),
        ((data, NETWORK.replace(depth=2)), {}, "network.depth 1, this run has 2.*--depth 2"),
        ((data, NETWORK, zca()), {}, '"per_channel", this run has "zca".*--normalisation zca'),
        ((data, NETWORK), {"epochs": 5}, "epochs 2, this run has 5.*--epochs 5"),
        ((data, NETWORK), {"experts": 5}, "3 experts, not 5.*--experts 5"),
    ):
        with pytest.raises(ValueError, match=message):
            store.check(*arguments, **options)
    with pytest.raises(ValueError, match=r"have 2 epochs, 3 are needed.*--epochs 3"):
        store.trajectories(epochs=3)
    with pytest.raises(ValueError, match="3 experts, not 4"):
        store.trajectories(experts=4)


def test_folders_that_are_no_stores(tmp_path):
    with pytest.raises(ValueError, match="there are no experts in"):
        open_store(tmp_path)
    (tmp_path / "mine.txt").write_text("text")
    with pytest.raises(FolderError, match="holds no experts"):
        record(PLAN, DATASET, tmp_path, experts=1)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_expert_that_diverges_is_not_stored(tmp_path):
    plan = dataclasses.replace(PLAN, sgd=SGD(1e30, batch_size=64))
    with pytest.raises(RunError, match="expert 0: the loss is not finite in epoch 1"):
        record(plan, DATASET, tmp_path / "store", experts=2)
    with pytest.raises(ValueError, match="no complete expert"):
        open_store(tmp_path / "store")


def test_whitened_flat_experts_under_augmentation(tmp_path):
    """ZCA, HaBa's batches, DSA, FTD's steps, a falling rate with momentum: all settings at once."""
    plan = ExpertPlan(
        2,
        network=NETWORK,
        sgd=SGD(0.05, 0.9, 5e-4, 64, milestones=(1,)),
        augment=batch_standardised(dsa_augmentation("crop_flip")),
        normalisation=zca(),
        flatness=flat_trajectory(),
    )
    store = record(plan, DATASET, tmp_path / "store", experts=1).store
    assert store.plan == plan.with_fingerprint(DATASET.fingerprint)
    moved = np.linalg.norm(np.diff(np.asarray(store.trajectories().snapshots[0]), axis=0), axis=-1)
    assert moved[0] > 3 * moved[1] > 0
    metadata = json.loads((store.path / "plan.json").read_text())
    assert metadata["plan"]["normalisation"] == {"choice": "zca", "epsilon": 0.1}


def test_plans():
    with pytest.raises(ValueError, match="BatchNorm has statistics beside them"):
        ExpertPlan(2, network=network("convnetbn"))
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        ExpertPlan(0)
    record_of_plan = PLAN.record()
    assert ExpertPlan.from_record(json.loads(json.dumps(record_of_plan))) == PLAN
    for changes, message in (
        ({"version": 2}, "version 2, this jdd reads version 1"),
        ({"colour": 1}, "unknown entry of the experts 'colour'"),
        ({"sgd": {"rate": 1}}, "entry 'milestones' is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            ExpertPlan.from_record(record_of_plan | changes)
    assert PLAN.command(3, "a b") == (
        "jdd experts --data digits --classes 0 1 --width 4 --depth 1 --experts 3 --epochs 2 "
        "--learning-rate 0.05 --batch-size 64 --augment no_augmentation --out 'a b'"
    )
    assert str(default_folder(PLAN)) == "experts/digits-0-1-convnet-d1-w4"


def test_the_time_of_training_is_estimated():
    assert 0 < estimated_seconds(PLAN, DATASET, 1) < 60
