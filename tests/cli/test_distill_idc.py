"""``jdd distill idc``: a run to its distilled set, and factors that the images cannot hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jdd.artefact import DistilledSet

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

TINY = (
    "--classes 0 1 2 --width 4 --depth 1 --networks 2 --updates 2 --real-batch 8 --eval-networks 1 "
    "--eval-epochs 2 --eval-every 0 --random no --whole no"
).split()
SHORT_MOTION = ("--motion", "on_real(16, batch_size=8, augment=cutmix_augmentation(0.5))")


def test_a_run_saves_stored_images_and_decodes_their_tiles(cli, tmp_path):
    outcome = cli("distill", "idc", *TINY, *SHORT_MOTION, "--ipc", 2, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    distilled = DistilledSet.load(tmp_path / "run" / "set.safetensors")
    assert distilled.metadata.method == "idc" and distilled.metadata.space == "raw01"
    assert distilled.stored["images"].shape == (3, 2, 8, 8, 1)
    assert distilled.images.shape == (24, 8, 8, 1)
    np.testing.assert_array_equal(distilled.labels, np.repeat(np.arange(3), 8))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["configuration"]["recipe"]["synthetic"] == {
        "choice": "multi_formation",
        "factor": 2,
    }
    again = cli("evaluate", tmp_path / "run", "--networks", 1, "--eval-epochs", 1)
    assert again.code == 0, again.err
    assert "idc-no-flip, 1 epochs" in again.out and "distilled images" in again.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--factor", 9], ["at most the shorter side of the image, 8, got 9", "--factor"]),
        (["--factor", 5], ["leaves crops outside the image of 8x8 pixels", "--factor"]),
        (["--synthetic", "multi_formation(8)"], ["crops of 1x1 pixels"]),
        (["--ipc", 50], ["tiles of a stored image", "got 200", "--ipc"]),
        (["--metric", "layerwise-cosine"], ["base_rate must be given", "--base-rate"]),
        (["--objective", "convolution_gradients(at_most=0)"], ["n must be at least 1, got 0"]),
    ],
    ids=str,
)
def test_what_cannot_be_is_one_line(cli, refused, tmp_path, options, words):
    outcome = cli("distill", "idc", *TINY, *options, "--out", tmp_path / "run")
    assert refused(outcome, *words), outcome.err
    assert not (tmp_path / "run").exists()


def test_a_network_without_convolutions_is_one_line(cli, refused, tmp_path):
    outcome = cli("distill", "idc", "--model", "mlp", "--out", tmp_path / "run")
    assert refused(outcome, "convolutions_only needs a network with convolutions"), outcome.err
