"""From a configuration to what runs: everything that does not fit is refused before anything is made."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import jdd
from jdd import augment, data, evaluate, methods, nn
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.datasets import Dataset, load_dataset
from jdd.runs import ChoicesDoNotFit, prepare, run

SMALL = nn.network("convnet", width=4, depth=1)
TWO = DataChoice("digits", ("0", "1"))
RECIPE = dataclasses.replace(jdd.dm(1, data="digits", strategy="none"), networks=2)
RUN = Configuration(RECIPE, TWO, SMALL)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", classes=["0", "1"])


def changed(**fields) -> Configuration:
    return dataclasses.replace(RUN, **fields)


def test_what_runs_comes_from_the_configuration(digits):
    made = prepare(changed(evaluation=EvaluationPlan(epochs=7)))
    assert made.configuration.data == dataclasses.replace(TWO, fingerprint=digits.fingerprint)
    assert dataclasses.replace(made.configuration, data=TWO).recipe == RECIPE
    assert made.method.recipe == RECIPE and made.method.model.name == "ConvNet-1 (width 4)"
    assert made.protocol == RECIPE.protocol.with_epochs(7)
    assert made.train.images.shape[0] == len(digits.train)
    assert isinstance(made.data, data.Data) and made.data.table is made.train


def test_a_data_set_that_is_loaded_already(digits):
    made = prepare(changed(data=DataChoice("mine")), dataset=digits)
    assert made.dataset is digits and made.configuration.data.name == "mine"
    assert made.configuration.data.fingerprint == digits.fingerprint


def test_classes_of_a_data_set_that_is_loaded_already():
    made = prepare(RUN, dataset=load_dataset("digits"))
    assert made.dataset.class_names == ("0", "1")
    assert made.configuration == prepare(RUN).configuration


def test_data_are_known_by_their_fingerprint(digits):
    known = dataclasses.replace(TWO, fingerprint=digits.fingerprint)
    assert prepare(changed(data=known)).configuration.data == known
    images = digits.train.images.copy()
    images[-1, 0, 0, 0] ^= 1
    others = [
        dataclasses.replace(digits, train=data.Split(images, digits.train.labels)),
        dataclasses.replace(digits, mean=(0.25,)),
        dataclasses.replace(digits, train=data.Split(digits.train.images, 1 - digits.train.labels)),
    ]
    assert len({digits.fingerprint, *(other.fingerprint for other in others)}) == 4
    for other in others:
        message = (
            rf"^data: .* {other.fingerprint}, the configuration was made with {digits.fingerprint}"
        )
        with pytest.raises(ValueError, match=message):
            prepare(changed(data=known), dataset=other)


NOT_POSSIBLE = [
    ({"data": DataChoice("digit")}, r"^data: unknown data set 'digit', did you mean 'digits'"),
    ({"data": DataChoice("npz:/nowhere.npz")}, r"^data: npz:/nowhere.npz: no such file"),
    ({"data": DataChoice("digits", ("0", "x"))}, r"^classes: digits: unknown class 'x'"),
    ({"data": DataChoice("digits", ("0",))}, r"^classes: digits needs at least 2 classes, has 1"),
    ({"network": nn.network("convnet", depth=9)}, r"^depth may be at most 3 for images of 8x8"),
    (
        {
            "network": nn.network("convnet", width=6, depth=1),
            "evaluation": EvaluationPlan(norm="group"),
        },
        r"^eval_norm: group norm on this network: .*multiple of 4, got 6",
    ),
    (
        {"network": nn.network("mlp"), "evaluation": EvaluationPlan(norm="batch")},
        r"^norm: mlp has no norm",
    ),
    (
        {"recipe": dataclasses.replace(RECIPE, ipc=1000)},
        r"^ipc \(times the tiles of a stored image\) must be between 1 and the smallest class \(\d+\), "
        r"got 1000: from_real\(repeat=True\)",
    ),
]


@pytest.mark.parametrize(("fields", "message"), NOT_POSSIBLE, ids=str)
def test_what_is_not_possible_is_one_line(fields, message):
    with pytest.raises(ValueError, match=message) as caught:
        prepare(changed(**fields))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"augment": augment.dc_augmentation()},
            r"dc_augmentation\(\) cannot be siamese",
        ),
        (
            {"objective": jdd.matching.per_class(jdd.matching.siamese())},
            r"must end in a scalar",
        ),
        (
            {"objective": methods.layer_features((1.0,))},
            r"got 3 synthetic layers, 3 real layers and 1 weights",
        ),
        (
            {"sampler": dataclasses.replace(data.uniform(), draw=lambda *_: (None, ()))},
            r"a sampler must return \(Draw, state\), got NoneType",
        ),
    ],
    ids=["augmentation", "no scalar", "weights", "sampler"],
)
def test_choices_that_do_not_fit_together_are_refused_with_all_of_them(choices, message):
    recipe = dataclasses.replace(RECIPE, **choices)
    with pytest.raises(ChoicesDoNotFit, match=message) as caught:
        prepare(changed(recipe=recipe))
    text = str(caught.value)
    assert text.startswith("the choices do not fit together (objective ") and "\n" not in text
    for value in (recipe.objective, recipe.sampler, recipe.motion, recipe.synthetic):
        assert repr(value) in text


@jdd.register
def only_tall() -> augment.Augmentation:
    """An augmentation that refuses images that are not tall."""

    def refuse(key, batch):
        raise ValueError(f"images must be tall, got {batch.images.shape}")

    return augment.Augmentation(refuse, None, "tall", "tall")


def test_an_augmentation_of_the_protocol_that_refuses_the_images():
    protocol = evaluate.EvaluationProtocol("own", 3, only_tall())
    recipe = dataclasses.replace(RECIPE, protocol=protocol)
    message = (
        r"^protocol: the augmentation only_tall\(\) of own does not take the 8x8 images of digits"
    )
    with pytest.raises(ValueError, match=message):
        prepare(changed(recipe=recipe))


def test_a_run_without_compilation_is_refused_before_anything_is_made(tmp_path):
    experiment = prepare(RUN)
    with jax.disable_jit():
        with pytest.raises(ValueError, match=r"^JAX_DISABLE_JIT is set"):
            prepare(RUN)
        with pytest.raises(ValueError, match=r"^JAX_DISABLE_JIT is set"):
            run(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_stay_on_the_host_as_bytes(digits):
    made = prepare(RUN, dataset=digits)
    assert made.train.images.dtype == np.uint8
