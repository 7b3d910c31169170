"""Evaluation: accuracy, protocols, seeds."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import augment
from jdd.data import Split, class_table, take
from jdd.evaluate import PROTOCOLS, EvaluationProtocol, accuracy, evaluate
from jdd.nn import convnet, lax_conv, network
from jdd.synthetic import real


@pytest.fixture(scope="module")
def easy():
    """Three classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    images = rng.integers(0, 40, (60, 8, 8, 1)) + 100 * labels[:, None, None, None]
    return class_table(Split(images.astype(np.uint8), labels), 3, (0.5,), (0.25,))


def model():
    return convnet(3, (8, 8, 1), width=4, depth=1, norm="none")


def drawn(table, ipc):
    """Random real images of each class, class-major, and their labels."""
    images = real(jax.random.key(0), table, ipc)
    return images.reshape(-1, 8, 8, 1), jnp.repeat(jnp.arange(3), ipc)


@pytest.mark.parametrize("micro_batch", [7, 60, 1000])
def test_accuracy_counts_every_image_once(easy, micro_batch):
    variables = model().init(jax.random.key(2))
    predicted = model().apply(variables, take(easy, jnp.arange(60))).argmax(-1)
    want = np.mean(np.asarray(predicted) == np.repeat(np.arange(3), 20))
    got = jax.jit(lambda v: accuracy(model(), v, easy, micro_batch=micro_batch))(variables)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_an_easy_set_is_learned_and_seeds_differ(easy):
    images, labels = drawn(easy, 2)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    crop_cutout = augment.dsa_augmentation("crop_cutout")
    protocol = EvaluationProtocol("test", epochs=60, augment=crop_cutout, learning_rate=0.05)
    result = evaluate(jax.random.key(1), model(), images, labels, easy, protocol, num_networks=3)
    assert result.accuracies.shape == (3,) and result.mean > 0.8
    np.testing.assert_allclose(result.std, np.std(result.accuracies, ddof=0))
    assert "3 networks" in str(result)


def test_accuracies_do_not_depend_on_how_networks_are_dispatched(easy):
    images, labels = drawn(easy, 1)
    protocol = EvaluationProtocol("test", epochs=3, augment=augment.dsa_augmentation("crop_flip"))
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
    images, labels = drawn(easy, 1)
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


def test_another_rate_or_name_is_not_compiled_anew_and_is_what_trains(easy):
    images, labels = drawn(easy, 1)
    traced = []

    def conv(x, w, padding, stride=1):
        traced.append(x.shape)
        return lax_conv(x, w, padding, stride)

    net = convnet(3, (8, 8, 1), width=4, depth=1, conv=conv)

    def run(protocol, **options):
        args = jax.random.key(1), net, images, labels, easy, protocol
        return evaluate(*args, num_networks=2, **options).accuracies, len(traced)

    # Of a protocol of 21 epochs, so that the rate decides what is learned.
    usual = EvaluationProtocol("one", epochs=20, learning_rate=0.05)
    first, once = run(usual)
    slow, twice = run(dataclasses.replace(usual, name="other", learning_rate=1e-6))
    by_argument, thrice = run(usual, learning_rate=1e-6)
    again, _ = run(usual, learning_rate=jnp.float32(0.05))
    assert once == twice == thrice == len(traced)
    np.testing.assert_array_equal(slow, by_argument)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, slow)
    with pytest.raises(ValueError, match="learning_rate must be above 0 and finite, got -1"):
        run(usual, learning_rate=-1)


def test_protocols_of_the_papers():
    assert PROTOCOLS["dc"].epochs == 300 and PROTOCOLS["dc"].augment.is_none
    assert PROTOCOLS["dsa"].epochs == 1000
    sgd = PROTOCOLS["dsa"].sgd
    assert (sgd.learning_rate, sgd.momentum, sgd.weight_decay) == (0.01, 0.9, 5e-4)
    assert (sgd.milestones, sgd.decay, sgd.restart_momentum) == ((502,), 0.1, True)
    assert "1001 epochs" in PROTOCOLS["dsa"].describe()
    # DC's code augments for the ConvNet with BatchNorm and ReLU, whatever the data.
    for name in ("dc", "dc-crop-scale-rotate", "cafe"):
        protocol = PROTOCOLS[name]
        assert protocol.for_network(network("convnetbn")) == PROTOCOLS["dc-crop-noise"]
        for other in ("convnet", "convnetaswishbn", "resnet18bn"):
            assert protocol.for_network(network(other)) is protocol
    assert PROTOCOLS["dsa"].for_network(network("convnetbn")) is PROTOCOLS["dsa"]


@pytest.mark.parametrize("epochs", [300, 20, 1000])
def test_another_number_of_epochs_is_that_of_every_network(epochs):
    """300 and 1000 are those of DC without and with BatchNorm."""
    protocol = PROTOCOLS["dc"].with_epochs(epochs)
    for name in ("convnet", "convnetbn"):
        assert protocol.for_network(network(name)).epochs == epochs
    assert PROTOCOLS["dc"].with_epochs(None) is PROTOCOLS["dc"]
    assert protocol.name == ("dc" if epochs == 300 else f"dc, {epochs} epochs")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_written_as_json_and_read(name):
    protocol = PROTOCOLS[name]
    content = json.loads(json.dumps(protocol.to_json(), allow_nan=False))
    again = EvaluationProtocol.from_json(content)
    assert again == protocol and hash(again) == hash(protocol)
    assert set(content) >= {field.name for field in dataclasses.fields(EvaluationProtocol)}
    if name.startswith("idc"):  # its own tests are test_idc.py
        return
    assert content["trained_epochs"] == protocol.trained_epochs == protocol.epochs + 1
    after = {300: 152, 600: 302, 1000: 502}[protocol.epochs]
    assert content["decay_after"] == [after] and protocol.sgd.milestones == (after,)
    assert (content["decay"], content["restart_momentum"]) == (0.1, True)


