"""The artefact: what is saved is loaded, by others too, and what is wrong is named in one line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import jdd
from jdd import choice
from jdd.artefact import DistilledSet, Metadata, versions
from jdd.artefact.provenance import checkout_commit
from jdd.augment import dsa_augmentation, no_augmentation
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.data import Batch
from jdd.evaluate import PROTOCOLS
from jdd.nn import network
from jdd.synthetic import Parametrisation, Statistics, all_variants, flat, pixels
from tests.parametrisations import mosaic, tinted

NAMES = ("cat", "dog", "ünïcode")
METADATA = Metadata(
    method="dsa",
    dataset="toy",
    class_names=NAMES,
    ipc=2,
    space="normalised",
    mean=(0.5, 0.4, 0.3),
    std=(0.25, 0.2, 0.1),
    protocol=PROTOCOLS["dsa"].to_json(),
    learning_rate=0.02,
    configuration={"data": {"name": "toy"}, "network": {"architecture": "convnet", "width": 16}},
    seed=3,
    results={"distilled": {"mean": 0.71, "std": 0.01, "networks": 5}, "step": 100},
)
LABELS = np.repeat(np.arange(3, dtype=np.int32), 2)
KEY = jax.random.key(0)
PARAMETRISATIONS = {"pixels": pixels, "mosaic": mosaic(2), "tinted": tinted(3)}


@jdd.register
def soft_labelled() -> Parametrisation:
    """Images with learned labels."""
    return Parametrisation(
        pixels.init, lambda params, v: Batch(params["images"], jax.nn.softmax(params["logits"]))
    )


@jdd.register
def forgetful() -> Parametrisation:
    """Restores other images than it stored."""
    return dataclasses.replace(pixels, restored=lambda stored: {"images": stored["images"] * 0.5})


def make_images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(6, 4, 5, 3)).astype(np.float32)


def make_set(**changes: Any) -> DistilledSet:
    metadata = dataclasses.replace(METADATA, **changes)
    return DistilledSet.from_images(make_images(), LABELS, metadata)


def make_params(synthetic: Parametrisation) -> Any:
    images = np.random.default_rng(2).uniform(size=(3, 2 * synthetic.tiles, 4, 6, 3))
    return synthetic.init(KEY, jnp.asarray(images, jnp.float32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "set.safetensors"


@pytest.fixture
def without_mosaic(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forgets `mosaic`, as a process that never imported its module."""
    return lambda: monkeypatch.delitem(choice.FACTORIES, "mosaic")


def rewrite(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, Any]) -> None:
    header = {"jdd": json.dumps(json.loads(METADATA.to_json()) | metadata)}
    safetensors.numpy.save_file(tensors, path, metadata=header)


def expected_images(synthetic: Parametrisation, params: Any) -> np.ndarray:
    variants = [np.asarray(synthetic.decode(params, v).images) for v in range(synthetic.variants)]
    stacked = np.stack(variants, axis=2) if synthetic.variants > 1 else variants[0]
    return stacked.reshape(-1, *stacked.shape[2:])


# what is saved is loaded


def test_round_trip_of_images(path: Path) -> None:
    saved = make_set()
    assert saved.save(path) == path
    loaded = DistilledSet.load(path)
    assert loaded.metadata == METADATA
    assert loaded.images.dtype == np.float32
    assert loaded.images.tobytes() == saved.images.tobytes() == make_images().tobytes()
    assert loaded.labels.dtype == np.int32
    np.testing.assert_array_equal(loaded.labels, LABELS)


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_round_trip_of_a_parametrisation(path: Path, name: str) -> None:
    synthetic = PARAMETRISATIONS[name]
    params = make_params(synthetic)
    saved = DistilledSet.from_params(synthetic, params, METADATA)
    saved.save(path)
    loaded = DistilledSet.load(path)
    assert loaded.synthetic == synthetic
    assert loaded.metadata.space == synthetic.space
    assert loaded.metadata == saved.metadata
    assert loaded.stored.keys() == params.keys()
    for entry, array in params.items():
        assert loaded.stored[entry].tobytes() == np.asarray(array).tobytes(), entry
        assert loaded.params[entry].shape == array.shape
    np.testing.assert_array_equal(loaded.images, expected_images(synthetic, params))
    assert loaded.images.dtype == np.float32
    np.testing.assert_array_equal(loaded.labels, np.repeat(np.arange(3), 2 * synthetic.tiles))
    assert loaded.variants == synthetic.variants
    assert loaded.num_floats == synthetic.num_floats(params)
    assert (loaded.num_classes, loaded.ipc, loaded.image_shape) == (3, 2, (4, 6, 3))
    again = loaded.save(path.with_name("again.safetensors"))
    assert again.read_bytes() == path.read_bytes()


def test_a_mosaic_has_four_images_for_each_stored_and_tints_are_an_axis() -> None:
    mosaics = DistilledSet.from_params(mosaic(2), make_params(mosaic(2)), METADATA)
    assert mosaics.images.shape == (24, 4, 6, 3)
    assert mosaics.stored["images"].shape == (3, 2, 4, 6, 3)
    tints = DistilledSet.from_params(tinted(3), make_params(tinted(3)), METADATA)
    assert tints.images.shape == tints.normalised().shape == tints.pixels().shape == (6, 3, 4, 6, 3)
    assert not np.allclose(tints.images[:, 0], tints.images[:, 1])


