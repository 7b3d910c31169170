"""Which protocol a set is judged by on another network than it means."""

from __future__ import annotations

import pytest
from jdd.cli.protocol import meant_protocol

from jdd.artefact import Metadata
from jdd.nn import Network

INSTANCE, BATCH, SWISH = (
    Network("convnet", {"norm": norm, "activation": activation})
    for norm, activation in (("instance", "relu"), ("batch", "relu"), ("batch", "swish"))
)


@pytest.mark.parametrize(
    ("method", "meant", "usual", "judge", "data", "want"),
    [
        ("dc", "dc", INSTANCE, BATCH, "cifar10", "dc-crop-noise"),
        ("dc", "dc-crop-noise", BATCH, INSTANCE, "cifar10", "dc"),
        ("dcc", "dc-crop-noise", BATCH, INSTANCE, "mnist", "dc-crop-scale-rotate"),
        ("cafe", "cafe", INSTANCE, BATCH, "cifar10", "dc-crop-noise"),
        ("cafe", "dc-crop-noise", BATCH, INSTANCE, "cifar10", "cafe"),
        ("cafe-fixed", "dc-crop-noise", BATCH, INSTANCE, "cifar10", "cafe"),
        ("cafe", "dc-crop-noise", BATCH, INSTANCE, "mnist", "dc-crop-scale-rotate"),
        # The code knows ConvNetBN and no other network with BatchNorm.
        ("cafe", "cafe", INSTANCE, SWISH, "cifar10", "cafe"),
        # With augmentation it is DSA's, whatever the network.
        ("cafe", "dsa", INSTANCE, BATCH, "cifar10", "dsa"),
        ("somebody's", "cafe", INSTANCE, BATCH, "cifar10", "dc-crop-noise"),
    ],
)
def test_the_protocol_goes_by_the_judging_network(method, meant, usual, judge, data, want):
    names, half = ("a", "b"), (0.5,)
    metadata = Metadata(method, data, names, 1, "normalised", half, half, protocol=meant)
    assert meant_protocol(None, metadata, usual, data, judge).name == want
    chosen = meant_protocol("dsa-no-flip", metadata, usual, data, judge)
    assert chosen.name == "dsa-no-flip"
