"""Sets of jdd 0.1 are read: every one in the repository, and what their metadata may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from jdd.artefact import DistilledSet, Metadata
from jdd.augment import dc_augmentation, dsa_augmentation, no_augmentation
from jdd.configuration import DataChoice
from jdd.evaluate import PROTOCOLS, dsa_protocol
from jdd.nn import Network, network
from jdd.synthetic import pixels

ROOT = Path(__file__).parents[1]
SETS = sorted((ROOT / "experiments" / "results").rglob("set.safetensors"))
# The statistics that the readers of these data sets state.
CHANNELS = {"cifar10": 3, "fashion_mnist": 1}
# As jdd 0.1 wrote it, of the ConvNet with the usual options.
OPTIONS = {
    "data": "cifar10",
    "classes": [],
    "width": 128,
    "depth": 3,
    "norm": "instance",
    "activation": "relu",
    "pooling": "avg",
    "eval_norm": "instance",
    "train_split": "7d39241327b28e42",
}
RECIPE = {
    "epochs": 300,
    "augmentation": "none",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "batch_size": 256,
    "augmenter": "dsa",
    "trained_epochs": 301,
    "decay": {"after": 152, "factor": 0.1, "momentum_starts_anew": True},
}


def old(**changes: Any) -> Metadata:
    entries = {
        "format_version": 1,
        "method": "dc",
        "dataset": "cifar10",
        "class_names": ["a", "b"],
        "ipc": 1,
        "space": "normalised",
        "mean": [0.5],
        "std": [0.25],
        "layout": "NHWC",
        "decode": "none",
        "augmentation": None,
        "protocol": "dc",
        "recipe": RECIPE,
        "learned_lr": None,
        "options": OPTIONS,
        "seed": 0,
        "versions": {"jdd": "0.1.0"},
        "results": {},
    }
    return Metadata.from_json(json.dumps(entries | changes))


def header_of(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["jdd"])


def test_the_repository_has_old_sets() -> None:
    assert len([path for path in SETS if header_of(path)["format_version"] == 1]) >= 34


@pytest.mark.parametrize("path", SETS, ids=lambda path: f"{path.parts[-3]}-{path.parts[-2]}")
def test_every_set_of_the_repository_is_read(path: Path, tmp_path: Path) -> None:
    loaded = DistilledSet.load(path)
    header, tensors = header_of(path), safetensors.numpy.load_file(path)
    if header["format_version"] > 1:
        pytest.skip("a set of this version")
    metadata, options = loaded.metadata, header["options"]
    assert loaded.images.tobytes() == tensors["images"].tobytes()
    assert loaded.images.shape == tensors["images"].shape
    assert loaded.image_shape[2] == CHANNELS[metadata.dataset]
    np.testing.assert_array_equal(loaded.labels, tensors["labels"])
    assert loaded.labels.tolist() == sorted(loaded.labels.tolist())
    assert loaded.synthetic == pixels and loaded.num_floats == tensors["images"].size

    protocol = metadata.evaluation_protocol()
    assert protocol is not None and protocol == PROTOCOLS[header["protocol"]]
    assert metadata.augmentation() == protocol.augment
    strategy = (header["augmentation"] or {"strategy": ""})["strategy"]
    assert protocol.augment.strategy == strategy
    if "recipe" in header:
        assert protocol.epochs == header["recipe"]["epochs"]

    of_convnet = ("width", "depth", "norm", "activation", "pooling")
    trained = Network("convnet", {name: options[name] for name in of_convnet})
    assert metadata.network() == trained
    assert metadata.eval_network() == trained.replace(norm=options["eval_norm"])
    classes = tuple(options["classes"] or metadata.class_names)
    assert metadata.data_choice() == DataChoice(
        options["data"], classes, fingerprint=options["train_split"]
    )
    kept = ("method", "dataset", "ipc", "space", "seed", "versions", "results")
    assert {name: getattr(metadata, name) for name in kept} == {name: header[name] for name in kept}
    assert f"networks {options['networks']}" in metadata.describe()["run: options"]

    # As a set of this version it stays the same.
    again = DistilledSet.load(loaded.save(tmp_path / "set.safetensors"))
    assert again.metadata == metadata
    assert again.images.tobytes() == loaded.images.tobytes()
    assert header_of(tmp_path / "set.safetensors")["format_version"] == 2


@pytest.mark.parametrize(
    ("method", "data", "name"),
    [
        ("dc", "cifar10", "dc"),
        ("dcc", "mnist", "dc-crop-scale-rotate"),
        ("dcc", "tfds:mnist/3.0.1", "dc-crop-scale-rotate"),
        ("cafe", "cifar10", "cafe"),
        ("cafe-fixed", "cifar10", "cafe"),
        ("cafe", "mnist", "dc-crop-scale-rotate"),
        ("somebody's", "cifar10", "dc-crop-noise"),
    ],
)
@pytest.mark.parametrize("named_only", [True, False])
def test_a_protocol_named_for_batch_norm_is_that_of_the_method(
    method: str, data: str, name: str, named_only: bool
) -> None:
    recipe = RECIPE | {
        "epochs": 1000,
        "augmentation": "crop_noise",
        "augmenter": "dc",
        "trained_epochs": 1001,
        "decay": {"after": 502, "factor": 0.1, "momentum_starts_anew": True},
    }
    options = OPTIONS | {"data": data, "norm": "batch", "eval_norm": "batch"}
    metadata = old(
        method=method,
        protocol="dc-crop-noise",
        recipe={} if named_only else recipe,
        options=options,
    )
    protocol, judge = metadata.evaluation_protocol(), metadata.eval_network()
    assert protocol is not None and protocol == PROTOCOLS[name]
    assert judge is not None and judge == network("convnetbn")
    # The network that the set names is evaluated as before.
    assert protocol.for_network(judge) == PROTOCOLS["dc-crop-noise"]


@pytest.mark.parametrize("recipe", [{}, RECIPE])
def test_a_protocol_by_its_name(recipe: dict[str, Any]) -> None:
    assert old(recipe=recipe).evaluation_protocol() == PROTOCOLS["dc"]


def test_a_strategy_of_its_own() -> None:
    augmentation = {"name": "dsa", "strategy": "color_crop"}
    recipe = RECIPE | {
        "epochs": 1000,
        "augmentation": "color_crop",
        "trained_epochs": 1001,
        "decay": {"after": 502, "factor": 0.1, "momentum_starts_anew": True},
    }
    for entries in ({"recipe": recipe}, {"recipe": {}}):
        metadata = old(protocol="dsa, color_crop", augmentation=augmentation, **entries)
        assert metadata.evaluation_protocol() == dsa_protocol("color_crop")


def test_a_recipe_of_another_content_is_followed_and_named() -> None:
    protocol = old(recipe=RECIPE | {"learning_rate": 0.5}).evaluation_protocol()
    assert protocol is not None
    assert (protocol.learning_rate, protocol.name) == (0.5, "dc, as the set states it")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"protocol": "mtt", "recipe": {}},
            "the set is meant for the protocol 'mtt', which this jdd does not know",
        ),
        (
            {"protocol": "dsa, crop", "recipe": {}},  # the augmentation is not stated
            "the set is meant for the protocol 'dsa, crop', which this jdd does not know",
        ),
        ({"recipe": {"epochs": 300}}, "the protocol cannot be read: entry 'augmentation'"),
        ({"recipe": RECIPE | {"decay": {}}}, "the protocol dc has decay {}, this jdd has"),
        ({"recipe": RECIPE | {"epochs": 0}}, "epochs must be at least 1, got 0"),
        ({"recipe": RECIPE | {"augmentation": "rotat"}}, "did you mean 'rotate'"),
    ],
)
def test_a_protocol_that_cannot_be_followed_is_refused_when_asked_for(
    changes: dict[str, Any], message: str
) -> None:
    metadata = old(**changes)
    with pytest.raises(ValueError, match=rf"{message}.*: choose one of dc, ") as e:
        metadata.evaluation_protocol()
    assert "\n" not in str(e.value)
    assert metadata.network() == network("convnet")
    assert Metadata.from_json(metadata.to_json()) == metadata


def test_an_augmentation_without_a_protocol_is_kept() -> None:
    none: dict[str, Any] = {"protocol": "", "recipe": {}}
    for name, expected in (("dsa", dsa_augmentation("crop")), ("dc", dc_augmentation("crop"))):
        metadata = old(augmentation={"name": name, "strategy": "crop"}, **none)
        assert metadata.evaluation_protocol() is None
        assert metadata.augmentation() == expected
        assert expected.strategy in metadata.describe()["run: augmentation"]
    assert old(**none).augmentation() == no_augmentation()


def test_options_are_network_and_data() -> None:
    options = {"model": "resnet18", "norm": "batch", "downsampling": "avg_pool", "data": "npz:a"}
    metadata = old(options=options | {"eval_norm": "instance", "classes": ["3", "4"]})
    assert metadata.network() == network("resnet18bn_ap")
    assert metadata.eval_network() == network("resnet18")
    assert metadata.data_choice() == DataChoice("npz:a", ("a", "b"))
    mlp = old(options={"model": "mlp", "eval_norm": "none"})
    assert mlp.network() == mlp.eval_network() == network("mlp")
    by_hand = old(options={"rate": 0.1})
    assert by_hand.network() is None and by_hand.data_choice() == DataChoice("cifar10", ("a", "b"))
    assert by_hand.describe()["run: options"] == "rate 0.1"
    assert old(options={}).configuration == {}


def test_a_learned_rate_has_its_new_name() -> None:
    assert old(learned_lr=0.02).learning_rate == 0.02


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decode": "mosaic"}, "unknown decode 'mosaic' (allowed: none)"),
        ({"method": 7}, "metadata: method is 7, not a string"),
        ({"protocol": 7}, "metadata: protocol is 7, not a string"),
        ({"recipe": "dc"}, "recipe is 'dc', not a mapping"),
        ({"options": [1]}, "options is [1], not a mapping"),
        ({"options": {"data": 1}}, "options: data is 1, not a string"),
        ({"options": {"classes": "a"}}, "options: classes is 'a', not a list"),
        ({"options": {"eval_norm": 1}}, "options: eval_norm is 1, not a string"),
        ({"options": {"model": "convnot"}}, "unknown network 'convnot', did you mean 'convnet'?"),
        ({"options": {"model": "mlp", "width": 64}}, "mlp has no width"),
        ({"options": {"width": [1]}}, "width must be a string or a whole number, got [1]"),
        ({"augmentation": "dsa"}, "augmentation is 'dsa', not a mapping"),
        ({"augmentation": {"strategy": "crop"}}, "augmentation lacks its name"),
        ({"augmentation": {"name": 1}}, "augmentation: name is 1, not a string"),
        (
            {"augmentation": {"name": "mixup"}, "protocol": "", "recipe": {}},
            "unknown augmentation 'mixup'",
        ),
        ({"learned_lr": -1}, "learning_rate is -1, not a positive number"),
        ({"mean": [0.5, 0.5]}, "mean and std have different lengths"),
    ],
)
def test_wrong_entries_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as e:
        old(**changes)
    assert message in str(e.value) and "\n" not in str(e.value)


def test_further_tensors_had_no_use_and_are_passed_over(tmp_path: Path) -> None:
    entries = json.loads(old().to_json()) | {
        "format_version": 1,
        "decode": "none",
        "protocol": "dc",
    }
    path = tmp_path / "set.safetensors"
    tensors = {
        "images": np.ones((2, 4, 4, 1), np.float32),
        "labels": np.array([1, 0]),
        "bases": np.zeros(3),
    }
    safetensors.numpy.save_file(tensors, path, metadata={"jdd": json.dumps(entries)})
    loaded = DistilledSet.load(path)
    assert loaded.stored.keys() == {"images"}
    assert loaded.labels.tolist() == [0, 1]