def test_soft_labels(path: Path) -> None:
    labels = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    saved = DistilledSet.from_images(make_images(), labels, METADATA)
    saved.save(path)
    np.testing.assert_array_equal(DistilledSet.load(path).labels, labels)
    tints = DistilledSet.from_params(tinted(3), make_params(tinted(3)), METADATA)
    dataclasses.replace(tints, labels=labels).save(path, overwrite=True)
    loaded = DistilledSet.load(path)
    np.testing.assert_array_equal(loaded.labels, labels)
    np.testing.assert_array_equal(loaded.images, tints.images)


def test_learned_labels_come_from_the_parameters(path: Path) -> None:
    logits = jax.random.normal(KEY, (3, 2, 3), jnp.float32)
    params = {"images": jnp.ones((3, 2, 4, 6, 3), jnp.float32), "logits": logits}
    DistilledSet.from_params(soft_labelled(), params, METADATA).save(path)
    loaded = DistilledSet.load(path)
    expected = jax.nn.softmax(logits).reshape(6, 3)
    np.testing.assert_array_equal(loaded.labels, expected)
    assert loaded.labels.dtype == np.float32


def test_double_precision_is_stored_as_single(path: Path) -> None:
    tints = {name: np.asarray(x, np.float64) for name, x in make_params(tinted(3)).items()}
    saved = DistilledSet.from_params(tinted(3), tints, METADATA)
    assert {x.dtype for x in saved.stored.values()} == {np.dtype(np.float32)}
    logits = np.zeros((3, 2, 3))
    images = {"images": np.ones((3, 2, 4, 6, 3))}
    soft = DistilledSet.from_params(soft_labelled(), images | {"logits": logits}, METADATA)
    soft.save(path)
    assert DistilledSet.load(path).labels.dtype == np.float32


def test_the_parameters_are_copies() -> None:
    saved = DistilledSet.from_params(tinted(3), make_params(tinted(3)), METADATA)
    before = saved.stored["images"].copy()
    jax.jit(lambda params: jax.tree.map(lambda x: x * 0, params), donate_argnums=0)(saved.params)
    np.testing.assert_array_equal(saved.stored["images"], before)


def test_a_learned_rate_is_kept(path: Path) -> None:
    for rate in (None, 1e-7, 0.05):
        make_set(learning_rate=rate).save(path, overwrite=True)
        assert DistilledSet.load(path).metadata.learning_rate == rate


def test_any_safetensors_reader_opens_pixels(path: Path) -> None:
    saved = make_set()
    saved.save(path)
    tensors = safetensors.numpy.load_file(path)
    assert tensors.keys() == {"images", "labels"}
    np.testing.assert_array_equal(tensors["images"], make_images())
    np.testing.assert_array_equal(tensors["labels"], LABELS)
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["jdd"])
    assert header == json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert header["format_version"] == 2
    assert header["space"] == "normalised"
    assert header["mean"] == [0.5, 0.4, 0.3]
    assert header["class_names"] == ["cat", "dog", "ünïcode"]
    assert header["synthetic"] == {"choice": "pixels"}
    assert header["decode"] == "images are stored as they are"
    assert header["protocol"]["augment"]["choice"] == "dsa_augmentation"
    assert header["versions"] == versions()


def test_other_parametrisations_are_described_to_other_readers(path: Path) -> None:
    DistilledSet.from_params(tinted(3), make_params(tinted(3)), METADATA).save(path)
    tensors = safetensors.numpy.load_file(path)
    assert tensors.keys() == {"stored/images", "stored/tints", "labels"}
    assert tensors["stored/images"].shape == (3, 2, 4, 6, 3)
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["jdd"])
    assert header["synthetic"] == {"choice": "tinted", "variants": 3}
    assert header["decode"] == (
        "tinted(3): Each variant of an image is the image times one plus a tint, one number per channel."
    )


def test_one_file_suffices(path: Path) -> None:
    make_set().save(path)
    path.with_suffix(".json").unlink()
    assert DistilledSet.load(path).metadata == METADATA


