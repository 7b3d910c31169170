"""``jdd experts``: a store from options, continued by the same command; what is refused by its option."""

from __future__ import annotations

import numpy as np
import pytest

from jdd.augment import no_augmentation
from jdd.configuration import DataChoice
from jdd.data import zca
from jdd.experts import ExpertPlan, open_store
from jdd.nn import network
from jdd.training import SGD
from tests.cli.conftest import files

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

TINY = (
    "experts --classes 0 1 --width 4 --depth 1 --epochs 1 --augment no_augmentation --batch-size 64 "
    "--learning-rate 0.05 --normalisation zca"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experts") / "store"


def test_a_store_and_more_experts(cli, folder):
    outcome = cli(*TINY, "--experts", 1, "--out", folder)
    assert outcome.code == 0, outcome.err
    for words in (
        "0 are complete",
        "zca()",
        "ConvNet-1 (width 4), 338 parameters",
        "test accuracy",
    ):
        assert words in outcome.out, words
    assert "expert 0: loss" in outcome.err
    store = open_store(folder)
    assert store.plan.with_fingerprint("") == ExpertPlan(
        1,
        DataChoice("digits", ("0", "1")),
        network("convnet", width=4, depth=1),
        SGD(0.05, batch_size=64),
        no_augmentation(),
        zca(),
    )
    first = store.trajectories().snapshots
    outcome = cli(*TINY, "--experts", 2, "--out", folder)
    assert outcome.code == 0 and "1 are complete" in outcome.out
    snapshots = open_store(folder).trajectories().snapshots
    np.testing.assert_array_equal(snapshots[:1], first)
    before = files(folder)
    # The command that a plan names is the one that made it.
    assert cli(*store.plan.command(2, folder).split()[1:]).code == 0
    assert files(folder) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--width 8", ("network.width 4, not 8", "--width")),
        ("--epochs 2", ("epochs 1, not 2", "--epochs")),
        ("--batch-size 32", ("sgd.batch_size 64, not 32", "--batch-size")),
        ("--seed 3", ("seed 0, not 3", "--seed")),
        ("--normalisation zca(0.5)", ("normalisation.epsilon 0.1, not 0.5", "--normalisation")),
        ("--flatness flat_trajectory", ("flatness null", "--flatness")),
        ("--classes 0 2", ("data.classes", "--classes")),
        ("--experts 0", ("experts must be at least 1", "--experts")),
        ("--epochs 0", ("epochs must be at least 1", "--epochs")),
        ("--at-once 0", ("at_once must be at least 1", "--at-once")),
        ("--norm batch", ("BatchNorm has statistics", "--norm")),
        ("--normalisation uniform", ("of kind Sampler", "per_channel, zca", "--normalisation")),
        ("--flatness sharpness_aware(0)", ("rho must be above 0", "--flatness")),
        ("--augment dsa_augmentation('crap')", ("unknown op", "--augment")),
        ("--learning-rate -1", ("learning_rate must be above 0", "--learning-rate")),
        ("--depth 9", ("depth may be at most", "--depth")),
        ("--data cifer10", ("unknown data set", "--data")),
        ("--classes 0 11", ("11", "--classes")),
        ("--buffers none.pt", ("buffers:", "--buffers")),
    ],
)
def test_what_is_refused(cli, refused, folder, options, words):
    if not folder.exists():
        assert cli(*TINY, "--out", folder).code == 0
    before = files(folder)
    assert refused(cli(*TINY, "--out", folder, *options.split(" ")), *words)
    assert files(folder) == before


def test_a_folder_with_other_files(cli, refused, tmp_path):
    (tmp_path / "mine.txt").write_text("text")
    assert refused(cli(*TINY, "--out", tmp_path), "holds no experts", "--out")
