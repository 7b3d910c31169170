"""Evaluation: accuracy, protocols, seeds."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.data import Split, class_table, take
from jdd.evaluate import PROTOCOLS, EvaluationProtocol, accuracy, evaluate, random_real
from jdd.nn import convnet, lax_conv


@pytest.fixture(scope="module")
def easy():
    """Three classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    images = rng.integers(0, 40, (60, 8, 8, 1)) + 100 * labels[:, None, None, None]
    return class_table(Split(images.astype(np.uint8), labels), 3, (0.5,), (0.25,))


def model():
    return convnet(3, (8, 8, 1), width=4, depth=1, norm="none")


@pytest.mark.parametrize("micro_batch", [7, 60, 1000])
def test_accuracy_counts_every_image_once(easy, micro_batch):
    variables = model().init(jax.random.key(2))
    predicted = model().apply(variables, take(easy, jnp.arange(60))).argmax(-1)
    want = np.mean(np.asarray(predicted) == np.repeat(np.arange(3), 20))
    got = jax.jit(lambda v: accuracy(model(), v, easy, micro_batch=micro_batch))(variables)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_an_easy_set_is_learned_and_seeds_differ(easy):
    images, labels = random_real(jax.random.key(0), easy, 2)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    protocol = EvaluationProtocol("test", epochs=60, augmentation="crop_cutout", learning_rate=0.05)
    result = evaluate(jax.random.key(1), model(), images, labels, easy, protocol, num_networks=3)
    assert result.accuracies.shape == (3,) and result.mean > 0.8
    np.testing.assert_allclose(result.std, np.std(result.accuracies, ddof=0))
    assert "3 networks" in str(result)


def test_accuracies_do_not_depend_on_how_networks_are_dispatched(easy):
    images, labels = random_real(jax.random.key(0), easy, 1)
    protocol = EvaluationProtocol("test", epochs=3, augmentation="crop_flip")
    seen = []

    def run(**options):
        return evaluate(
            jax.random.key(1), model(), images, labels, easy, protocol, num_networks=4, **options
        ).accuracies

    whole = run(networks_per_dispatch=4)
    np.testing.assert_array_equal(
        whole, run(networks_per_dispatch=3, report=lambda *a: seen.append(a))
    )
    assert seen == [(3, 4), (4, 4)]
    np.testing.assert_allclose(whole, run(over_seeds="vmap"), atol=0.05)


def test_a_network_made_anew_is_not_compiled_anew(easy):
    images, labels = random_real(jax.random.key(0), easy, 1)
    traced = []

    def conv(x, w, padding, stride=1):
        traced.append(x.shape)
        return lax_conv(x, w, padding, stride)

    def run(**options):
        network = convnet(3, (8, 8, 1), width=4, depth=1, conv=conv, **options)
        args = (
            jax.random.key(1),
            network,
            images,
            labels,
            easy,
            EvaluationProtocol("test", epochs=1),
        )
        accuracies = evaluate(*args, num_networks=1).accuracies
        return accuracies, len(traced)

    first, once = run()
    again, twice = run(norm="instance")
    assert once == twice > 0
    np.testing.assert_array_equal(first, again)
    assert run(norm="none")[1] > twice


def test_protocols_of_the_papers():
    assert PROTOCOLS["dc"].epochs == 300 and PROTOCOLS["dc"].augmentation == "none"
    assert PROTOCOLS["dsa"].epochs == 1000
    recipe = PROTOCOLS["dsa"].recipe
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.01, 0.9, 5e-4)
    assert "1001 epochs" in PROTOCOLS["dsa"].describe()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_written_down_and_read(name):
    protocol = PROTOCOLS[name]
    record = json.loads(json.dumps(protocol.record()))
    assert EvaluationProtocol.read(name, record) == protocol
    assert set(record) >= {field.name for field in dataclasses.fields(EvaluationProtocol)} - {
        "name"
    }
    assert record["trained_epochs"] == protocol.epochs + 1
    after = {300: 152, 600: 302, 1000: 502}[protocol.epochs]
    assert record["decay"] == {"after": after, "factor": 0.1, "momentum_starts_anew": True}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": "many"}, "epochs must be a whole number"),
        ({"epochs": None}, "the recipe of quick lacks epochs"),
        ({"trained_epochs": None}, "the recipe of quick lacks trained_epochs"),
        ({"augmentation": 3}, "the augmentation of quick is 3, not a text"),
        ({"augmentation": "croop"}, "did you mean 'crop'"),
        ({"augmenter": 3}, "unknown augmenter 3"),
        (
            {"decay": {"after": 9}},
            "recipe of quick has decay {'after': 9}, this jdd has {'after': 3,",
        ),
        ({"label_smoothing": 0.1}, "quick has label_smoothing 0.1, this jdd has None"),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_followed_is_refused(changes, message):
    record = EvaluationProtocol("quick", epochs=2).record() | changes
    record = {name: value for name, value in record.items() if value is not None}
    with pytest.raises(ValueError) as caught:
        EvaluationProtocol.read("quick", record)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_bad_input_is_refused(easy):
    images, labels = random_real(jax.random.key(0), easy, 1)
    args = jax.random.key(1), model(), images, labels, easy, PROTOCOLS["dc"]
    with pytest.raises(ValueError, match="num_networks must be at least 1"):
        evaluate(*args, num_networks=0)
    with pytest.raises(ValueError, match="takes images"):
        evaluate(args[0], args[1], images[:, :4], *args[3:])
    for over in ("vmpa", 0, -1):
        with pytest.raises(ValueError, match="over_seeds must be 'map', 'vmap' or a number"):
            evaluate(*args, over_seeds=over)
    with pytest.raises(ValueError, match="did you mean 'crop'"):
        EvaluationProtocol("x", epochs=1, augmentation="croop")
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        EvaluationProtocol("x", epochs=0)
