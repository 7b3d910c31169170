"""Networks by name, pools of networks, and networks as values."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from jdd import nn
from jdd.nn import NETWORKS, POOLS, Network, network, parse_networks
from jdd.nn.registry import default_options


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network("resnet"), "unknown network 'resnet', did you mean 'resnet18'"),
        (lambda: network("mlp", norm="batch"), "mlp has no norm"),
        (lambda: network("VGG11BN", norm="layer"), "VGG11BN has norm batch, not layer"),
        (
            lambda: parse_networks("convnet,alxnet"),
            "unknown network 'alxnet', did you mean 'alexnet'",
        ),
        (lambda: parse_networks("m"), "unknown network 'm'"),
        (lambda: parse_networks("convnet,"), "unknown network ''"),
        (
            lambda: parse_networks("mlp,lenet", norm="batch"),
            "norm can be chosen for none of the networks",
        ),
        (
            lambda: parse_networks("N", norm="batch"),
            "norm can be chosen for none of the networks N",
        ),
        (lambda: network(3), "unknown network 3"),  # type: ignore[arg-type]
        (
            lambda: network("convnet", width=4.0),
            "width must be a string or a whole number, got 4.0",
        ),
        (lambda: network("convnet", width=True), "width must be a string or a whole number"),
        (lambda: Network("convnetbn", {}), "unknown architecture 'convnetbn'"),
        (lambda: Network("lenet", {"norm": "batch"}), "lenet has no norm"),
        (lambda: network("lenet").replace(norm="batch"), "lenet has no norm"),
        (lambda: Network.from_json({"norm": "batch"}), "needs an 'architecture', got"),
        (lambda: Network.from_json({"architecture": "alxnet"}), "did you mean 'alexnet'"),
        (lambda: Network.from_json({"architecture": "mlp", "width": 4}), "mlp has no width"),
        (
            lambda: Network.from_json({"architecture": "convnet", "norm": ["batch"]}),
            r"norm must be a string or a whole number, got \['batch'\]",
        ),
    ],
)
def test_bad_names_and_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_network_is_a_value():
    one = Network("convnet", {"width": np.int64(4), "norm": "batch"})
    same = network("convnetbn", width=4)
    assert one == same and hash(one) == hash(same) and len({one, same}) == 1
    assert one != network("convnetbn") and one != network("vgg11bn") and one != one.options
    assert Network("mlp") == network("mlp") and Network("mlp").options == {}
    assert Network("convnet", {"norm": "layer", "depth": 1}) == Network(
        "convnet", {"depth": 1, "norm": "layer"}
    )
    one.options["width"] = 8  # a copy
    assert one.options["width"] == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.architecture = "mlp"  # type: ignore[misc]
    assert eval(repr(one)) == one


@pytest.mark.parametrize("name", NETWORKS)
def test_json_round_trip(name):
    record = json.loads(json.dumps(network(name).to_json()))
    assert record == {"architecture": network(name).architecture, **network(name).options}
    assert Network.from_json(record) == network(name)


def test_replace():
    base = network("resnet18")
    assert base.replace(norm="batch") == network("resnet18bn")
    assert base.replace() == base == network("resnet18")
    assert Network.from_json({"architecture": "resnet18"}) == base


def test_every_name_is_a_different_network():
    by_name = {name: network(name) for name in NETWORKS}
    assert all(by_name[name] == network(name.upper()) for name in NETWORKS)
    assert {name for pool in POOLS.values() for name in pool} <= set(by_name)
    names = {each.model(10, (32, 32, 3)).name for each in by_name.values()}
    of_defaults = {"convnetw128", "convnetd3", "convnetar", "convnetap", "convnetin"}
    assert {name for name, each in by_name.items() if each == by_name["convnet"]} == {
        "convnet"
    } | of_defaults
    assert len(names) == len(by_name) - len(of_defaults)
    assert network("resnet18bn_ap").model(10, (32, 32, 3)).name == (
        "ResNet18 (norm batch, downsampling avg_pool)"
    )


def test_pools_options_and_the_distilled_network():
    assert [each.architecture for each in parse_networks("M")] == list(POOLS["M"])
    assert parse_networks("M, convnetD3 ,MLP") == parse_networks("M")
    wide = parse_networks("W,mlp", depth=2)
    assert [each.options.get("width") for each in wide] == [32, 64, 128, 256, None]
    assert [each.options.get("depth") for each in wide] == [2, 2, 2, 2, None]
    batch = parse_networks("M", norm="batch")
    assert [each.norm for each in batch] == ["none", "batch", "none", "batch", "batch", "batch"]
    trained = network("resnet18bn_ap")
    assert parse_networks("S,SS", trained=trained) == [network("resnet18"), trained]
    assert parse_networks("S", trained=network("alexnetbn")) == [network("alexnet")]
    assert parse_networks("S", trained=network("convnetaswishbn")) == [network("convnetaswish")]
    assert parse_networks("S", trained=network("resnet18_ap")) == [network("resnet18_ap")]
    assert parse_networks("SS,S") == [network("convnet")]


def test_options_are_those_of_the_constructors():
    assert default_options("mlp") == default_options("lenet") == {}
    assert list(default_options("convnet")) == ["width", "depth", "norm", "activation", "pooling"]
    small = network("convnet", width=4, depth=1, norm="layer").model(2, (8, 8, 1))
    assert small.name == nn.convnet(2, (8, 8, 1), width=4, depth=1, norm="layer").name