def test_images_are_sorted_by_their_labels() -> None:
    order = [4, 0, 3, 1, 5, 2]
    images = jnp.asarray(make_images())[jnp.asarray(order)]
    distilled = DistilledSet.from_images(images, LABELS[order].astype(np.uint64), METADATA)  # type: ignore[arg-type]
    assert isinstance(distilled.images, np.ndarray)
    assert distilled.labels.dtype == np.int32
    np.testing.assert_array_equal(distilled.labels, LABELS)
    np.testing.assert_array_equal(distilled.images, make_images()[[0, 1, 3, 2, 4, 5]])


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_pixels_and_normalised_agree_with_the_space(name: str) -> None:
    synthetic = PARAMETRISATIONS[name]
    distilled = DistilledSet.from_params(synthetic, make_params(synthetic), METADATA)
    mean, std = np.asarray([METADATA.mean, METADATA.std], np.float32)
    images = distilled.images
    is_raw = synthetic.space == "raw01"
    expected = (images - mean) / std if is_raw else images
    np.testing.assert_allclose(distilled.normalised(), expected, rtol=1e-6)
    assert distilled.normalised().dtype == np.float32
    raw = np.clip((images if is_raw else images * std + mean) * 255.0, 0, 255)
    assert distilled.pixels().dtype == np.uint8
    assert np.abs(distilled.pixels() - raw).max() <= 0.5001


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_networks_see_what_they_saw_in_the_run_bit_for_bit(path: Path, name: str) -> None:
    synthetic = PARAMETRISATIONS[name]
    params = make_params(synthetic)
    rows = (jnp.asarray(x, jnp.float32) for x in (METADATA.mean, METADATA.std))
    statistics = Statistics(*(row.reshape(1, 1, 1, 1, 1, -1) for row in rows))
    seen = np.asarray(flat(all_variants(synthetic, params, statistics)).images)
    DistilledSet.from_params(synthetic, params, METADATA).save(path)
    loaded = DistilledSet.load(path).normalised()
    assert loaded.tobytes() == seen.reshape(loaded.shape).tobytes()


def test_images_made_by_hand_may_be_in_either_space() -> None:
    mean, std = np.asarray([METADATA.mean, METADATA.std], np.float32)
    raw = np.random.default_rng(1).uniform(-0.2, 1.2, size=(6, 4, 5, 3)).astype(np.float32)
    in_raw = DistilledSet.from_images(raw, LABELS, dataclasses.replace(METADATA, space="raw01"))
    in_normalised = DistilledSet.from_images((raw - mean) / std, LABELS, METADATA)
    for distilled in (in_raw, in_normalised):
        assert np.abs(distilled.pixels() - np.clip(raw * 255.0, 0, 255)).max() <= 0.5001
        np.testing.assert_allclose(distilled.normalised(), (raw - mean) / std, rtol=1e-6)


# to PyTorch


