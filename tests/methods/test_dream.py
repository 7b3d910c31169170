"""DREAM, DREAM+ and NCFM as recipes: the authors' constants, runs that resume, bad input."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import jdd
from jdd import matching, methods, synthetic
from jdd.augment import cutmix_augmentation, idc_augmentation
from jdd.data import representative, uniform
from jdd.methods import PRESETS, Recipe, bidirectional_gradients, from_clusters
from tests.methods.small_runs import build, resumed, run, same, small
from tests.methods.small_runs import data as real_data

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

AUGMENT = cutmix_augmentation(0.5, base=idc_augmentation("color_crop"))
SAMPLER = representative(6, every=3, pool=16)


def small_dream(name="dream", **changes):
    motion = methods.on_real(
        16, first_epochs=int(name == "dream-plus"), batch_size=8, augment=AUGMENT
    )
    usual = {"motion": motion, "sampler": SAMPLER, "networks": 2, "updates": 4}
    if name == "dream-plus":
        usual["initial"] = from_clusters(motion=motion)
    return small(name, **usual | changes)


def small_ncfm(**changes):
    options = {"frequencies": 32}
    return small("ncfm", options=options, motion=methods.never(), updates=1, **changes)


def arguments(choice):
    return dict(choice.expression.arguments)


@pytest.mark.parametrize("make", [jdd.dream, jdd.dream_plus])
@pytest.mark.parametrize(
    ("data", "batch", "metric"),
    [
        ("cifar10", 128, matching.squared_error()),
        ("fashion_mnist", 128, matching.absolute_error()),
        ("tfds:mnist/3.0.1", 128, matching.absolute_error()),
        ("tiny_imagenet", 64, matching.squared_error()),
        ("digits", 32, matching.squared_error()),
        ("", 128, matching.squared_error()),
    ],
)
def test_it_is_idc_with_other_real_images(make, data, batch, metric):
    recipe, base = make(10, data=data), jdd.idc(10, data=data)
    assert recipe.sampler == representative(batch)
    motion = arguments(recipe.motion)
    assert motion["batch_size"] == batch
    same_fields = "optimizer protocol synthetic augment networks updates norm_policy decay pool"
    for field in same_fields.split():
        assert getattr(recipe, field) == getattr(base, field), field
    usual = {"batch_size": batch, "first_epochs": motion["first_epochs"]}
    assert recipe.motion == base.motion.with_arguments(**usual)
    if make is jdd.dream:
        assert recipe.objective == base.objective and motion["first_epochs"] == 0
        assert recipe.initial == from_clusters()
    else:
        assert recipe.objective == bidirectional_gradients(metric) and motion["first_epochs"] == 1
        assert recipe.initial == from_clusters(motion=recipe.motion)


def test_options_reach_their_choice():
    options: dict[str, Any] = {"factor": 3, "every": 5, "subsample": 4}
    for make in (jdd.dream, jdd.dream_plus):
        recipe = make(1, data="cifar10", metric="absolute-error", base_rate=0.5, **options)
        assert recipe.sampler == representative(128, every=5, subsample=4)
        assert recipe.synthetic == synthetic.multi_formation(3)
        assert arguments(recipe.optimizer)["learning_rate"] == pytest.approx(0.05)
    weighted = jdd.dream_plus(1, data="cifar10", metric="absolute-error", embedding_weight=0.1)
    assert weighted.objective == bidirectional_gradients(
        matching.absolute_error(), embedding_weight=0.1
    )


def test_ncfm_is_dms_loop():
    recipe, dm = jdd.ncfm(10, data="cifar10"), jdd.dm(10, data="cifar10")
    for field in ("motion", "networks", "updates", "norm_policy", "pool"):
        assert getattr(recipe, field) == getattr(dm, field), field
    assert recipe.sampler == uniform(1024)
    assert recipe.objective == methods.class_characteristic_functions(
        frequencies=4096, alpha=0.5, factor=300.0
    )
    assert recipe.synthetic == synthetic.multi_formation(2)
    assert jdd.ncfm(1, factor=1, frequencies=64, alpha=0.9).objective == (
        methods.class_characteristic_functions(frequencies=64, alpha=0.9)
    )
    assert recipe.optimizer == methods.adam(0.003)
    assert jdd.ncfm(1, data="digits").optimizer == methods.adam(0.01)
    assert recipe.protocol.name == "idc" and jdd.ncfm(1, data="svhn").protocol.name == "idc-no-flip"


@pytest.mark.parametrize("recipe", [small_dream(), small_dream("dream-plus"), small_ncfm()])
def test_a_run_is_finite_moves_every_tile_and_resumes_bit_for_bit(recipe):
    state, losses = run(recipe)
    steps = recipe.total_steps
    assert np.isfinite(losses).all() and (losses > 0).all() and int(state.updates) == steps
    start = build(recipe).init(jax.random.key(0), real_data()).synthetic["images"]
    moved = np.abs(np.asarray(state.synthetic["images"] - start)).reshape(3, 2, 2, 4, 2, 4)
    assert (moved.max((3, 5)) > 0).all()
    assert same(resumed(recipe, steps // 2, 1, steps - steps // 2 - 1), state)
    assert not same(run(recipe, seed=1)[0].synthetic, state.synthetic)


def test_images_are_chosen_at_every_network_and_every_three_updates():
    recipe = small_dream()
    ages = [int(run(recipe, n)[0].sampler.age) for n in range(1, 9)]
    assert ages == [1, 2, 3, 1, 1, 2, 3, 1]


def test_a_network_of_dream_plus_trains_for_an_epoch_before_its_first_update():
    places = {}
    for name in ("dream", "dream-plus"):
        recipe = small_dream(name)
        states = [run(recipe, n)[0] for n in (1, 5)]
        places[name] = [int(state.network.rest[1].step) for state in states]
    # 90 images are eleven whole minibatches of eight; two more follow each update.
    assert places == {"dream": [2, 2], "dream-plus": [13, 13]}


def test_the_first_images_follow_the_first_epochs():
    for epochs, images, steps in ((2, 0, 22), (1, 20, 14), (0, 20, 3), (0, 0, 0)):
        motion = methods.on_real(16, batch_size=8, first_epochs=epochs, first_images=images)
        _, (_, place) = motion.begin(
            jax.random.key(0), build(small_dream()).model, real_data().table
        )
        assert int(place.step) == steps
    with pytest.raises(ValueError, match="first_epochs must be at least 0, got -1"):
        methods.on_real(16, first_epochs=-1)


@pytest.mark.parametrize("name", ["dream", "dream-plus", "ncfm"])
@pytest.mark.parametrize("data", ["cifar10", "mnist", "svhn", "digits"])
def test_recipes_are_saved_and_read(name, data):
    recipe = PRESETS[name].recipe(1, data=data)
    assert Recipe.from_json(recipe.to_json()) == recipe and recipe.name == name


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jdd.dream(1, subsample=3), "n must be a multiple of subsample, got 128 and 3"),
        (lambda: jdd.dream(1, every=0), "every must be at least 1, got 0"),
        (lambda: jdd.dream(0), "ipc must be at least 1, got 0"),
        (lambda: jdd.dream_plus(1, embedding_weight=-1), "embedding_weight must be at least 0"),
        (lambda: jdd.ncfm(1, frequencies=0), "frequencies must be at least 1, got 0"),
        (lambda: jdd.ncfm(1, alpha=2), "alpha must be from 0 to 1, got 2"),
        (lambda: jdd.ncfm(1, factor=0), "factor must be at least 1, got 0"),
        (lambda: jdd.ncfm(0), "ipc must be at least 1, got 0"),
    ],
)
def test_impossible_options_are_refused(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_more_tiles_than_images_of_a_class_are_refused():
    recipe = dataclasses.replace(small_dream(), ipc=8)
    with pytest.raises(ValueError, match=r"clustered, 30, got 32"):
        jax.eval_shape(build(recipe).init, jax.random.key(0), real_data())
