"""What the command line refuses: exit code 2, one line that names the option, and no file is changed.

What single commands say of single values is in the tests beside this one; here are the things that come
from outside (data, sets, run directories, places) and options that contradict each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from jdd import nn
from jdd.artefact import DistilledSet, Metadata
from jdd.cli import configure
from jdd.cli.parse import parse
from jdd.evaluate import PROTOCOLS
from jdd.runs.directory import RunDirectory
from jdd.runs.experiment import prepare

IMAGES = np.arange(12 * 64, dtype=np.uint8).reshape(12, 8, 8, 1)
LABELS = np.repeat(np.arange(2), (7, 5))
DIGITS = tuple("0123456789")
SMALL = "--width 4 --depth 1"


def floats(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def with_nan(*shape: int) -> np.ndarray:
    images = floats(*shape)
    images.flat[3] = np.nan
    return images


def write_data(folder: Path) -> None:
    """Archives that are wrong in one point each, by the name of that point."""
    right = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}
    wrong = {
        "right": {},
        "nan": {"x_train": with_nan(12, 8, 8, 1)},
        "float-labels": {"y_train": LABELS + 0.5},
        "negative-labels": {"y_train": LABELS - 1},
        "fewer-labels": {"y_train": LABELS[:5]},
        "one-class": {"y_train": LABELS * 0, "y_test": LABELS * 0},
        "empty-class": {"y_train": LABELS * 2, "y_test": LABELS * 2},
        "constant": {"x_train": IMAGES * 0},
        "other-test": {"x_test": IMAGES[:, :6]},
        "no-test": {"x_test": IMAGES[:0], "y_test": LABELS[:0]},
        "objects": {"y_train": np.array([{}] * 12)},
        "flat": {"x_train": IMAGES.reshape(12, 64)},
        "no-std": {"std": np.zeros(1)},
        "oblong": {"x_train": IMAGES[:, :, :6], "x_test": IMAGES[:, :, :6]},
    }
    for name, changes in wrong.items():
        np.savez(folder / f"{name}.npz", **(right | changes))
    content = (folder / "right.npz").read_bytes()
    (folder / "cut.npz").write_bytes(content[: len(content) // 2])
    (folder / "text.npz").write_text("no archive")
    (folder / "idx").mkdir()
    (folder / "idx" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03\0\0\0\x01")
    (folder / "cifar").mkdir()
    (folder / "cifar" / "data_batch_1.bin").write_bytes(b"123")
    (folder / "cifar" / "test_batch.bin").write_bytes(b"123")


def write_sets(folder: Path) -> None:
    """Sets of the digits, one image per class, that are wrong in one point each."""

    def metadata(depth: int = 1, **changes) -> Metadata:
        configuration = {
            "data": {"name": "digits"},
            "network": nn.network("convnet", width=4, depth=depth).to_json(),
        }
        usual = {
            "class_names": DIGITS,
            "mean": (0.3,),
            "std": (0.4,),
            "protocol": PROTOCOLS["dc"].to_json(),
            "configuration": configuration,
        }
        return Metadata(method="dc", dataset="digits", ipc=1, space="normalised", **usual | changes)

    def save(name: str, images: np.ndarray, metadata: Metadata) -> DistilledSet:
        distilled = DistilledSet.from_images(images, np.arange(10), metadata)
        distilled.save(folder / f"{name}.safetensors")
        return distilled

    good = save("good", floats(10, 8, 8, 1), metadata())
    save("rgb", floats(10, 8, 8, 3), metadata(mean=(0.3,) * 3, std=(0.4,) * 3))
    save("abc", floats(10, 8, 8, 1), metadata(class_names=tuple("abcdefghij")))
    save("deep", floats(10, 8, 8, 1), metadata(depth=9))
    save("no-protocol", floats(10, 8, 8, 1), metadata(protocol={}))

    header = {"jdd": good.metadata.to_json()}
    tensors = {"images": good.images, "labels": good.labels}
    wrong = {
        "nan": {"images": with_nan(10, 8, 8, 1)},
        "no-images": {"images": None},
        "float-labels": {"labels": good.labels.astype(np.float32)},
        "labels-beyond": {"labels": good.labels + 1},
        "one-class": {"labels": good.labels * 0},
        "two-channels": {"images": floats(10, 8, 8, 2)},
    }
    for name, changes in wrong.items():
        kept = {k: v for k, v in (tensors | changes).items() if v is not None}
        safetensors.numpy.save_file(kept, folder / f"{name}.safetensors", metadata=header)
    safetensors.numpy.save_file(tensors, folder / "others.safetensors")
    newer = {"jdd": json.dumps(json.loads(header["jdd"]) | {"format_version": 9})}
    safetensors.numpy.save_file(tensors, folder / "newer.safetensors", metadata=newer)
    unknown = json.loads(header["jdd"]) | {"synthetic": {"choice": "by_somebody", "factor": 2}}
    stored = {"stored/images": good.images, "labels": good.labels}
    safetensors.numpy.save_file(
        stored, folder / "somebody.safetensors", metadata={"jdd": json.dumps(unknown)}
    )
    content = (folder / "good.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(content[:-9])
    changed = content[:-9] + bytes([content[-9] ^ 64]) + content[-8:]
    (folder / "changed.safetensors").write_bytes(changed)
    (folder / "good.png").write_bytes(b"mine")


def write_runs(folder: Path) -> None:
    """A run of DC on digits that has just begun, and others that are damaged or of jdd 0.1."""
    command = parse(["distill", "dc", *SMALL.split()])
    configuration = prepare(configure.configuration(command)).configuration
    names = ("begun", "no-config", "edited", "somebodys", "no-checkpoint", "of-0.1")
    for name in names:
        with RunDirectory.open(folder / name, configuration, resume=False):
            pass
    (folder / "no-config" / "config.json").write_text('{"configuration": ')
    content = json.loads((folder / "begun" / "config.json").read_text())
    changes = {"edited": {"data": 3}, "somebodys": {"network": {"choice": "by_somebody"}}}
    for name, change in changes.items():
        changed = content | {"configuration": content["configuration"] | change}
        (folder / name / "config.json").write_text(json.dumps(changed))
    (folder / "of-0.1" / "config.json").write_text('{"options": {"method": "dc", "ipc": 1}}')
    step = folder / "no-checkpoint" / "checkpoints" / "7"
    step.mkdir(parents=True)
    (step / "_CHECKPOINT_METADATA").write_text("{")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_data(folder)
    write_sets(folder)
    write_runs(folder)
    return folder


# A command of the folder W, and words of what it says.
CASES = [
    # data
    ("distill dsa --data npz:W/nan.npz --out W/new", ["nan.npz", "x_train", "--data"]),
    ("distill dsa --data npz:W/float-labels.npz --out W/new", ["y_train must be integers"]),
    ("distill dc --data npz:W/negative-labels.npz --out W/new", ["y_train must not be negative"]),
    ("distill dc --data npz:W/fewer-labels.npz --out W/new", ["12 images but 5 labels", "--data"]),
    ("distill dc --data npz:W/one-class.npz --out W/new", ["at least 2 classes", "--classes"]),
    ("distill dc --data npz:W/empty-class.npz --out W/new", ["no train image of 1", "--data"]),
    ("distill dc --data npz:W/constant.npz --out W/new", ["std must be positive", "--data"]),
    ("distill dc --data npz:W/other-test.npz --out W/new", ["test images (6, 8, 1)", "--data"]),
    ("distill dc --data npz:W/no-test.npz --out W/new", ["test split is empty", "--data"]),
    ("distill dc --data npz:W/objects.npz --out W/new", ["allow_pickle=False", "--data"]),
    ("distill dc --data npz:W/flat.npz --out W/new", ["uint8 [N, H, W]", "(12, 64)", "--data"]),
    ("distill dc --data npz:W/no-std.npz --out W/new", ["std must be positive", "--data"]),
    ("distill dc --data npz:W/cut.npz --out W/new", ["cut.npz: cannot be read", "--data"]),
    ("distill dc --data npz:W/text.npz --out W/new", ["text.npz: cannot be read", "--data"]),
    ("distill dc --data npz:W --out W/new", ["cannot be read", "--data"]),
    ("distill dc --data npz:~nobody-of-this-name/a.npz --out W/new", ["home", "--data"]),
    ("distill dc --data npz:W/absent.npz --out W/new", ["no such file", "--data"]),
    ("distill dc --data folder:W/right.npz --out W/new", ["no train folder", "--data"]),
    ("distill dc --data idx:W/idx --out W/new", ["train-labels-idx1-ubyte", "--data"]),
    ("distill dc --data cifar:W/cifar --out W/new", ["data_batch_1.bin", "records", "--data"]),
    ("distill dc --data nppz:W/right.npz --out W/new", ["did you mean 'npz'?", "--data"]),
    (
        "distill dm --data npz:W/right.npz --ipc 6 --out W/new",
        ["(5), got 6: from_real(repeat=True)", "--ipc"],
    ),
    ("distill dm --test-share 0.5 --out W/new", ["leave test_share", "(option --test-share)"]),
    ("distill dm --test-share 2 --out W/new", ["below 1, got 2.0", "(option --test-share)"]),
    ("distill dcc --classes 3 --out W/new", ["at least 2 classes, has 1", "--classes"]),
    ("distill dm --classes 3 --out W/new", ["at least 2 classes, has 1", "--classes"]),
    ("distill dc --classes 0 0 --out W/new", ["class given twice: 0", "(option --classes)"]),
    ("distill dc --classes 0 99 --out W/new", ["99 is out of range 0 to 9", "(option --classes)"]),
    # contradictions and numbers
    ("distill dsa --updates 1 --net-epochs 3 --out W/new", ["no effect", "--net-epochs"]),
    (
        "distill dsa --norm group --width 6 --out W/new",
        ["multiple of 4", "(option --norm, --width)"],
    ),
    (
        "distill dsa --norm none --eval-norm group --width 6 --out W/new",
        ["group norm", "got 6", "(option --eval-norm)"],
    ),
    ("distill dsa --strategy crop_flop --out W/new", ["'flop'", "--strategy"]),
    ("distill dsac --strategy crop_flop --out W/new", ["did you mean 'flip'?", "--strategy"]),
    ("distill dm --strategy colour --out W/new", ["did you mean 'color'?", "--strategy"]),
    (
        "distill dm --distance squared-error --out W/new",
        ["--distance, squared-error", "jdd distill dm --help"],
    ),
    ("distill dm --networks-per-update 0 --out W/new", ["1, got 0", "--networks-per-update"]),
    (
        "distill dcc --warm-up-networks 9 --out W/new",
        ["0 to the 8", "got 9", "(option --warm-up-networks)"],
    ),
    (
        "distill dsac --warm-up-updates 11 --out W/new",
        ["0 to the 10", "got 11", "(option --warm-up-updates)"],
    ),
    ("distill dcc --warm-up-networks=-1 --out W/new", ["got -1", "(option --warm-up-networks)"]),
    ("distill dsac --warm-up-updates=-2 --out W/new", ["got -2", "(option --warm-up-updates)"]),
    ("distill dc --learning-rate inf --out W/new", ["finite", "--learning-rate"]),
    ("distill dc --momentum=-0.1 --out W/new", ["at least 0", "--momentum"]),
    ("distill dc --momentum nan --out W/new", ["at least 0", "--momentum"]),
    ("distill dc --save-every nan --out W/new", ["at least 0", "--save-every"]),
    (
        "distill dc --over-classes 1.5 --out W/new",
        ["number of at least 1, got '1.5'", "--over-classes"],
    ),
    ("distill dc --seed 4294967296 --out W/new", ["4294967295", "--seed"]),
    (
        "distill dc --ipc 1.5 --out W/new",
        ["--ipc: must be a whole number, got '1.5'", "jdd distill dc --help"],
    ),
    (
        "distill dc --learning-rate 0,1 --out W/new",
        ["--learning-rate: must be a number, got '0,1'"],
    ),
    ("distill dc --resume yes --out W/new", ["yes"]),
    ("distill dc --out", ["--out"]),
    # places and runs
    ("distill dc SMALL --out W/good.png/run", ["cannot write in", "--out"]),
    ("distill dc --out W/good.png", ["already exists", "--out"]),
    ("distill dc --out W/begun", ["already exists", "--resume", "--out"]),
    ("distill dc --out ~nobody-of-this-name/run", ["home", "--out"]),
    ("distill dc --out W/LONG", ["name too long", "--out"]),
    ("distill dc --resume --out W/absent", ["there is no run", "--resume"]),
    ("distill dc --resume --out W", ["there is no run", "--resume"]),
    (
        "distill dc --resume --out W/begun SMALL --ipc 2",
        ["has recipe.ipc 1, not 2", "(option --ipc)"],
    ),
    (
        "distill dc --resume --out W/begun SMALL --momentum 0.9",
        ["optimizer.momentum 0.5, not 0.9", "(option --momentum)"],
    ),
    (
        "distill dc --resume --out W/begun SMALL --classes 1 2",
        ['classes [], not ["1", "2"]', "(option --classes)"],
    ),
    (
        "distill dsa --resume --out W/begun SMALL",
        ['has recipe.name "dc", not "dsa"', "(option METHOD)"],
    ),
    ("distill dc --resume --out W/no-config SMALL", ["cannot read", "config.json", "--resume"]),
    ("distill dc --resume --out W/no-checkpoint SMALL", ["no checkpoint in", "7: ", "--resume"]),
    ("distill dc --resume --out W/edited SMALL", ["cannot read", "entry data", "--resume"]),
    ("distill dc --resume --out W/somebodys SMALL", ["'by_somebody'", "JDD_IMPORT", "--resume"]),
    ("distill dc --resume --out W/of-0.1 SMALL", ["of-0.1/config.json", "jdd 0.1", "--resume"]),
    ("distill dc --resume --out W/begun SMALL --width 5", ["network.width 4, not 5", "--width"]),
    ("distill dc --resume --out W/begun SMALL --real-batch 9", ["n 256, not 9", "--real-batch"]),
    (
        "distill dc --resume --out W/begun SMALL --eval-norm batch",
        ['norm null, not "batch"', "(option --eval-norm)"],
    ),
    (
        "distill dc --resume --out W/begun SMALL --distance squared-error",
        ['distance null, not {"choice": "squared_error"}', "(option --distance)"],
    ),
    ("distill dc --resume --out W/begun --width 4", ["network.depth 1, not 3", "--depth"]),
    ("distill dc --resume --out W/begun SMALL --seed 1", ["has seed 0, not 1", "(option --seed)"]),
    # a run again
    ("distill --config W/absent --out W/new", ["cannot read", "/absent: [Errno 2]", "--config"]),
    ("distill --config W/good.png --out W/new", ["cannot read", "good.png", "--config"]),
    ("distill --config W/no-config --out W/new", ["cannot read", "config.json", "--config"]),
    ("distill --config W/edited --out W/new", ["entry data", "got 3", "--config"]),
    ("distill --config W/somebodys --out W/new", ["'by_somebody'", "JDD_IMPORT", "--config"]),
    ("distill --config W/of-0.1 --out W/new", ["jdd 0.1", "--config"]),
    ("distill dc --config W/begun --out W/new", ["without dc"]),
    ("distill --config W/begun --out W/new --ipc 2", ["--ipc, 2", "--config FILE --help"]),
    ("distill --config W/begun --out W/new --seed=-1", ["at least 0, got -1", "--seed"]),
    ("distill --config W/begun --out W/good.png", ["already exists", "--out"]),
    ("distill --config W/begun --resume --out W/absent", ["there is no run", "--resume"]),
    (
        "distill --config W/begun --data npz:W/right.npz --out W/new",
        ["right.npz has the fingerprint", "was made with", "(option --data)"],
    ),
    # choices
    ("distill dm --sampler unifrm --out W/new", ["did you mean 'uniform'?", "--sampler"]),
    ("distill dm --sampler uniform(0) --out W/new", ["n must be at least 1, got 0", "--sampler"]),
    ("distill dm --sampler uniform(n=2 --out W/new", ["cannot read 'uniform(n=2'", "--sampler"]),
    ("distill dm --sampler uniform(m=2) --out W/new", ["no argument 'm'", "--sampler"]),
    ("distill dm --sampler 3 --out W/new", ["3 is of kind int, not Sampler", "--sampler"]),
    (
        "distill dm --sampler never --out W/new",
        ["never is of kind Motion", "(allowed: uniform", "--sampler"],
    ),
    ("distill dm --sampler open('a') --out W/new", ["unknown choice 'open'", "--sampler"]),
    ("distill dm --synthetic pixels(3) --out W/new", ["pixels: too many", "--synthetic"]),
    (
        "distill dm --initial real --out W/new",
        ["unknown choice 'real'", "from_herding", "--initial"],
    ),
    ("distill dm --initial from_set('W/no') --out W/new", ["no such file", "(option --initial"]),
    ("distill dm --initial from_set('W/rgb.safetensors')", ["[10, 8, 8, 3]", "(option --initial"]),
    ("distill dm --augment dsa --out W/new", ["unknown choice 'dsa'", "--augment"]),
    ("distill dc --augment dc_augmentation --out W/new", ["siamese", "(option --augment)"]),
    ("distill dm --objective per_class(siamese) --out W/new", ["a scalar", "(option --objective)"]),
    ("distill dm --objective layer_features((1,1)) --out W/new", ["2 weights", "--objective)"]),
    ("distill dm --motion on_synthetic(9) --out W/new", ["no effect", "--updates", "--motion)"]),
    ("distill dm --motion on_real(0) --out W/new", ["at least 1, got 0", "--motion"]),
    ("distill dc --motion by_queries(query=999) --out W/new", ["at most 140", "--motion"]),
    ("distill dm --optimizer sgd(-1) --out W/new", ["above 0", "--optimizer"]),
    ("distill dm --optimizer by_group(a=sgd(1)) --out W/new", ["the groups a", "--optimizer"]),
    (
        "distill dm --norm-policy frozen --out W/new",
        ["(allowed: frozen_statistics, batch", "--norm-policy"],
    ),
    ("distill dm --decay halved_after((2,)) --out W/new", ["between 0 and 1, got 2", "--decay"]),
    ("distill dm --net-epochs 3 --out W/new", ["never() has no epochs", "--net-epochs"]),
    (
        "distill dm --networks-per-update 2 --updates 2 --out W/new",
        ["needs updates of 1", "(option --networks-per-update)"],
    ),
    # sets
    ("evaluate W/cut.safetensors", ["cut.safetensors: not a whole", "SET"]),
    ("evaluate W/changed.safetensors", ["changed.safetensors: not what was saved", "SET"]),
    ("evaluate W/good.png", ["good.png: not a whole", "SET"]),
    ("evaluate W/others.safetensors", ["not a distilled set", "SET"]),
    ("evaluate W/newer.safetensors", ["format version 9 is newer", "SET"]),
    ("evaluate W/nan.safetensors", ["images hold 1 values", "not finite", "SET"]),
    ("evaluate W/no-images.safetensors", ["holds no images", "SET"]),
    ("evaluate W/float-labels.safetensors", ["hard labels are float32", "SET"]),
    ("evaluate W/labels-beyond.safetensors", ["from 1 to 10", "SET"]),
    ("evaluate W/one-class.safetensors", ["class '0' has 10 images", "SET"]),
    ("evaluate W/two-channels.safetensors", ["2 channels", "SET"]),
    ("evaluate W/rgb.safetensors", ["(8, 8, 3)", "(8, 8, 1)", "--data"]),
    (
        "evaluate W/abc.safetensors",
        ["classes a, b, c, d, e, f, ... (10 in all)", "digits has 0, 1, 2", "--data"],
    ),
    ("evaluate W/deep.safetensors", ["depth may be at most", "--models"]),
    ("evaluate W/somebody.safetensors", ["'by_somebody' of the set", "JDD_IMPORT", "SET"]),
    ("evaluate W/no-protocol.safetensors", ["choose one of dc, ", "--protocol"]),
    ("evaluate W/begun", ["no set.safetensors", "SET"]),
    ("evaluate ~nobody-of-this-name/a", ["home", "SET"]),
    (
        "evaluate W/good.safetensors --data npz:W/right.npz",
        ["the set has the classes 0, 1, 2", "right.npz has 0, 1 (option --data)"],
    ),
    ("evaluate W/good.safetensors --ipc 0", ["goes with real images only", "--ipc"]),
    ("evaluate W/good.safetensors --classes 1 2", ["goes with real images only", "--classes"]),
    ("evaluate W/good.safetensors --sets 2", ["goes with real images only", "--sets"]),
    ("evaluate W/good.safetensors --protocol dcc", ["did you mean 'dc'?", "--protocol"]),
    ("evaluate W/good.safetensors --networks=-1", ["at least 1", "--networks"]),
    ("evaluate W/good.safetensors --seed=-1", ["from 0", "--seed"]),
    ("evaluate W/good.safetensors --out W/good.json", ["already exists", "--out"]),
    ("evaluate W/good.safetensors --out W/begun", ["is a folder", "--out"]),
    ("evaluate W/good.safetensors --out W/good.png/a.json", ["no folder", "--out"]),
    ("evaluate W/good.safetensors --out /proc/a.json", ["--out"]),
    ("evaluate W/good.safetensors --out W/LONG", ["name too long", "--out"]),
    ("evaluate random --baseline none", ["a distilled set only", "--baseline"]),
    ("evaluate random --classes 3", ["at least 2 classes, has 1", "--classes"]),
    ("evaluate random --data npz:W/right.npz --ipc 6", ["from 1 to 5", "--ipc"]),
    ("evaluate random random", ["random"]),
    ("evaluate uniform(3)", ["uniform(3) is of kind Sampler", "SET"]),
    ("evaluate from_herding(0)", ["at least 1, got 0", "SET"]),
    ("evaluate W/good.safetensors --baseline uniform(3)", ["is of kind Sampler", "--baseline"]),
    ("evaluate", ["Missing from jdd evaluate: SET", "jdd evaluate --help"]),
    # pictures
    ("show W/changed.safetensors", ["not what was saved", "SET"]),
    ("show W/absent.safetensors", ["no such file", "SET"]),
    ("show W/somebody.safetensors --out W/new.png", ["not drawn", "JDD_IMPORT", "SET"]),
    ("show W/good.safetensors", ["good.png already exists: --overwrite", "--out"]),
    ("show W/good.safetensors --overwrite --out W/good.safetensors", ["end in .png", "--out"]),
    ("show W/good.safetensors --overwrite --out W/good.json", ["end in .png", "--out"]),
    ("show W/good.safetensors --out W/good.png/a.png", ["no folder", "--out"]),
    ("show W/good.safetensors --out /proc/a.png", ["--out"]),
    # queries
    ("distill cafe --outer 0 --out W/new", ["must be between 0 and 1, got 0.0", "--outer"]),
    ("distill cafe --inner 1 --out W/new", ["must be between 0 and 1, got 1.0", "--inner"]),
    ("distill cafe --inner nan --out W/new", ["must be between 0 and 1", "--inner"]),
    ("distill cafe --max-updates 0 --out W/new", ["at least 1, got 0", "--max-updates"]),
    ("distill cafe --max-epochs 0 --out W/new", ["at least 1, got 0", "--max-epochs"]),
    ("distill cafe --window 1 --out W/new", ["at least 2, got 1", "--window"]),
    ("distill cafe --window 101 --out W/new", ["at most 100", "got 101", "--window"]),
    (
        "distill cafe --networks 1000000000 --out W/new",
        ["below 2147483648, got 1000000000 x 50", "(option --networks)"],
    ),
    ("distill cafe --query 0 --out W/new", ["at least 1, got 0", "--query"]),
    ("distill cafe --ipc 9 --query 8 --out W/new", ["the 9 synthetic images", "--query"]),
    (
        "distill cafe --query 1000 --out W/new",
        ["images of the smallest class, got 1000", "--query"],
    ),
    ("distill cafe --inner 0.9 --query 20 --out W/new", ["no accuracy ranges over", "--inner"]),
    (
        "distill cafe --max-updates 1000000000000 --out W/new",
        ["below 2147483648, got 8 x 1000000000000", "(option --max-updates)"],
    ),
    (
        "distill cafe --rule corect --out W/new",
        ["'corect' for argument '--rule'", "'corrected', 'original'"],
    ),
    ("distill cafe --layer-weights -1 1 --out W/new", ["at least 0", "(option --layer-weights)"]),
    ("distill cafe --discrimination nan --out W/new", ["at least 0", "(option --discrimination)"]),
    (
        "distill cafe --layer-weights 0 0 --discrimination 0 --out W/new",
        ["not all of them 0", "(option --layer-weights, --discrimination)"],
    ),
    (
        "distill cafe --layer-weights 1 1 SMALL --out W/new",
        ["3 real layers and 2 weights", "ConvNet-1", "(option --layer-weights)"],
    ),
    ("distill cafe --strategy crp --out W/new", ["did you mean 'crop'", "--strategy"]),
]


def files(folder: Path) -> dict[str, bytes]:
    """All but the name of the process that was last at work in a run."""
    there = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): path.read_bytes() for path in there}


@pytest.fixture
def unchanged(world: Path) -> Iterator[None]:
    before = files(world)
    yield
    assert files(world) == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("command", "words"), CASES, ids=[command for command, _ in CASES])
def test_bad_input_is_one_clear_line(cli, refused, world, command, words):
    written = command.replace("SMALL", SMALL).replace("LONG", "x" * 300)
    outcome = cli(*written.replace("W/", f"{world}/").replace("W ", f"{world} ").split())
    assert refused(outcome, *words), outcome
    assert not (world / "new").exists()


def test_a_set_that_says_strange_things_of_itself_is_shown(cli, world, tmp_path):
    results = {"a": {"mean": "high", "std": 0, "networks": 1, "protocol": "dc"}, "b": [1], "c": {}}
    metadata = Metadata(
        *("dc", "toy", ("cat", "dog"), 1, "normalised", (0.5,), (0.25,)), results=results
    )
    file = DistilledSet.from_images(floats(2, 8, 8, 1), np.arange(2), metadata).save(
        tmp_path / "a.safetensors"
    )
    outcome = cli("show", file)
    assert outcome.code == 0 and " %" not in outcome.out, outcome
    assert "mean high, std 0, networks 1, protocol dc" in outcome.out