def as_torch(monkeypatch: pytest.MonkeyPatch, distilled: DistilledSet) -> tuple[Any, Any]:
    """What `to_torch` passes to PyTorch."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=lambda array: array))
    return distilled.to_torch()


@pytest.mark.parametrize("channels", [1, 3])
def test_torch_takes_images_and_labels(monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    rows = METADATA.mean[:channels], METADATA.std[:channels]
    metadata = dataclasses.replace(METADATA, mean=rows[0], std=rows[1])
    distilled = DistilledSet.from_images(make_images()[..., :channels].copy(), LABELS, metadata)
    images, labels = as_torch(monkeypatch, distilled)
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(images, np.moveaxis(distilled.normalised(), -1, 1))
    np.testing.assert_array_equal(labels, LABELS)
    assert images.flags.c_contiguous and images.flags.writeable
    images[:] = 0  # the set has memory of its own
    labels[:] = 0
    np.testing.assert_array_equal(distilled.images, make_images()[..., :channels])
    np.testing.assert_array_equal(distilled.labels, LABELS)


def test_torch_takes_soft_labels_and_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    soft = np.full((6, 3), 1 / 3, np.float32)
    tints = DistilledSet.from_params(tinted(2), make_params(tinted(2)), METADATA)
    images, labels = as_torch(monkeypatch, dataclasses.replace(tints, labels=soft))
    assert images.shape == (6, 2, 3, 4, 6)
    np.testing.assert_array_equal(labels, soft)
    assert labels.dtype == np.float32
    labels[:] = 0
    assert soft.min() > 0


def test_torch_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        ValueError, match=r"^to_torch needs PyTorch, which is not installed \(pip install torch\)$"
    ):
        make_set().to_torch()


def test_a_network_of_torch_trains_on_it() -> None:
    torch = pytest.importorskip("torch")
    images, labels = make_set().to_torch()
    logits = images.flatten(1) @ torch.ones(60, 3)
    assert torch.nn.functional.cross_entropy(logits, labels).isfinite()
    assert images.is_contiguous() and images.shape == (6, 3, 4, 5)


# what a set states


def run(**changes: Any) -> Configuration:
    recipe = dataclasses.replace(jdd.dm(2, data="digits", strategy="crop"), **changes)
    data = DataChoice("digits", classes=("1", "0"), fingerprint="1234")
    return Configuration(
        recipe, data, network("convnetbn", width=16), EvaluationPlan(norm="group"), seed=7
    )


def test_the_metadata_of_a_run() -> None:
    digits = jdd.load_dataset("digits").restrict(["1", "0"])
    results = {"distilled": {"mean": 0.5}}
    metadata = Metadata.of_run(run(), digits, learning_rate=0.1, results=results)
    assert (metadata.method, metadata.dataset, metadata.ipc) == ("dm", "digits", 2)
    assert metadata.class_names == ("1", "0")
    assert (metadata.mean, metadata.std) == (digits.mean, digits.std)
    assert metadata.evaluation_protocol() == run().recipe.protocol
    assert metadata.augmentation() == dsa_augmentation("crop")
    assert metadata.data_choice() == run().data
    assert metadata.network() == run().network
    assert metadata.eval_network() == run().eval_network == network("convnetgn", width=16)
    assert Configuration.from_record(metadata.configuration) == run()
    assert (metadata.seed, metadata.learning_rate, metadata.results) == (7, 0.1, results)
    mosaics = Metadata.of_run(run(synthetic=mosaic(2)), digits)
    assert (mosaics.space, mosaics.parametrisation()) == ("raw01", mosaic(2))
    with pytest.raises(
        ValueError, match=r"decorate the function that makes it with @jdd\.register"
    ):
        Metadata.of_run(run(synthetic=Parametrisation(pixels.init, pixels.decode)), digits)


@pytest.mark.parametrize("pool", ["S", "SS"])
def test_the_evaluation_network_needs_no_other_choice(
    without_mosaic: Callable[[], None], pool: str
) -> None:
    configuration = dataclasses.replace(
        run(synthetic=mosaic(2), pool=pool), evaluation=EvaluationPlan()
    )
    metadata = Metadata.of_run(configuration, jdd.load_dataset("digits"))
    without_mosaic()
    assert metadata.eval_network() == configuration.eval_network
    assert metadata.evaluation_protocol() == configuration.recipe.protocol


def test_a_set_made_by_hand_states_what_is_known() -> None:
    metadata = Metadata("mine", "digits", ("1", "7"), 1, "normalised", (0.5,), (0.25,))
    assert metadata.evaluation_protocol() is None
    assert metadata.augmentation() == no_augmentation()
    assert metadata.network() is None and metadata.eval_network() is None
    assert metadata.data_choice() == DataChoice("digits", ("1", "7"))


def test_joined_sets_have_the_classes_of_their_labels() -> None:
    metadata = Metadata.of_run(run(), jdd.load_dataset("digits").restrict(["1", "0"]))
    joined = dataclasses.replace(metadata, class_names=("1", "0", "2", "3"))
    assert joined.data_choice() == DataChoice("digits", ("1", "0", "2", "3"))


def test_a_protocol_of_another_content_has_another_name() -> None:
    other = dataclasses.replace(PROTOCOLS["dc"], epochs=20)
    protocol = dataclasses.replace(METADATA, protocol=other.to_json()).evaluation_protocol()
    assert protocol == dataclasses.replace(other, name="dc, as the set states it")
    renamed = dataclasses.replace(other, name="mine").to_json()
    assert dataclasses.replace(METADATA, protocol=renamed).evaluation_protocol() == (
        dataclasses.replace(other, name="mine")
    )


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"name": "new"}, "the set is meant for the protocol 'new', which this jdd does not know"),
        ({"name": "dc", "version": 3}, "the protocol has version 3, this jdd reads versions 1 and"),
        ({"version": 2, "name": "dc"}, "the protocol cannot be read: entry"),
        (
            PROTOCOLS["dc"].to_json() | {"augment": {"choice": "mixup"}},
            "unknown choice 'mixup'",
        ),
        (PROTOCOLS["dc"].to_json() | {"dropout": 0.5}, "the protocol has dropout 0.5"),
    ],
)
def test_a_protocol_that_cannot_be_followed(protocol: Any, message: str) -> None:
    metadata = dataclasses.replace(METADATA, protocol=protocol)
    for read in (metadata.evaluation_protocol, metadata.augmentation):
        with pytest.raises(ValueError, match=rf"^{message}.*: choose one of dc, ") as e:
            read()
        assert "\n" not in str(e.value)
    assert message in metadata.describe()["protocol"]


@pytest.mark.parametrize("protocol", [{"name": [1]}, PROTOCOLS["dc"].to_json() | {"name": 1}])
def test_a_protocol_must_have_a_name(protocol: Any) -> None:
    with pytest.raises(ValueError, match=r"protocol: name is .*, not a string"):
        dataclasses.replace(METADATA, protocol=protocol).evaluation_protocol()


@pytest.mark.parametrize(
    ("configuration", "read", "message"),
    [
        ({"data": 1}, "data_choice", "data is 1, not a mapping"),
        ({"data": {"name": 1}}, "data_choice", "data: name is 1, not a string"),
        ({"data": {"classes": "a"}}, "data_choice", "classes is 'a', not a list"),
        ({"data": {"test_share": "a"}}, "data_choice", "test_share is 'a', not a number"),
        ({"network": "mlp"}, "network", "network is 'mlp', not a mapping"),
        ({"network": {"architecture": "mpl"}}, "network", "unknown architecture 'mpl', did you"),
        ({"network": {"width": 8}}, "network", "needs an 'architecture'"),
        ({"evaluation": {"norm": 1}}, "eval_network", "norm is 1, not a string"),
        ({"recipe": {"pool": "X"}}, "eval_network", "unknown pool 'X'"),
        ({"recipe": 1}, "eval_network", "recipe is 1, not a mapping"),
    ],
)
def test_a_configuration_that_cannot_be_read(configuration: Any, read: str, message: str) -> None:
    some = {"network": {"architecture": "convnet"}} | configuration
    metadata = dataclasses.replace(METADATA, configuration=some)
    with pytest.raises(ValueError, match=message):
        getattr(metadata, read)()
    assert metadata.describe()  # shows it as it is


def shown(row: str) -> Callable[[DistilledSet], Any]:
    return lambda distilled: distilled.describe()[row]


# Each field with another value, and what a user then sees change. Only `layout` has a single value.
READERS: dict[str, tuple[Any, Callable[[DistilledSet], Any]]] = {
    "method": ("dm", shown("method")),
    "dataset": (
        "digits",
        lambda d: dataclasses.replace(d.metadata, configuration={}).data_choice(),
    ),
    "class_names": (("a", "b", "c"), lambda d: d.metadata.data_choice().classes),
    "ipc": (1, lambda d: d.ipc),
    "space": ("raw01", lambda d: d.pixels().tobytes()),
    "mean": ((0.1, 0.1, 0.1), lambda d: d.pixels().tobytes()),
    "std": ((0.1, 0.1, 0.2), lambda d: d.pixels().tobytes()),
    "synthetic": ({"choice": "tinted", "variants": 1}, lambda d: d.metadata.parametrisation()),
    "decode": ("by hand", shown("decoding")),
    "protocol": ({}, lambda d: (d.metadata.evaluation_protocol(), d.metadata.augmentation())),
    "learning_rate": (1.0, shown("learning rate")),
    "configuration": ({}, lambda d: (d.metadata.network(), d.metadata.eval_network())),
    "seed": (9, shown("seed")),
    "versions": ({"jdd": "0"}, shown("versions")),
    "results": ({"step": 1}, shown("result: step")),
}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Metadata)])
def test_every_field_of_the_metadata_has_a_reader(field: str) -> None:
    if field == "layout":
        with pytest.raises(ValueError, match="unknown layout 'NCHW'"):
            dataclasses.replace(METADATA, layout="NCHW")
        return
    value, read = READERS[field]
    before, changed = make_set(), dataclasses.replace(METADATA, **{field: value})
    if field == "ipc":
        after = DistilledSet.from_images(make_images()[::2].copy(), LABELS[::2], changed)
    elif field == "synthetic":
        stored = {"images": before.stored["images"], "tints": np.zeros((1, 3), np.float32)}
        after = DistilledSet(stored, LABELS, changed)
    else:
        after = DistilledSet.from_images(make_images(), LABELS, changed)
    assert read(before) != read(after)


def test_the_description_lists_everything() -> None:
    digits = jdd.load_dataset("digits").restrict(["1", "0"])
    results = {
        "distilled images": {"mean": 0.715, "std": 0.01, "networks": 5, "network": "ConvNet-3"},
        "one": {"mean": 0.5, "std": 0.0, "networks": 1},
        "step": 20,
        "words": {"a": [1, "b"]},
    }
    metadata = Metadata.of_run(run(synthetic=tinted(3)), digits, learning_rate=0.1, results=results)
    images = jnp.zeros((2, 2, 8, 8, 1))
    distilled = DistilledSet.from_params(tinted(3), tinted(3).init(KEY, images), metadata)
    rows = distilled.describe()
    assert rows["images"] == "4 of 8x8x1, 3 variants of each (259 numbers stored)"
    assert rows["stored arrays"] == "images float32[2, 2, 8, 8, 1], tints float32[3, 1]"
    assert rows["labels"] == "hard"
    assert rows["data set"] == "digits, 2 classes: 1, 0"
    assert rows["parametrisation"] == "tinted(variants=3)"
    assert rows["decoding"].startswith("tinted(3): Each variant")
    assert rows["learning rate"] == "0.1 (learned)"
    assert rows["protocol"] == run().recipe.protocol.describe()
    assert rows["run: sampler"] == "uniform(n=256)"
    assert "width 16" in rows["run: network"] and "norm batch" in rows["run: network"]
    assert rows["run: data"] == "name digits, classes [1, 0], test_share None, fingerprint 1234"
    assert rows["result: distilled images"] == "71.50 +- 1.00 % (5 networks, ConvNet-3)"
    assert rows["result: one"] == "50.00 % (1 network)"
    assert (rows["result: step"], rows["result: words"]) == ("20", "a [1, b]")
    assert not any("\n" in text for text in rows.values())


# an unknown parametrisation


def test_an_unknown_parametrisation_is_shown_and_named(
    path: Path, without_mosaic: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = DistilledSet.from_params(mosaic(2), make_params(mosaic(2)), METADATA)
    known.save(path)
    factory = choice.FACTORIES["mosaic"]
    without_mosaic()
    loaded = DistilledSet.load(path)
    assert loaded.stored["images"].shape == (3, 2, 4, 6, 3)
    assert len(loaded.labels) == 24
    rows = loaded.describe()
    assert rows["images"] == "24, not decoded: their parametrisation is unknown here"
    assert rows["parametrisation"] == "mosaic(factor=2)"
    assert rows["decoding"].startswith("mosaic(2): Each stored image is a grid")
    message = (
        r"^the set is decoded by 'mosaic', which this process does not know: import the module that"
    )
    for read in ("images", "params", "variants", "num_floats", "image_shape"):
        with pytest.raises(ValueError, match=message):
            getattr(loaded, read)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=lambda array: array))
    for method in (loaded.normalised, loaded.pixels, loaded.to_torch):
        with pytest.raises(ValueError, match=message):
            method()
    # It saves as it is, and decodes as soon as the module is imported.
    assert loaded.save(path.with_name("b.safetensors")).read_bytes() == path.read_bytes()
    monkeypatch.setitem(choice.FACTORIES, "mosaic", factory)
    np.testing.assert_array_equal(loaded.images, known.images)


def test_an_unknown_part_of_a_parametrisation_is_named() -> None:
    inner = {"choice": "tinted", "variants": [{"choice": "by_somebody"}]}
    metadata = dataclasses.replace(METADATA, synthetic=inner)
    with pytest.raises(ValueError, match="decoded by 'by_somebody'"):
        metadata.parametrisation()


def test_labels_of_a_set_that_was_unknown_are_checked_when_it_decodes(
    path: Path, without_mosaic: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    factory = choice.FACTORIES["mosaic"]
    rewrite(
        path,
        {"stored/images": np.zeros((3, 2, 4, 6, 3), np.float32), "labels": LABELS},
        {"synthetic": {"choice": "mosaic", "factor": 2}, "space": "raw01"},
    )
    with pytest.raises(ValueError, match=r"labels have shape \(6,\), but there are 24 images"):
        DistilledSet.load(path)
    without_mosaic()
    loaded = DistilledSet.load(path)
    monkeypatch.setitem(choice.FACTORIES, "mosaic", factory)
    with pytest.raises(ValueError, match=r"labels have shape \(6,\), but there are 24 images"):
        loaded.images  # noqa: B018


# writing


def test_nothing_is_overwritten_unasked(path: Path) -> None:
    make_set().save(path)
    before = path.read_bytes()
    other = make_set(seed=4)
    with pytest.raises(ValueError, match=r"set\.safetensors already exists$"):
        other.save(path)
    assert path.read_bytes() == before
    path.unlink()
    with pytest.raises(ValueError, match=r"set\.json already exists$"):
        other.save(path)
    assert not path.exists()
    other.save(path, overwrite=True)
    assert DistilledSet.load(path).metadata.seed == 4


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_set().save(path)
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        make_set(seed=9).save(path, overwrite=True)
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["set.json", "set.safetensors"]


# what is wrong is named


def test_errors_of_the_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        make_set().save(tmp_path / "set.pt")
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        make_set().save(tmp_path / "nowhere" / "set.safetensors")
    with pytest.raises(ValueError, match="there is no such file"):
        DistilledSet.load(tmp_path / "set.safetensors")
    with pytest.raises(ValueError, match="is a folder"):
        DistilledSet.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_cut_off_file_is_reported(path: Path, keep: int) -> None:
    make_set().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        ValueError, match=r"^\S*set\.safetensors: not a whole safetensors file"
    ) as e:
        DistilledSet.load(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_a_changed_byte_is_reported(path: Path, name: str) -> None:
    synthetic = PARAMETRISATIONS[name]
    DistilledSet.from_params(synthetic, make_params(synthetic), METADATA).save(path)
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^\S*set\.safetensors: not what was saved"):
        DistilledSet.load(path)


def test_files_of_others_are_reported(path: Path) -> None:
    path.write_text("a text of some length, but no tensors at all")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        DistilledSet.load(path)
    safetensors.numpy.save_file({"images": make_images()}, path)
    with pytest.raises(ValueError, match="not a distilled set of jdd"):
        DistilledSet.load(path)
    safetensors.numpy.save_file({"images": make_images()}, path, metadata={"jdd": "{"})
    with pytest.raises(ValueError, match="the metadata is not JSON"):
        DistilledSet.load(path)
    safetensors.numpy.save_file({"images": make_images()}, path, metadata={"jdd": "[]"})
    with pytest.raises(ValueError, match="the metadata is not a JSON object"):
        DistilledSet.load(path)


TINTS = {"synthetic": {"choice": "tinted", "variants": 2}}
IMAGES = np.zeros((3, 2, 4, 5, 3), np.float32)


@pytest.mark.parametrize(
    ("tensors", "changes", "message"),
    [
        ({"images": make_images()}, {}, "the file holds no labels$"),
        ({"labels": LABELS}, {}, "the file holds no images$"),
        ({}, {}, "the file holds no images and no labels$"),
        ({"stored/images": IMAGES}, TINTS, "the file holds no labels$"),
        ({"labels": LABELS}, TINTS, "stored is empty"),
        (
            {"labels": LABELS, "images": IMAGES, "stored/images": IMAGES},
            TINTS,
            "the file holds images, which is no part of a set",
        ),
        (
            {"labels": LABELS, "images": make_images(), "bases": IMAGES},
            {},
            "the file holds bases, which pixels do not have",
        ),
        (
            {"labels": LABELS, "stored/images": IMAGES},
            TINTS,
            r"tinted\(2\) cannot decode the stored arrays images float32\[3, 2, 4, 5, 3\] \(KeyError",
        ),
        (
            {"labels": LABELS, "stored/images": IMAGES[0], "stored/tints": IMAGES[0, 0, 0]},
            TINTS,
            # by the option `numpy_rank_promotion` of jax
            r"tinted\(2\) (cannot decode|decodes to labels of shape \(2, 4\) for images of shape \(1, 2,)",
        ),
        (
            {"labels": LABELS, "stored/images": IMAGES[:2], "stored/tints": IMAGES[0, 0, 0]},
            TINTS,
            r"tinted\(2\) decodes to 2 classes, but class_names has 3",
        ),
        (
            {"labels": LABELS, "stored/images": IMAGES[:, :0], "stored/tints": IMAGES[0, 0, 0]},
            TINTS,
            r"decodes to images of shape \(3, 0, 4, 5, 3\), not \[C, n, H, W, channels\]",
        ),
        (
            {"labels": LABELS, "stored/images": IMAGES[..., :1], "stored/tints": IMAGES[0, 0, 0]},
            TINTS | {"mean": [0.5], "std": [0.5]},
            "images have 3 channels, but mean and std have 1",
        ),
        (
            {
                "labels": LABELS[::-1].copy(),
                "stored/images": IMAGES,
                "stored/tints": IMAGES[0, 0, 0],
            },
            TINTS,
            "hard labels must go class by class, 2 of each",
        ),
        (
            {
                "labels": LABELS,
                "stored/images": IMAGES,
                "stored/tints": np.full((1, 3), np.nan, np.float32),
            },
            TINTS,
            "tints hold 3 values that are not finite",
        ),
    ],
)
def test_wrong_tensors_in_a_file_are_named(
    path: Path, tensors: dict[str, np.ndarray], changes: dict[str, Any], message: str
) -> None:
    rewrite(path, {name: x.copy() for name, x in tensors.items()}, changes)
    with pytest.raises(ValueError, match=rf"^\S*set\.safetensors: .*{message}") as e:
        DistilledSet.load(path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format version 99 is newer than 2"),
        ({"format_version": None}, "format_version is None"),
        ({"format_version": 0}, "format_version is 0"),
        ({"space": "normalized"}, "unknown space 'normalized', did you mean 'normalised'"),
        ({"decode": 1}, "decode is 1, not a string"),
        ({"layout": "NCHW"}, "unknown layout 'NCHW'"),
        ({"class_names": "cat"}, "class_names is 'cat', not a sequence"),
        ({"class_names": []}, "class_names is empty"),
        ({"class_names": ["a", 1, "c"]}, "class_names: 1 is 1, not a string"),
        ({"class_names": ["a", "a", "c"]}, "class_names repeats 'a'"),
        ({"method": 7}, "metadata: method is 7, not a string"),
        ({"ipc": 0}, "ipc is 0"),
        ({"ipc": True}, "ipc is True"),
        ({"ipc": 3}, "class 'cat' has 2 images, but ipc is 3"),
        ({"mean": [0.5]}, "mean and std have different lengths"),
        ({"std": [0.1, 0.0, 0.1]}, "must be positive"),
        ({"std": [0.1, "x", 0.1]}, "std holds 'x', not a finite number"),
        ({"mean": [0.5], "std": [0.1]}, "images have 3 channels, but mean and std have 1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1"),
        ({"protocol": "dc"}, "protocol is 'dc', not a mapping"),
        ({"configuration": [1]}, r"configuration is \[1\], not a mapping"),
        ({"versions": {"jdd": 1}}, "versions: jdd is 1, not a string"),
        ({"synthetic": "pixels"}, "synthetic is 'pixels', not a mapping"),
        ({"synthetic": {}}, "must have the entry 'choice'"),
        ({"synthetic": {"choice": "uniform"}}, r"synthetic is uniform\(\), not a Parametrisation"),
        ({"synthetic": {"choice": "mosaic", "x": 1}}, "mosaic has no argument 'x'"),
        (
            {"synthetic": {"choice": "mosaic"}},
            r"space is 'normalised', but mosaic\(\) decodes into 'raw01'",
        ),
    ],
)
def test_wrong_metadata_in_a_file_is_named(
    path: Path, changes: dict[str, Any], message: str
) -> None:
    rewrite(path, {"images": make_images(), "labels": LABELS}, changes)
    with pytest.raises(ValueError, match=rf"^\S*set\.safetensors: .*{message}") as e:
        DistilledSet.load(path)
    assert "\n" not in str(e.value)


def test_a_missing_entry_is_named_and_an_unknown_one_passed_over() -> None:
    header = json.loads(METADATA.to_json())
    with pytest.raises(ValueError, match="the metadata lacks std"):
        Metadata.from_json(json.dumps({k: v for k, v in header.items() if k != "std"}))
    assert Metadata.from_json(json.dumps(header | {"of_a_later_version": 1})) == METADATA
    without = Metadata.from_json(json.dumps({k: v for k, v in header.items() if k != "versions"}))
    assert without.versions == {}


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    array = array.copy()
    array.flat[0] = value
    return array


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (make_images().astype(np.float64), LABELS, "images are float64, not float32"),
        (make_images()[0], LABELS, r"images have shape \(4, 5, 3\), not \[N, H, W, C\]"),
        (make_images()[:0], LABELS[:0], "there are none"),
        (with_value(make_images(), np.nan), LABELS, "images hold 1 values that are not finite"),
        (with_value(make_images(), np.inf), LABELS, "images hold 1 values that are not finite"),
        (make_images()[:5], LABELS, r"labels have shape \(6,\), but there are 5 images"),
        (make_images(), np.int32(1), r"labels have shape \(\), but there are 6 images"),
        (make_images(), LABELS + 1, "labels run from 1 to 3, but there are 3 classes"),
        (make_images(), LABELS - 1, "labels run from -1 to 1"),
        (make_images(), LABELS.astype(np.float32), "hard labels are float32, not integers"),
        (make_images(), LABELS[:, None, None], r"labels have shape \(6, 1, 1\)"),
        (make_images(), np.zeros((6, 4), np.float32), "soft labels have 4 columns"),
        (make_images(), np.zeros((6, 3)), "soft labels are float64, not float32"),
        (make_images(), np.full((6, 3), np.nan, np.float32), "labels hold 18 values"),
        (make_images(), LABELS * 0, "class 'cat' has 6 images, but ipc is 2"),
        (
            make_images()[:3],
            np.zeros((3, 3), np.float32),
            "there are 3 images, but 3 classes with ipc 2",
        ),
    ],
)
def test_wrong_arrays_are_named(
    path: Path, images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DistilledSet.from_images(images, labels, METADATA)
    rewrite(path, {"images": images, "labels": np.asarray(labels)}, {})
    with pytest.raises(ValueError, match=rf"^\S*set\.safetensors: .*{message}"):
        DistilledSet.load(path)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (make_images(), "stored is of type ndarray, not a mapping of names to arrays: "),
        ({}, "stored is empty"),
        ({1: IMAGES}, "the name 1 is not a string"),
        ({"images": np.array(["a"])}, "images are <U1, not numbers"),
        ({"images": IMAGES, "tints": IMAGES}, "stored as images alone, not images, tints"),
        ({"images": IMAGES.astype(np.float64)}, "images are float64, not float32"),
        (
            {"images": IMAGES[0]},
            r"images have shape \(2, 4, 5, 3\), not \[C, ipc, H, W, channels\]",
        ),
        ({"images": IMAGES[:, :1]}, "with ipc 2"),
        ({"images": IMAGES[:2]}, "decodes to 2 classes, but class_names has 3"),
        ({"images": IMAGES[..., :1]}, "images have 1 channels, but mean and std have 3"),
    ],
)
def test_wrong_stored_arrays_are_named(stored: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistilledSet(stored, LABELS, METADATA)


def test_wrong_extras_are_named() -> None:
    tints = dataclasses.replace(METADATA, **TINTS)
    with pytest.raises(ValueError, match="images are pixels, but synthetic is"):
        DistilledSet.from_images(make_images(), LABELS, tints)
    with pytest.raises(ValueError, match="configuration must be JSON"):
        dataclasses.replace(METADATA, configuration={"x": np.zeros(2)})
    with pytest.raises(ValueError, match="results must be JSON"):
        dataclasses.replace(METADATA, results={"accuracy": float("nan")})


# from the parameters of a run


def test_parameters_that_do_not_fit_are_named() -> None:
    params = make_params(pixels)
    with pytest.raises(
        ValueError, match=r"decorate the function that makes it with @jdd\.register"
    ):
        DistilledSet.from_params(Parametrisation(pixels.init, pixels.decode), params, METADATA)
    with pytest.raises(ValueError, match="images hold 12 values that are not finite"):
        # one value of each channel and image
        values = jnp.asarray([jnp.nan, jnp.inf, 0.0], jnp.float32)
        bad = {"images": params["images"].at[:, :, 0, 0].set(values)}
        DistilledSet.from_params(pixels, bad, METADATA)
    with pytest.raises(ValueError, match="decodes to 3 classes, but class_names has 2"):
        DistilledSet.from_params(
            pixels, params, dataclasses.replace(METADATA, class_names=("a", "b"))
        )
    tints = make_params(tinted(3))
    huge = {"images": tints["images"] + 2, "tints": tints["tints"].at[1].set(3e38)}
    with pytest.raises(ValueError, match="images hold 432 values that are not finite"):
        DistilledSet.from_params(tinted(3), huge, METADATA)

    with pytest.raises(ValueError, match=r"^forgetful\(\): restored\(stored\(params\)\) does not"):
        DistilledSet.from_params(forgetful(), params, METADATA)


# versions


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def test_the_commit_is_that_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = checkout_commit.__wrapped__
    inside = tmp_path / "inside"
    inside.mkdir()
    assert commit(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    assert commit(tmp_path) == ""  # nothing is committed yet
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    clean = commit(tmp_path)
    assert len(clean) >= 7 and set(clean) <= set("0123456789abcdef")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))  # as a hook sets it
    assert commit(tmp_path) == clean
    assert commit(inside) == ""  # a package installed inside the checkout of another project
    (tmp_path / "a").write_text("b")
    assert commit(tmp_path) == f"{clean}-dirty"
    monkeypatch.setenv("PATH", "")
    assert commit(tmp_path) == ""


def test_versions_never_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdd.artefact.provenance.checkout_commit", lambda folder: "")
    assert versions().keys() == {"python", "jdd", "jax", "jaxlib", "flax"}
    monkeypatch.setattr("jdd.artefact.provenance.checkout_commit", lambda folder: "abc-dirty")
    assert versions()["commit"] == "abc-dirty"