# As jdd 0.1 wrote them.
VERSION_1 = {
    "name": "dsa",
    "epochs": 1000,
    "augmentation": augment.STRATEGY,
    "augmenter": "dsa",
    "learning_rate": 0.01,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "batch_size": 256,
    "trained_epochs": 1001,
    "decay": {"after": 502, "factor": 0.1, "momentum_starts_anew": True},
}


def test_protocols_of_version_1_are_read():
    read = EvaluationProtocol.from_json
    assert read(VERSION_1) == PROTOCOLS["dsa"]
    dc = VERSION_1 | {"name": "dc", "epochs": 300, "augmentation": "none", "trained_epochs": 301}
    dc |= {"decay": VERSION_1["decay"] | {"after": 152}}
    assert read(dc) is PROTOCOLS["dc"]
    crop = VERSION_1 | {"name": "own", "augmenter": "dc", "augmentation": "crop_noise"}
    assert read(crop).augment == augment.dc_augmentation("crop_noise")
    slower = read(VERSION_1 | {"learning_rate": 0.001})
    assert slower == dataclasses.replace(PROTOCOLS["dsa"], learning_rate=0.001)


def changed(content, changes):
    """With other entries; without those that are None."""
    return {name: value for name, value in (content | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": "many"}, "epochs must be a whole number"),
        ({"epochs": None}, "entry 'epochs' is missing or wrong"),
        ({"learning_rate": "fast"}, "learning_rate must be above 0 and finite, got 'fast'"),
        ({"augment": 3}, "augment must be an Augmentation, got 3"),
        ({"augment": {"choice": "dsa_augmentation", "strategy": "croop"}}, "did you mean 'crop'"),
        ({"augment": {"choice": "das_augmentation"}}, "did you mean 'dsa_augmentation'"),
        ({"trained_epochs": 4}, "the protocol has trained_epochs 4, this jdd has 3"),
        ({"decay_after": [9]}, "the protocol has decay_after [9], this jdd has [3]"),
        ({"decay": {"after": 9}}, "decay must be above 0 and finite, got {'after': 9}"),
        ({"milestones": [0.5, 0.5]}, "milestones must be increasing shares between 0 and 1"),
        ({"milestones": 3}, "milestones must be increasing shares between 0 and 1, got 3"),
        ({"restart_momentum": "yes"}, "restart_momentum must be True or False, got 'yes'"),
        (
            {"label_smoothing": 0.1},
            "the protocol has label_smoothing 0.1, this jdd has 'no such entry'",
        ),
        ({"version": 9}, "the protocol has version 9, this jdd reads versions 1 and 2"),
        ({"batch_norm": 3}, "a protocol must be a JSON object, got 3"),
        ({"name": 3}, "name must be a text, got 3"),
    ],
    ids=str,
)
def test_a_protocol_that_cannot_be_followed_is_refused(changes, message):
    content = changed(EvaluationProtocol("quick", epochs=2).to_json(), changes)
    if "batch_norm" not in changes:
        content["batch_norm"] = None
    with pytest.raises(ValueError) as caught:
        EvaluationProtocol.from_json(content)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": None}, "entry 'epochs' is missing or wrong"),
        ({"trained_epochs": None}, "entry 'trained_epochs' is missing or wrong"),
        ({"augmentation": 3}, "augmenter must be dsa or dc with a text, got 'dsa', 3"),
        ({"augmentation": "croop"}, "did you mean 'crop'"),
        ({"augmenter": 3}, "augmenter must be dsa or dc with a text, got 3"),
        ({"decay": {"after": 9}}, "decay {'after': 9}, this jdd has {'after': 502,"),
        ({"trained_epochs": 4}, "trained_epochs 4, this jdd has 1001"),
        ({"label_smoothing": 0.1}, "the protocol dsa has label_smoothing 0.1"),
    ],
    ids=str,
)
def test_a_protocol_of_version_1_that_cannot_be_followed_is_refused(changes, message):
    with pytest.raises(ValueError) as caught:
        EvaluationProtocol.from_json(changed(VERSION_1, changes))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_bad_input_is_refused(easy):
    images, labels = drawn(easy, 1)
    args = jax.random.key(1), model(), images, labels, easy, PROTOCOLS["dc"]
    with pytest.raises(ValueError, match="num_networks must be at least 1"):
        evaluate(*args, num_networks=0)
    with pytest.raises(ValueError, match="takes images"):
        evaluate(args[0], args[1], images[:, :4], *args[3:])
    for over in ("vmpa", 0, -1):
        with pytest.raises(ValueError, match="over_seeds must be 'map', 'vmap' or a number"):
            evaluate(*args, over_seeds=over)
    with pytest.raises(ValueError, match="augment must be an Augmentation, got 'croop'"):
        EvaluationProtocol("x", epochs=1, augment="croop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="epochs must be at least 1"):
        EvaluationProtocol("x", epochs=0)
