"""IDC as a recipe: the step after every class, the authors' constants, a run that resumes, bad input."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jdd
from jdd import data, matching, methods, synthetic
from jdd.augment import cutmix_augmentation, idc_augmentation
from jdd.methods import PRESETS, Recipe, class_by_class
from jdd.nn import mlp
from tests.methods.small_runs import build, program, resumed, run, same, small
from tests.methods.small_runs import data as real_data

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

# Two networks of four updates; a minibatch of 8 real images goes one and a half times through the 90.
MOTION = methods.on_real(
    16, batch_size=8, augment=cutmix_augmentation(0.5, base=idc_augmentation("color_crop"))
)


def small_idc(**changes):
    usual = {"motion": MOTION, "networks": 2, "updates": 4}
    return small("idc", **usual | changes)


def arguments(choice):
    return dict(choice.expression.arguments)


def gradient_of(c, sweep, images):
    """The gradient of a loss that depends on the images of class c alone, and on the network."""
    return np.sin(images + c + sweep)


def in_sequence(start, sweeps, rate, momentum):
    """The images of each class when its gradient is taken: SGD with momentum after every class."""
    images, velocity, seen = start.copy(), np.zeros_like(start), []
    for sweep in range(sweeps):
        seen.append(np.zeros_like(start))
        for c in range(len(start)):
            seen[-1][c] = images[c]
            gradient = np.zeros_like(start)
            gradient[c] = gradient_of(c, sweep, images[c])
            velocity = momentum * velocity + gradient
            images = images - rate * velocity
    return np.array(seen)


def in_parallel(start, sweeps, transform):
    """The same with one step for all classes."""
    images, state, seen = start, transform.init(start), []
    for sweep in range(sweeps):
        seen.append(images)
        gradient = np.stack([gradient_of(c, sweep, x) for c, x in enumerate(images)])
        step, state = transform.update(jnp.asarray(gradient), state)
        images = images + np.asarray(step)
    return np.array(seen)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_one_parallel_step_is_a_step_after_every_class(classes, momentum):
    start = np.random.default_rng(classes).standard_normal((classes, 4))
    want = in_sequence(start, 6, 0.1, momentum)
    got = in_parallel(start, 6, class_by_class(0.1, momentum).transform)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert np.abs(want[-1] - want[0]).max() > 0.1


@pytest.mark.parametrize("classes", [10, 100])
def test_for_many_classes_it_is_a_step_without_momentum(classes):
    start = np.random.default_rng(0).standard_normal((classes, 4))
    plain = optax.sgd(0.1 * (2 - 2.0 ** (1 - classes)))
    want = in_parallel(start, 6, plain)
    got = in_parallel(start, 6, class_by_class(0.1).transform)
    moved = np.abs(want[-1] - want[0]).max()
    assert np.abs(got - want).max() < 2e-3 * moved


def test_parameters_without_a_class_axis_are_refused():
    transform = class_by_class(0.1).transform
    for params in ({"a": jnp.zeros((3, 1)), "b": jnp.zeros((2, 1))}, {"rate": jnp.float32(0.1)}):
        with pytest.raises(ValueError, match="needs parameters whose leading axis is the class"):
            transform.init(params)
    with pytest.raises(ValueError, match="learning_rate must be above 0"):
        class_by_class(0.0)
    with pytest.raises(ValueError, match="momentum must be at least 0 and below 1"):
        class_by_class(0.1, 1.0)


@pytest.mark.parametrize(
    ("name", "ipc", "metric", "rate", "real_images"),
    [
        ("cifar10", 1, matching.squared_error(), 5e-4, 2000),
        ("cifar10", 10, matching.squared_error(), 5e-3, 2000),
        ("cifar100", 50, matching.squared_error(), 2.5e-2, 2000),
        ("svhn", 10, matching.squared_error(), 5e-3, 500),
        ("mnist", 10, matching.absolute_error(), 1e-4, 500),
        ("fashion_mnist", 10, matching.absolute_error(), 1e-4 * (28 / 32) ** 2, 500),
        ("tfds:fashion_mnist/3.0.1", 1, matching.absolute_error(), 1e-5 * (28 / 32) ** 2, 500),
        ("tiny_imagenet", 10, matching.squared_error(), 2e-2, 1000),
        ("", 10, matching.squared_error(), 5e-3, 2000),
    ],
)
def test_the_authors_rates_metrics_and_real_images(name, ipc, metric, rate, real_images):
    recipe = jdd.idc(ipc, data=name)
    assert recipe.objective == methods.convolution_gradients(metric)
    assert arguments(recipe.optimizer)["learning_rate"] == pytest.approx(rate)
    assert arguments(recipe.optimizer)["momentum"] == 0.5
    motion = arguments(recipe.motion)
    assert motion["images"] == real_images
    assert [motion[k] for k in ("learning_rate", "momentum", "weight_decay")] == [0.01, 0.9, 5e-4]
    assert (motion["batch_size"], motion["first_images"]) == (64, 0)
    assert recipe.sampler == data.uniform(64)
    assert (recipe.networks, recipe.updates) == (2000, 100)
    assert recipe.synthetic == synthetic.multi_formation(2)


MIXED = cutmix_augmentation(0.5, base=idc_augmentation("color_crop"))


@pytest.mark.parametrize(
    ("name", "factor", "ipc", "matched", "trained", "protocol", "evaluated"),
    [
        ("cifar10", 2, 10, "color_crop_cutout", MIXED, "idc", "color_crop_flip_scale_rotate"),
        ("fashion_mnist", 1, 1, "color_crop_cutout", MIXED, "idc", "color_crop_flip_scale_rotate"),
        ("svhn", 2, 1, "color_crop_cutout", MIXED, "idc-no-flip", "color_crop_scale_rotate"),
        ("mnist", 1, 1, "color_crop_cutout", MIXED, "idc-no-flip", "color_crop_scale_rotate"),
        (
            "tfds:mnist/3.0.1",
            2,
            10,
            "color_crop",
            idc_augmentation("color_crop"),
            "idc-no-cutmix",
            "color_crop_scale_rotate",
        ),
        (
            "svhn",
            1,
            1,
            "color_crop_cutout",
            MIXED,
            "idc, color_crop_cutout_scale_rotate, no CutMix",
            "color_crop_cutout_scale_rotate",
        ),
    ],
)
def test_the_authors_augmentations(name, factor, ipc, matched, trained, protocol, evaluated):
    recipe = jdd.idc(ipc, data=name, factor=factor)
    assert recipe.augment == idc_augmentation(matched)
    assert arguments(recipe.motion)["augment"] == trained
    assert (recipe.protocol.name, recipe.protocol.augment.strategy) == (protocol, evaluated)
    assert (recipe.protocol.batch_size, recipe.protocol.trained_epochs) == (64, 1000)


def test_the_rate_follows_metric_size_and_what_is_given():
    def rate(**options):
        return arguments(jdd.idc(10, **options).optimizer)["learning_rate"]

    assert rate(data="cifar10", metric="absolute-error") == pytest.approx(1e-4)
    assert rate(data="mnist", metric="squared-error") == pytest.approx(5e-3)
    assert rate(data="folder:photos", image_size=64) == pytest.approx(2e-2)
    assert rate(data="cifar10", metric="layerwise-cosine", base_rate=0.3) == pytest.approx(0.3)
    recipe = jdd.idc(1, metric="mean-absolute-error", base_rate=1.0)
    assert recipe.objective == methods.convolution_gradients(matching.mean_absolute_error())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0}, "factor must be at least 1, got 0"),
        ({"metric": "squared-eror"}, "did you mean 'squared-error'"),
        ({"metric": "layerwise-cosine"}, "base_rate must be given with metric 'layerwise-cosine'"),
        ({"base_rate": -1.0}, "base_rate must be above 0 and finite, got -1.0"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        jdd.idc(1, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cifar10", "mnist", "svhn", "digits"])
@pytest.mark.parametrize("factor", [1, 2])
def test_recipes_are_saved_and_read(name, factor):
    recipe = jdd.idc(1, data=name, factor=factor)
    assert Recipe.from_json(recipe.to_json()) == recipe
    other = dataclasses.replace(recipe, initial=synthetic.first_of_class())
    assert Recipe.from_json(other.to_json()) == other != recipe


def test_a_run_is_finite_moves_every_tile_and_resumes_bit_for_bit():
    recipe = small_idc()
    state, losses = run(recipe)
    assert np.isfinite(losses).all() and (losses > 0).all() and int(state.updates) == 8
    start = build(recipe).init(jax.random.key(0), real_data()).synthetic["images"]
    moved = np.abs(np.asarray(state.synthetic["images"] - start)).reshape(3, 2, 2, 4, 2, 4)
    assert (moved.max((3, 5)) > 0).all()
    for counts in ((3, 5), (1, 4, 3), (8,)):
        assert same(resumed(recipe, *counts), state)
    assert not same(run(recipe, seed=1)[0].synthetic, state.synthetic)


def test_momentum_and_place_live_as_long_as_the_network():
    recipe = small_idc()
    states = [run(recipe, n)[0] for n in range(1, 9)]
    places = [int(state.network.rest[1].step) for state in states]
    # Two minibatches after every update but the last of a network.
    assert places == [2, 4, 6, 6, 2, 4, 6, 6]
    velocity = [np.asarray(jax.tree.leaves(state.network.rest[0])[0]) for state in states]
    assert np.array_equal(velocity[2], velocity[3]) and not np.array_equal(velocity[1], velocity[2])
    assert all(np.abs(v).max() > 0 for v in velocity)


def test_pixels_are_clamped_once_for_each_network_before_its_first_update():
    recipe = small_idc(optimizer=class_by_class(0.5))
    method, real = build(recipe), real_data()

    def clamped(state):
        images = {"images": jnp.clip(state.synthetic["images"], 0, 1)}
        return dataclasses.replace(state, synthetic=images)

    step = jax.jit(method.step)
    for before, is_first in ((3, False), (4, True)):
        state = run(recipe, before)[0]
        images = np.asarray(state.synthetic["images"])
        assert images.min() < 0 or images.max() > 1
        after = step(state, real)[0].synthetic
        assert same(after, step(clamped(state), real)[0].synthetic) == is_first


def test_at_most_128_decoded_images_of_a_class_are_matched():
    assert jdd.idc(50).objective == methods.convolution_gradients(
        matching.squared_error(), at_most=128
    )
    few = small_idc(objective=methods.convolution_gradients(at_most=3))
    state, _ = program(few)(build(few).init(jax.random.key(0), real_data()), real_data(), 1)
    start = build(few).init(jax.random.key(0), real_data()).synthetic["images"]
    moved = np.abs(np.asarray(state.synthetic["images"] - start)).reshape(3, 2, 2, 4, 2, 4)
    # Of the eight tiles of a class three were matched.
    assert ((moved.max((3, 5)) > 0).sum((1, 2, 3)) == 3).all()


@pytest.mark.parametrize("name", ["dc", "dsa", "dcc", "dm", "cafe"])
def test_other_methods_take_multi_formation(name):
    recipe = small(name, synthetic=synthetic.multi_formation(2))
    state, losses = run(recipe, 2)
    assert np.isfinite(losses).all()
    assert build(recipe).decode(state).images.shape == (3, 8, 1, 8, 8, 1)


def test_a_network_without_convolutions_and_images_that_are_too_small_are_refused():
    method = methods.build(small_idc(), mlp(3, (8, 8, 1)))
    state = method.init(jax.random.key(0), real_data())
    with pytest.raises(ValueError, match="needs a network with convolutions"):
        jax.eval_shape(method.step, state, real_data())
    for factor, message in ((9, "at most the shorter side"), (5, "crops outside the image")):
        recipe = small_idc(
            synthetic=synthetic.multi_formation(factor), initial=synthetic.from_real(repeat=True)
        )
        with pytest.raises(ValueError, match=message):
            methods.build(recipe, build(small_idc()).model).init(jax.random.key(0), real_data())
    # 90 images of three classes hold 30 tiles each.
    too_many = small_idc(ipc=8)
    with pytest.raises(ValueError, match=r"tiles.*the smallest class \(30\), got 32"):
        build(too_many).init(jax.random.key(0), real_data())


def test_it_is_in_the_table_of_presets():
    assert PRESETS["idc"].recipe is jdd.idc and "ICML 2022" in PRESETS["idc"].paper
