"""``--synthetic hallucinated`` from the command line to every command that reads a set; ``jdd export``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jdd
from jdd import DistilledSet
from jdd.artefact import Metadata
from jdd.artefact.display import preview
from jdd.cli.parse import parse
from jdd.runs import draw
from tests.cli.conftest import QUICK, called

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

RUN = (
    "distill dm --classes 0 1 --width 4 --depth 1 --real-batch 8 --updates 1 --strategy none --ipc 2 --synthetic"
).split()
OBJECTIVE = ("--objective", "add(class_embeddings, scale(0.1, view_similarity))")
OPTIMIZER = ("--optimizer", "by_group(bases=sgd(1.0), hallucinators=sgd(0.1))")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run of DM on two hallucinations of each basis with the adversary, continued by one network."""
    path = tmp_path_factory.mktemp("haba") / "run"
    arguments = [*RUN, "hallucinated(2)", *OBJECTIVE, *OPTIMIZER, *QUICK, "--out", path]
    outcome = called(*arguments, "--networks", 2)
    assert outcome.code == 0, outcome.err
    # 2 x 2 bases of 64 numbers, and 2 hallucinators of 92
    assert "440 numbers, as many as 3.438 images per class" in outcome.out
    outcome = called(*arguments, "--networks", 3, "--resume")
    assert outcome.code == 0, outcome.err
    return path


def test_the_set_states_how_it_is_decoded(cli, run, tmp_path, monkeypatch):
    distilled = DistilledSet.load(run / "set.safetensors")
    assert distilled.images.shape == (4, 2, 8, 8, 1) and distilled.metadata.ipc == 2
    assert distilled.stored["encoder_kernel"].shape == (2, 3, 3, 1, 1)
    assert distilled.metadata.decode.startswith("hallucinated(2): basis b of class c")
    result = json.loads((run / "result.json").read_text())
    assert result["num_floats"] == 440 and result["equivalent_ipc"] == pytest.approx(440 / 128)
    outcome = cli("show", run)
    assert outcome.code == 0, outcome.err
    assert "4 of 8x8x1, 2 variants of each (440 numbers stored)" in outcome.out
    assert "440 numbers, as many as 3.438 images per class" in outcome.out
    drawn = []
    monkeypatch.setattr(draw, "grid", lambda images, *_: drawn.append(images))
    draw.grid_of_set(distilled, tmp_path / "grid.png")
    assert drawn[0].shape == (4, 3, 8, 8, 1)  # the basis and its two hallucinations
    np.testing.assert_array_equal(drawn[0][:, 0], preview(distilled))
    np.testing.assert_array_equal(drawn[0][:, 1:], distilled.pixels())


def test_it_is_evaluated(cli, run):
    outcome = cli(
        *("evaluate", run, "--networks", 1, "--eval-epochs", 2, "--baseline", "none"),
        *("--protocol", "haba-no-flip"),
    )
    assert outcome.code == 0, outcome.err
    assert "haba-no-flip, 2 epochs" in outcome.out
    assert "BATCH-STANDARDISED + DSA augmentation" in outcome.out


def test_it_is_exported_as_pictures(cli, run, refused, tmp_path):
    outcome = cli("export", run, "--out", tmp_path / "images")
    assert outcome.code == 0, outcome.err
    assert "8 images of 2 classes, 2 variants of each" in outcome.out
    files = sorted(str(p.relative_to(tmp_path / "images")) for p in tmp_path.rglob("*.png"))
    assert files == [f"{c}/{i}-{v}.png" for c in "01" for i in "01" for v in "01"]
    pixels = DistilledSet.load(run / "set.safetensors").pixels()
    read = np.asarray(Image.open(tmp_path / "images" / "1" / "0-1.png"))
    np.testing.assert_array_equal(read, pixels[2, 1, ..., 0])
    assert refused(cli("export", run, "--out", tmp_path / "images"), "already exists", "--out")
    assert [p.name for p in tmp_path.iterdir()] == ["images"]


def test_it_is_exported_as_arrays(cli, run, refused, tmp_path):
    outcome = cli("export", run, "--out", tmp_path / "all.npz")
    assert outcome.code == 0, outcome.err
    distilled = DistilledSet.load(run / "set.safetensors")
    with np.load(tmp_path / "all.npz") as arrays:
        np.testing.assert_array_equal(arrays["images"], distilled.normalised())
        np.testing.assert_array_equal(arrays["labels"], distilled.labels)
        assert arrays["class_names"].tolist() == ["0", "1"] and arrays["pixels"].dtype == np.uint8
    assert refused(cli("export", run, "--out", tmp_path / "all.npz"), "already exists", "--out")


def odd_set(tmp_path, *, channels=1, soft=False):
    """A set with class names that are no folder names."""
    names = ("../../a", "A B", "a b")
    metadata = Metadata("dm", "toy", names, 1, "normalised", (0.5,) * channels, (0.25,) * channels)
    labels = np.eye(3, dtype=np.float32) if soft else np.arange(3)
    images = np.zeros((3, 8, 8, channels), np.float32)
    return DistilledSet.from_images(images, labels, metadata).save(
        tmp_path / "odd.safetensors", overwrite=True
    )


def test_names_of_classes_stay_in_the_folder(cli, tmp_path):
    (tmp_path / "out").mkdir()  # an empty folder may be there
    assert cli("export", odd_set(tmp_path), "--out", tmp_path / "out").code == 0
    folders = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert folders == ["A-B-1", "a-b-2", "class..-..-a"]


def test_what_cannot_be_exported_is_one_line(cli, refused, tmp_path):
    soft = odd_set(tmp_path, soft=True)
    assert refused(cli("export", soft, "--out", tmp_path / "a"), "soft labels", "FILE.npz")
    assert cli("export", soft, "--out", tmp_path / "a.npz").code == 0
    two = odd_set(tmp_path, channels=2)
    assert refused(cli("export", two, "--out", tmp_path / "a"), "2 channels, a PNG 1 or 3")
    nowhere = tmp_path / "none" / "a"
    assert refused(cli("export", two, "--out", nowhere), "no folder", "--out")
    assert refused(cli("export", tmp_path / "none", "--out", tmp_path / "a"), "no such file", "SET")
    assert refused(cli("export", two), "out")
    assert not (tmp_path / "a").exists()


def test_help(capsys):
    assert parse(["export", "--help"]) is None
    assert "PNG" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("synthetic", "options", "words"),
    [
        ("hallucinated(1)", OBJECTIVE, ["has one alone", "--objective"]),
        ("hallucinated(0)", (), ["num_hallucinators must be at least 1, got 0", "--synthetic"]),
        ("hallucinated(2)", ("--optimizer", "by_group(images=sgd(1))"), ["bases, hallucinators"]),
    ],
)
def test_what_cannot_run_is_one_line(cli, refused, tmp_path, synthetic, options, words):
    outcome = cli(*RUN, synthetic, *options, *QUICK, "--out", tmp_path / "run")
    assert refused(outcome, *words), outcome.err
    assert not (tmp_path / "run").exists()


def test_one_hallucinator_with_the_adversary_names_the_option(cli, refused):
    outcome = cli("distill", "haba", "--hallucinators", 1)
    assert refused(outcome, "hallucinators must be at least 2", "--hallucinators")
    assert jdd.haba(1, hallucinators=1, adversary_weight=0).synthetic.variants == 1
