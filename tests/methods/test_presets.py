"""The papers' constants: loop tables, rates, protocols, DCC's warm-up, and the limits of each preset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jdd
from jdd import augment, matching, methods
from jdd.methods import PRESETS, after_warm_up
from jdd.methods.presets.constants import Loops, dc_loops, dcc_loops
from tests.methods.small_runs import PAPERS, run, small

AUGMENTED = ("dsa", "dsac", "dm")
LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


@pytest.mark.parametrize("ipc", LOOPS)
def test_the_papers_loop_table(ipc):
    assert dc_loops(ipc) == Loops(*LOOPS[ipc])
    assert dcc_loops(ipc) == (Loops(10, 5) if ipc == 1 else Loops(*LOOPS[ipc]))
    for name, loops in (("dc", dc_loops), ("dsa", dc_loops), ("dcc", dcc_loops)):
        recipe = PRESETS[name].recipe(ipc)
        updates, epochs, _ = loops(ipc)
        assert (recipe.networks, recipe.updates) == (1000, updates)
        assert recipe.motion == methods.on_synthetic(epochs)


def test_other_ipcs_are_interpolated():
    assert dc_loops(5) == Loops(5, 23, interpolated=True)
    assert dc_loops(45) == Loops(45, 12, interpolated=True)
    assert dc_loops(100) == Loops(50, 10, interpolated=True)
    for name in PRESETS:
        with pytest.raises(ValueError, match="ipc must be at least 1, got 0"):
            PRESETS[name].recipe(0)
        with pytest.raises(ValueError, match=r"ipc must be a whole number of at least 1, got 1\.5"):
            PRESETS[name].recipe(1.5)


def test_the_rates_of_the_images():
    for name in ("dc", "dsa", "dcc", "dsac"):
        make = PRESETS[name].recipe
        assert make(1).optimizer == methods.sgd(0.1, 0.5), name
        assert make(1, architecture="mlp").optimizer == methods.sgd(0.01, 0.5), name
    assert jdd.dm(100).optimizer == jdd.dm(50, data="cifar10").optimizer == methods.sgd(1.0, 0.5)
    for source in ("cifar10", "tfds:cifar10", "tfds:cifar10/3.0.2"):
        assert jdd.dm(100, data=source).optimizer == methods.sgd(10.0, 0.5)
    assert jdd.dm(100, data="cifar100").optimizer == methods.sgd(1.0, 0.5)
    for make in (jdd.cafe, jdd.cafe_fixed):
        assert make(100).optimizer == methods.sgd(0.1, 0.5)
        assert make(100).decay == methods.halved_after()


def test_strategies_protocols_and_pools():
    for name in AUGMENTED:
        make = PRESETS[name].recipe
        assert make(1).augment == augment.dsa_augmentation(augment.STRATEGY)
        assert make(1).protocol.name == "dsa"
        assert make(1, data="tfds:mnist").augment == augment.dsa_augmentation(
            augment.STRATEGY_NO_FLIP
        )
        assert make(1, data="svhn").protocol.name == "dsa-no-flip"
        assert make(1, strategy="none").augment.is_none
        with pytest.raises(ValueError, match=r"'flop' in .*, did you mean 'flip'\?"):
            make(1, strategy="crop_flop")
    assert jdd.dc(1).augment.is_none and jdd.dc(1).protocol.name == "dc"
    assert jdd.dc(1, data="mnist").protocol.name == "dc-crop-scale-rotate"
    assert jdd.cafe(1).protocol.name == "cafe"
    assert jdd.cafe(1, strategy="crop").protocol.name == "dsa, crop"
    for name in PAPERS:
        assert PRESETS[name].recipe(1).pool == ("SS" if name == "dm" else "S")
    assert jdd.dm(1).norm_policy == methods.batch_statistics()
    assert jdd.dm(1).motion == methods.never() and jdd.dm(1).total_steps == 20_000
    assert jdd.cafe(1).motion == methods.by_queries()
    assert jdd.cafe(1, rule="original").motion == methods.by_original_queries()
    assert (jdd.cafe(10).networks, jdd.cafe(10).updates) == (2000, 50)
    assert (jdd.cafe_fixed(10).networks, jdd.cafe_fixed(10).updates) == (2000, 10)


@pytest.mark.parametrize("name", ["dc", "dsa", "dcc", "dsac"])
@pytest.mark.parametrize(
    ("distance", "stage"),
    [
        ("layerwise-cosine", None),
        ("flat-cosine", matching.flat_cosine()),
        ("squared-error", matching.squared_error()),
    ],
)
def test_the_distance_between_gradients_can_be_chosen(name, distance, stage):
    make = PRESETS[name].recipe
    expression: Any = make(1, distance=distance).objective.expression
    assert dict(expression.arguments)["distance"] == stage
    with pytest.raises(ValueError, match=r"distance must be one of flat-cosine, .*got 'cosin'"):
        make(1, distance="cosin")


def test_the_papers_warm_up():
    objective = jdd.dcc(10).objective
    warm_up = after_warm_up(250, 10, updates_per_network=10)
    assert objective == methods.warmed_up_gradients(warm_up)
    over = np.array([bool(warm_up(step)) for step in range(2490, 2510)])
    assert not over[:10].any() and over[10:].all()
    at_50 = after_warm_up(250, 10, updates_per_network=50)
    assert jdd.dsac(50).objective == methods.warmed_up_gradients(at_50)
    over = np.array([bool(at_50(step)) for step in range(100)])
    assert list(np.flatnonzero(~over)) == [*range(10), *range(50, 60)]
    # The warm-up follows the loops: a quarter of the networks, no more updates than there are.
    few = jdd.dcc(50, networks=5, updates=4).objective
    assert few == methods.warmed_up_gradients(after_warm_up(2, 4, updates_per_network=4))


def test_class_wise_at_first_and_collective_afterwards():
    def losses(networks, updates):
        options = {"networks": 2, "updates": 2}
        options |= {"warm_up_networks": networks, "warm_up_updates": updates}
        # Networks are not trained, so that the programs are short.
        return run(small("dcc", options=options, networks=2, motion=methods.never()))[1]

    always, never, mixed = (losses(*each) for each in ((2, 2), (0, 2), (1, 1)))
    assert mixed[0] == always[0] and mixed[1] != always[1]
    assert np.isfinite(never).all() and not np.array_equal(never, always)


@pytest.mark.parametrize("make", [jdd.dcc, jdd.dsac])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warm_up_networks": 5}, "warm_up_networks must be from 0 to the 4 networks, got 5"),
        (
            {"warm_up_updates": 3},
            "warm_up_updates must be from 0 to the 2 updates of a network, got 3",
        ),
        ({"warm_up_networks": -1}, "warm_up_networks must be from 0 to the 4 networks, got -1"),
        ({"warm_up_updates": -1}, "warm_up_updates must be from 0 to the 2 updates"),
        ({"warm_up_networks": 0.5}, "networks must be a whole number of at least 0, got 0.5"),
    ],
)
def test_a_warm_up_longer_than_the_loops_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(1, networks=4, updates=2, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "exact"}, "rule must be one of corrected, original, got 'exact'"),
        ({"layer_weights": (1.0, -1.0)}, "weights must be at least 0 and finite"),
        ({"discrimination": float("nan")}, "weights must be at least 0 and finite"),
        ({"outer": 1.0}, "outer threshold must be between 0 and 1, got 1.0"),
        ({"strategy": "croop"}, r"did you mean 'crop'\?"),
    ],
)
def test_impossible_options_of_cafe_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        jdd.cafe(1, **options)
