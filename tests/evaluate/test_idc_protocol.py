"""IDC's protocol: milestones, what is written down, and accuracies on the way."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.augment import cutmix_augmentation, idc_augmentation, no_augmentation
from jdd.data import Split, class_table, take
from jdd.evaluate import PROTOCOLS, EvaluationProtocol, evaluate, idc_protocol
from jdd.nn import convnet

IDC = [name for name in PROTOCOLS if name.startswith("idc")]


@pytest.fixture(scope="module")
def easy():
    """Three classes that differ in brightness."""
    rng = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int32) % 3
    images = rng.integers(0, 40, (60, 8, 8, 1)) + 100 * labels[:, None, None, None]
    return class_table(Split(images.astype(np.uint8), labels), 3, (0.5,), (0.25,))


def evaluated(easy, protocol, **options):
    model = convnet(3, (8, 8, 1), width=4, depth=1, norm="none")
    images = take(easy, easy.start)
    args = (jax.random.key(1), model, images, jnp.arange(3), easy, protocol)
    return evaluate(*args, num_networks=3, networks_per_dispatch=2, **options)


def test_the_authors_numbers():
    protocol = PROTOCOLS["idc"]
    assert (protocol.epochs, protocol.trained_epochs, protocol.batch_size) == (1000, 1000, 64)
    sgd = protocol.sgd
    assert sgd[:3] == (0.01, 0.9, 5e-4)
    assert (sgd.milestones, sgd.decay, sgd.restart_momentum) == ((666, 833), 0.2, False)
    base = idc_augmentation("color_crop_flip_scale_rotate")
    assert protocol.augment == cutmix_augmentation(0.5, beta=1.0, base=base)


def test_milestones_are_whole_epochs_as_the_authors_round_them():
    for epochs in range(1, 3001):
        protocol = dataclasses.replace(PROTOCOLS["idc"], epochs=epochs)
        assert protocol.decay_after == (2 * epochs // 3, 5 * epochs // 6)


def test_protocols_without_milestones_are_as_they_were():
    for name in ("dc", "dsa", "cafe"):
        protocol = PROTOCOLS[name]
        assert protocol.trained_epochs == protocol.epochs + 1
        sgd = protocol.sgd
        assert sgd.milestones == (protocol.epochs // 2 + 2,)
        assert (sgd.decay, sgd.restart_momentum) == (0.1, True)
    assert "a tenth after epoch 152 with momentum restarted" in PROTOCOLS["dc"].describe()


def test_another_strategy_is_another_protocol_of_the_same_numbers():
    for name in IDC:
        augment = PROTOCOLS[name].augment
        cutmix = 0.5 if augment.mixes_labels else 0
        assert idc_protocol(augment.strategy, cutmix=cutmix) == PROTOCOLS[name]
    other = idc_protocol("color_crop_cutout_scale_rotate", cutmix=0)
    assert other.name == "idc, color_crop_cutout_scale_rotate, no CutMix"
    assert (
        dataclasses.replace(other, name="idc", augment=PROTOCOLS["idc"].augment) == PROTOCOLS["idc"]
    )
    assert idc_protocol("none", cutmix=1.0).augment == cutmix_augmentation(
        1.0, base=no_augmentation()
    )
    with pytest.raises(ValueError, match="unknown op 'croop'"):
        idc_protocol("croop")
    with pytest.raises(ValueError, match="probability must be from 0 to 1, got 2"):
        idc_protocol("crop", cutmix=2)


@pytest.mark.parametrize("name", IDC)
def test_it_is_written_down_and_read(name):
    protocol = PROTOCOLS[name]
    record = json.loads(json.dumps(protocol.to_json()))
    assert EvaluationProtocol.from_json(record) == protocol
    assert record["version"] == 2
    assert (record["milestones"], record["decay"]) == ([2 / 3, 5 / 6], 0.2)
    assert (record["trained_epochs"], record["decay_after"]) == (1000, [666, 833])
    assert record["restart_momentum"] is False
    other = dataclasses.replace(protocol, restart_momentum=True)
    assert EvaluationProtocol.from_json(other.to_json()) == other != protocol


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trained_epochs": 1001}, "trained_epochs 1001, this jdd has 1000"),
        ({"decay_after": [500]}, r"decay_after \[500\], this jdd has \[666, 833\]"),
        ({"milestones": [0.5, 1.5]}, "milestones must be increasing shares between 0 and 1"),
        ({"milestones": 0.5}, "milestones"),
        ({"decay": 0}, "decay must be above 0"),
        ({"decay": None}, "decay"),
        ({"restart_momentum": 1}, "restart_momentum must be True or False, got 1"),
    ],
    ids=str,
)
def test_a_protocol_that_cannot_be_followed_is_refused(changes, message):
    record = PROTOCOLS["idc"].to_json() | changes
    with pytest.raises(ValueError, match=message) as caught:
        EvaluationProtocol.from_json(record)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["milestones", "decay", "restart_momentum"])
def test_a_missing_entry_is_refused(name):
    record = PROTOCOLS["idc"].to_json()
    del record[name]
    with pytest.raises(ValueError, match=f"entry '{name}' is missing or wrong"):
        EvaluationProtocol.from_json(record)


def test_it_reads_in_words():
    words = PROTOCOLS["idc"].describe()
    assert "1000 epochs" in words and "times 0.2 after epochs 666 and 833" in words
    assert "momentum kept" in words and "batch 64" in words
    assert "IDC + CUTMIX 0.5 augmentation color_crop_flip_scale_rotate" in words


def test_the_last_checkpoint_is_the_accuracy_and_the_best_is_said_to_be_selected(easy):
    protocol = dataclasses.replace(PROTOCOLS["idc-no-flip"], epochs=9, learning_rate=0.05)
    plain, several = evaluated(easy, protocol, checkpoints=1), evaluated(easy, protocol)
    assert plain.checkpoints is None and several.checkpoints is not None
    assert several.checkpoints.shape == (3, 4)
    np.testing.assert_array_equal(several.accuracies, several.checkpoints[:, -1])
    np.testing.assert_allclose(several.accuracies, plain.accuracies, atol=0.02)
    assert several.best is not None
    np.testing.assert_array_equal(several.best, several.checkpoints.max(1))
    assert (several.best >= several.accuracies).all()
    assert "best of 4" in str(several) and "selected on test data" in str(several)
    assert "selected" not in str(plain) and plain.best is None


def test_checkpoints_are_evenly_spaced(easy):
    """Nine epochs, four checkpoints: after 2, 4, 6 and 9 epochs, as shorter trainings give them."""
    # A factor of 1 and kept momentum: milestones, which are shares of the epochs, change nothing.
    base = EvaluationProtocol(
        "plain",
        9,
        learning_rate=0.05,
        batch_size=64,
        milestones=(0.5,),
        decay=1.0,
        restart_momentum=False,
    )
    got = evaluated(easy, base, checkpoints=4).checkpoints
    assert got is not None
    for i, epochs in enumerate((2, 4, 6, 9)):
        shorter = dataclasses.replace(base, epochs=epochs)
        np.testing.assert_allclose(got[:, i], evaluated(easy, shorter).accuracies, atol=0.02)
    assert np.ptp(got, 1).max() > 0.02, "the checkpoints differ"


@pytest.mark.parametrize("checkpoints", [0, 10, 1.5])
def test_a_number_of_checkpoints_that_cannot_be_is_refused(easy, checkpoints):
    protocol = PROTOCOLS["idc-no-flip"].with_epochs(9)
    with pytest.raises(ValueError, match="checkpoints must be"):
        evaluated(easy, protocol, checkpoints=checkpoints)
