"""What the options mean by default: the numbers of the papers."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jdd.cli.commands import Cafe, CafeFixed, Dc, Dcc, Dm, Dsa, Dsac
from jdd.methods.dm import dm_loops

from jdd import augment, data, datasets, evaluate
from jdd.cli import experiment, networks
from jdd.cli.distill import evaluation_steps
from jdd.cli.errors import UsageError
from jdd.cli.options import (
    DataOptions,
    LoopOptions,
    MatchOptions,
    NetworkOptions,
    QueryOptions,
    ReportOptions,
    RunOptions,
)
from jdd.cli.places import run_folder
from jdd.methods import METHODS, Loops, QueryRule, dc_loops, original_query_rule, query_rule
from jdd.nn import Network, convnet

SMALL = NetworkOptions(width=4, depth=1)


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        ("digits", augment.STRATEGY_NO_FLIP),
        ("mnist", augment.STRATEGY_NO_FLIP),
        ("tfds:mnist:3.0.1", augment.STRATEGY_NO_FLIP),
        ("tfds:svhn_cropped", augment.STRATEGY_NO_FLIP),
        ("fashion_mnist", augment.STRATEGY),
        ("cifar10", augment.STRATEGY),
        ("npz:mnist", augment.STRATEGY),
    ],
)
def test_no_flip_for_digits(name, strategy):
    assert experiment.default_strategy(name) == strategy


@pytest.mark.parametrize(
    ("method", "data", "strategy", "norm", "protocol"),
    [
        ("dsa", "cifar10", augment.STRATEGY, "instance", "dsa"),
        ("dsa", "mnist", augment.STRATEGY_NO_FLIP, "batch", "dsa-no-flip"),
        ("dc", "cifar10", None, "instance", "dc"),
        ("dc", "mnist", None, "instance", "dc-crop-scale-rotate"),
        ("dc", "tfds:mnist", None, "instance", "dc-crop-scale-rotate"),
        ("dc", "mnist", None, "batch", "dc-crop-noise"),
        ("dc", "cifar10", None, "batch", "dc-crop-noise"),
    ],
)
def test_the_protocol_belongs_to_the_method(method, data, strategy, norm, protocol):
    own = {} if strategy is None else {"strategy": strategy}
    found = experiment.base_protocol(method, data, norm, **own)
    assert found == evaluate.PROTOCOLS[protocol]
    assert found.epochs == (300 if protocol == "dc" else 1000)


def test_another_strategy_or_length_is_another_protocol():
    found = experiment.base_protocol("dsa", "cifar10", "instance", strategy="crop_flip")
    assert (found.name, found.augmentation, found.epochs) == ("dsa, crop_flip", "crop_flip", 1000)
    assert experiment.with_epochs(found, 1000) == found
    assert experiment.with_epochs(found, 7).name == "dsa, crop_flip, 7 epochs"
    none = experiment.base_protocol("dsa", "cifar10", "instance", strategy="none")
    assert none.augment() is None and experiment.augmentation_of(none) is None


def test_the_protocols_of_dc_augment_as_dc_does():
    protocol = evaluate.PROTOCOLS["dc-crop-noise"]
    augmented, key, images = protocol.augment(), jax.random.key(0), jnp.ones((2, 8, 8, 1))
    assert augmented is not None and protocol.augmenter == "dc"
    expected = augment.dc_augment(key, images, "crop_noise")
    np.testing.assert_array_equal(augmented(key, images), expected)
    with pytest.raises(ValueError, match="unknown augmenter"):
        evaluate.EvaluationProtocol("mine", 1, augmenter="idc")


def test_dsa_on_digits():
    found = experiment.prepare(Dsa(network=SMALL))
    assert found.options["networks"] == found.method.loops.networks < 1000
    assert found.method.loops == Loops(found.options["networks"], 1, 1)
    assert found.meant == found.protocol == evaluate.PROTOCOLS["dsa-no-flip"]
    assert found.train.num_classes == found.test.num_classes == 10
    half = found.method.loops.networks // 2
    assert evaluation_steps(found) == [half, 2 * half]


def test_loops_of_the_paper_and_between():
    match = MatchOptions(networks=4)
    assert experiment.prepare(Dc(ipc=10, match=match, network=SMALL)).method.loops == (
        4,
        10,
        50,
        False,
    )
    between = experiment.prepare(Dc(ipc=15, match=match, network=SMALL)).method.loops
    assert between == dc_loops(15, networks=4) and "interpolated" in between.describe()
    given = LoopOptions(updates=3, net_epochs=0)
    found = experiment.prepare(Dc(ipc=15, match=match, loop=given, network=SMALL))
    assert found.method.loops == (4, 3, 0, False)
    assert evaluation_steps(found) == [6, 12]
    rare = experiment.prepare(
        Dc(match=MatchOptions(networks=5), report=ReportOptions(eval_every=2), network=SMALL)
    )
    assert evaluation_steps(rare) == [2, 4, 5]


def test_the_options_of_a_run_do_not_say_where_it_lies(tmp_path):
    here = Dc(network=SMALL, data=DataOptions(data_dir=tmp_path), run=RunOptions(out=tmp_path))
    assert experiment.prepare(here).options == experiment.prepare(Dc(network=SMALL)).options


def test_the_folder_of_a_run():
    command = Dsa(
        ipc=2, data=DataOptions("npz:a b/c.npz", classes=("3", "8")), run=RunOptions(seed=5)
    )
    assert run_folder(command).as_posix() == "runs/dsa-npz-a-b-c.npz-3-8-ipc2-seed5"


@pytest.mark.parametrize("strategy", ["", "None", "none"])
def test_no_strategy_is_none_and_not_the_default(strategy):
    found = experiment.prepare(Dsa(network=SMALL, strategy=strategy))
    assert found.options["strategy"] == "none"
    assert found.meant.name == "dsa, none" and found.meant.augment() is None
    assert found.augmentation is None


@pytest.mark.parametrize(
    ("norm", "eval_norm", "expected", "protocol"),
    [
        ("batch", None, "instance", "dc"),
        ("batch", "batch", "batch", "dc-crop-noise"),
        ("layer", None, "layer", "dc"),
        ("instance", "batch", "batch", "dc-crop-noise"),
    ],
)
def test_the_norm_of_evaluation(norm, eval_norm, expected, protocol):
    network = NetworkOptions(width=4, depth=1, norm=norm)
    found = experiment.prepare(Dc(network=network, report=ReportOptions(eval_norm=eval_norm)))
    names = [convnet(10, (8, 8, 1), width=4, depth=1, norm=n).name for n in (norm, expected)]
    assert [found.model.name, found.eval_model.name] == names
    assert (found.options["norm"], found.options["eval_norm"]) == (norm, expected)
    assert found.meant.name == protocol


@pytest.mark.parametrize(
    ("options", "matched", "evaluated", "recorded"),
    [
        ({"model": "mlp"}, "MLP", "MLP", {"model": "mlp", "eval_norm": "none"}),
        (
            {"model": "AlexNetBN"},
            "AlexNet (norm batch)",
            "AlexNet",
            {"model": "alexnet", "norm": "batch", "eval_norm": "none"},
        ),
        (
            {"model": "resnet18", "norm": "batch", "downsampling": "avg_pool"},
            "ResNet18 (norm batch, downsampling avg_pool)",
            "ResNet18",
            {"model": "resnet18", "norm": "batch", "downsampling": "avg_pool"},
        ),
        (
            {"model": "convnetd1", "norm": "layer"},
            "ConvNet-1 (norm layer)",
            "ConvNet-1 (norm layer)",
            {"width": 128, "depth": 1, "norm": "layer", "activation": "relu", "pooling": "avg"},
        ),
    ],
)
def test_every_network_can_be_matched_on(options, matched, evaluated, recorded):
    found = experiment.prepare(Dc(network=NetworkOptions(**options)))
    assert [found.model.name, found.eval_model.name] == [matched, evaluated]
    assert recorded.items() <= found.options.items()
    assert networks.recorded(found.options).model(10, (8, 8, 1)).name == matched
    assert ("model" in found.options) == ("convnet" not in options["model"])
    assert ("norm_policy" in found.options) == ("norm batch" in matched)


def test_images_move_slowly_on_an_mlp():
    def rate(**options):
        return experiment.prepare(Dc(**options)).options["learning_rate"]

    mlp = NetworkOptions(model="mlp")
    assert rate(network=SMALL) == 0.1 and rate(network=mlp) == 0.01
    assert rate(network=mlp, match=MatchOptions(learning_rate=0.5)) == 0.5


def test_dcc_and_dsac_warm_up():
    match = MatchOptions(networks=8)
    found = experiment.prepare(Dcc(match=match, network=SMALL))
    assert found.method.name == "dcc" and found.method.loops == (8, 10, 5, False)
    assert (found.options["warm_up_networks"], found.options["warm_up_updates"]) == (2, 10)
    assert found.options["init"] == "real" and found.protocol == evaluate.PROTOCOLS["dc"]
    own = Dsac(match=match, network=SMALL, warm_up_networks=0, strategy="crop")
    found = experiment.prepare(own)
    assert found.options["warm_up_networks"] == 0 and found.protocol.augmentation == "crop"
    with pytest.raises(UsageError, match=r"between 0 and the 8 of the loops, got 9.*--warm-up-net"):
        experiment.prepare(Dcc(match=match, network=SMALL, warm_up_networks=9))


def test_dm_has_its_own_loops_rate_and_pool():
    found = experiment.prepare(Dm(network=NetworkOptions(width=4, depth=1, norm="batch")))
    assert found.method.name == "dm"
    assert found.method.loops == dm_loops(1, networks=METHODS["dm"].digits_networks)
    assert found.options["learning_rate"] == 1.0 and "distance" not in found.options
    assert found.options["eval_norm"] == "batch" and found.protocol.epochs == 1000
    with pytest.raises(UsageError, match="--networks-per-update"):
        experiment.prepare(Dm(network=SMALL, networks_per_update=0))
    elsewhere = dataclasses.replace(
        Dm(network=SMALL), data=DataOptions(data="digits", classes=("0", "1")), ipc=100
    )
    assert experiment.prepare(elsewhere).options["learning_rate"] == 1.0
    rate = METHODS["dm"].learning_rate
    network = Network("convnet", {})
    assert [rate(ipc, network, "cifar10") for ipc in (50, 100)] == [1.0, 10.0]
    assert rate(100, network, "cifar100") == 1.0


def test_the_training_images_belong_to_the_run():
    digits = datasets.load_dataset("digits", classes=["0", "1"])
    images = digits.train.images.copy()
    same = experiment.fingerprint(digits)
    assert same == experiment.fingerprint(
        dataclasses.replace(digits, train=data.Split(images, digits.train.labels))
    )
    images[-1, 0, 0, 0] ^= 1
    others = [
        dataclasses.replace(digits, train=data.Split(images, digits.train.labels)),
        dataclasses.replace(digits, mean=(0.25,)),
        dataclasses.replace(digits, train=data.Split(digits.train.images, 1 - digits.train.labels)),
    ]
    assert len({same, *map(experiment.fingerprint, others)}) == 4
    prepared = experiment.prepare(Dc(network=SMALL, data=DataOptions(classes=("0", "1"))))
    assert prepared.options["train_split"] == same and len(same) == 16


@pytest.mark.parametrize("init", ["herding", "k-centre"])
def test_images_can_start_at_chosen_ones(init):
    digits = DataOptions(classes=("0", "1"))
    command = Dsa(ipc=2, init=init, coreset_epochs=2, data=digits, network=SMALL)
    found = experiment.prepare(command)
    assert (found.options["init"], found.options["coreset_epochs"]) == (init, 2)
    key = jax.random.key(3)
    images = found.method.decode(found.method.init(key, found.train))[0]
    expected = evaluate.coreset_images(
        jax.random.split(key, 4)[0],
        *(found.train, 2),
        select=evaluate.SELECTIONS[init],
        model=found.model,
        epochs=2,
    )
    np.testing.assert_array_equal(images, expected)
    # a run that is resumed describes its state without the training
    described = jax.eval_shape(found.method.init, key, found.train)
    assert described.synthetic["images"].shape == images.shape


def test_the_epochs_of_the_network_that_chooses():
    digits = DataOptions(classes=("0", "1"))
    plain = experiment.prepare(Dc(data=digits, network=SMALL))
    assert "coreset_epochs" not in plain.options
    usual = experiment.prepare(Dc(data=digits, network=SMALL, init="herding"))
    assert usual.options["coreset_epochs"] == evaluate.CORESET_EPOCHS == 15


def test_files_that_are_not_the_published_ones_are_warned_of(capsys, tmp_path):
    digits = datasets.load_dataset("digits")
    for stem, split in (("train", digits.train), ("t10k", digits.test)):
        for kind, array in (("images-idx3", split.images[..., 0]), ("labels-idx1", split.labels)):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            content = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
            (tmp_path / f"{stem}-{kind}-ubyte").write_bytes(content)
    found = experiment.load(DataOptions(data="mnist", data_dir=tmp_path))
    assert len(found.train) == 1442
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jdd: warning: mnist: not as published: ")
    assert "train-images-idx3-ubyte has another checksum" in line
    assert line.endswith("1442 train images, not 60000; 355 test images, not 10000")


def test_every_method_can_be_made_by_its_entry():
    for name, entry in METHODS.items():
        assert all(getattr(entry, choice) for choice in entry._fields if choice != "loops")
        method = entry.factory(convnet(2, (8, 8, 1), width=4, depth=1), 1)
        assert method.name == name
        assert (entry.loops is None) == isinstance(method.loops, QueryRule)


def test_cafe_has_the_papers_numbers():
    found = experiment.prepare(Cafe(network=SMALL, match=MatchOptions(networks=2000)))
    assert found.method.loops == query_rule(query=35)  # of 140 digits in the smallest class
    assert found.meant == evaluate.PROTOCOLS["cafe"] and found.meant.epochs == 600
    options = found.options
    assert options["init"] == "noise" and options["strategy"] == "none"
    assert (options["learning_rate"], options["discrimination"]) == (0.1, 0.01)
    assert (options["outer"], options["inner"], options["query"]) == (0.04, 0.03, 35)
    original = experiment.prepare(Cafe(network=SMALL, query=QueryOptions(rule="original")))
    usual = METHODS["cafe"].digits_networks
    assert original.method.loops == original_query_rule(networks=usual, query=35)
    augmented = experiment.prepare(Cafe(network=SMALL, strategy="crop_flip"))
    assert augmented.meant.epochs == 1000 and augmented.meant.augmentation == "crop_flip"
    fixed = experiment.prepare(CafeFixed(ipc=10, network=SMALL))
    assert fixed.method.loops == dc_loops(10, networks=METHODS["cafe-fixed"].digits_networks)
    few = experiment.prepare(Cafe(network=SMALL, data=DataOptions(classes=("0", "1"))))
    assert few.method.loops == query_rule(networks=usual, query=35)
