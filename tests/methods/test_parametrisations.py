"""Parametrisations from outside under every preset: several steps, evaluation of variants, resuming."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import augment, choice, methods, synthetic
from jdd.data import Batch, Data, Split, class_table, draw_indices
from jdd.evaluate import EvaluationProtocol, class_accuracies, evaluate
from jdd.synthetic import Statistics, all_variants, flat, one_variant
from tests.methods.small_runs import (
    PAPERS,
    build,
    data,
    resumed,
    run,
    same,
    small,
    small_model,
    step,
)
from tests.parametrisations import mosaic, tinted

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

BOTH = {"mosaic": mosaic(), "tinted": tinted()}
# Network, updates and epochs are few: every pair of preset and parametrisation is a program.
SHORT = {"networks": 2, "updates": 2}


def short(name: str, parametrisation: synthetic.Parametrisation) -> methods.Recipe:
    options = {"networks": 2, "updates": 2} if name in ("dcc", "dsac") else None
    return small(name, options=options, synthetic=parametrisation, **SHORT)


@pytest.mark.parametrize("parametrisation", BOTH)
@pytest.mark.parametrize("name", PAPERS)
def test_every_preset_distils_and_resumes_bit_for_bit(name, parametrisation):
    recipe = short(name, BOTH[parametrisation])
    method = build(recipe)
    start = method.init(jax.random.key(0), data())
    state, losses = run(recipe)
    assert np.isfinite(losses).all() and (losses > 0).all()
    for group in start.synthetic:
        before, after = start.synthetic[group], state.synthetic[group]
        assert before.shape == after.shape and np.isfinite(after).all()
        assert (np.abs(after - before).max(-1) > 0).any()
    decoded = method.decode(state)
    n, variants = {"mosaic": (8, 1), "tinted": (2, 3)}[parametrisation]
    assert decoded.images.shape == (3, n, variants, 8, 8, 1)
    assert decoded.labels.tolist() == [[c] * n for c in range(3)]
    assert same(state, resumed(recipe, 1, 2, 1))


def test_tiles_are_means_of_the_initial_images():
    recipe = short("dm", mosaic())
    state = build(recipe).init(jax.random.key(0), data())
    first, _ = jax.random.split(jax.random.key(0), 4)[:2]
    table = data().table
    images = recipe.initial.images(first, table, build(recipe).model, 8)
    raw = np.asarray(images * table.std + table.mean)
    stored = np.asarray(state.synthetic["images"])
    assert stored.shape == (3, 2, 8, 8, 1) and 0 <= stored.min() <= stored.max() <= 1
    for tile, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        want = raw[1, 4 + tile].reshape(4, 2, 4, 2, 1).mean((1, 3))
        got = stored[1, 1, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        np.testing.assert_allclose(got, want, atol=1e-6)
    # Normalised, and each tile is one image of its class: the means stay.
    decoded = build(recipe).decode(state).images[1, :, 0].mean((1, 2, 3))
    want = images[1].mean((1, 2, 3))
    np.testing.assert_allclose(decoded, want, atol=1e-4)
    assert synthetic.pixels.num_floats(state.synthetic) == 3 * 2 * 64


def test_pixels_are_clipped_once_per_network():
    """With a rate of almost 0, what is outside stays after the second update and is clipped by the third."""
    still = dataclasses.replace(short("dm", mosaic()), optimizer=methods.sgd(1e-30))
    state = build(still).init(jax.random.key(0), data())
    begun, _ = step(still)(state, data())
    beyond = {"images": jnp.full_like(state.synthetic["images"], 1.5)}
    kept, _ = step(still)(dataclasses.replace(begun, synthetic=beyond), data())
    fresh, _ = step(still)(kept, data())
    np.testing.assert_allclose(kept.synthetic["images"], 1.5)
    np.testing.assert_allclose(fresh.synthetic["images"], 1.0)


def test_pixels_are_clipped_after_each_update():
    each = dataclasses.replace(mosaic(), projected="update")
    recipe = dataclasses.replace(
        short("dm", each), updates=1, motion=methods.never(), optimizer=methods.sgd(1000.0)
    )
    state, _ = step(recipe)(build(recipe).init(jax.random.key(0), data()), data())
    assert 0 == state.synthetic["images"].min() < state.synthetic["images"].max() == 1


def test_one_variant_is_drawn_and_all_are_decoded():
    params = {"images": jnp.ones((2, 1, 1, 1, 1)), "tints": jnp.array([[0.0], [1.0], [2.0]])}
    statistics = Statistics(jnp.zeros(1), jnp.ones(1))
    whole = all_variants(tinted(), params, statistics)
    assert whole.images.shape == (2, 1, 3, 1, 1, 1)
    assert whole.images[1, 0].ravel().tolist() == [1.0, 2.0, 3.0]
    draw = jax.jit(lambda key: one_variant(tinted(), params, key, statistics).images)
    draws = [np.unique(draw(jax.random.key(i))).tolist() for i in range(30)]
    assert sorted({x for (x,) in draws}) == [1.0, 2.0, 3.0]  # one for the whole batch
    assert flat(whole).images.shape == (2, 3, 1, 1, 1) and flat(whole).labels.shape == (2,)


def test_variants_are_drawn_per_image_where_networks_are_evaluated():
    """Each image has a variant in which it is black: no variant alone can be learned, all three can."""
    recipe = short("dm", tinted())
    method = build(recipe)
    state, _ = run(recipe)
    batch = flat(method.decode(state))
    assert batch.images.shape == (6, 3, 8, 8, 1)
    protocol = EvaluationProtocol("quick", epochs=30, learning_rate=0.05)
    args = jax.random.key(1), method.model, batch.images, batch.labels, data().table, protocol
    every = evaluate(*args, num_networks=2)
    assert np.isfinite(every.accuracies).all() and every.mean > 0.5
    # Equal variants are one variant, whatever is drawn.
    first = jnp.repeat(batch.images[:, :1], 3, axis=1)
    alike = [
        evaluate(*args[:2], images, *args[3:], num_networks=2).accuracies
        for images in (first, batch.images[:, :1], batch.images[:, 0])
    ]
    np.testing.assert_array_equal(alike[0], alike[1])
    np.testing.assert_array_equal(alike[1], alike[2])


def test_they_are_read_from_text_and_from_json():
    for value, text in ((mosaic(), "mosaic()"), (mosaic(4), "mosaic(4)"), (tinted(2), "tinted(2)")):
        assert str(value) == text and choice.parse(text) == value
        recipe = dataclasses.replace(methods.dm(1), synthetic=value)
        assert methods.Recipe.from_json(recipe.to_json()) == recipe


def test_images_that_do_not_fit_are_refused():
    recipe = short("dm", mosaic(3))
    with pytest.raises(
        ValueError, match=r"mosaic\(3\) needs a multiple of 9 images whose sides are multiples of 3"
    ):
        build(recipe).init(jax.random.key(0), data())
    with pytest.raises(ValueError, match=r"smallest class \(30\), got 32"):
        build(short("dm", mosaic(4))).init(jax.random.key(0), data())

    def decode(params, variant):
        images = params["images"][:, :, ::2]
        return Batch(images, synthetic.class_labels(*images.shape[:2]))

    halved = dataclasses.replace(synthetic.pixels, decode=decode)
    with pytest.raises(ValueError, match=r"decodes to images \[3, 2, 4, 8, 1\], but the real set"):
        build(short("dm", halved)).init(jax.random.key(0), data())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": "raw"}, r"unknown space 'raw', did you mean 'raw01'\?"),
        ({"projected": "step"}, "unknown projected 'step'"),
        ({"variants": 0}, "variants must be at least 1, got 0"),
        ({"tiles": 0}, "tiles must be at least 1, got 0"),
    ],
)
def test_impossible_parametrisations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(synthetic.pixels, **changes)


def float_data() -> Data:
    """The images as networks see them, already float32, as whitening leaves them."""
    table = data().table
    images = (table.images.astype(jnp.float32) / 255 - table.mean) / table.std
    return Data(dataclasses.replace(table, images=images))


def test_a_table_of_floats_distils_and_evaluates_as_the_bytes_do():
    """Its images are drawn, matched, trained on and tested."""
    motion = methods.on_real(8, batch_size=4)
    recipe = small("dm", networks=1, updates=2, motion=motion, augment=augment.no_augmentation())
    state, losses = run(recipe, real=float_data())
    want, want_losses = run(recipe)
    np.testing.assert_allclose(losses, want_losses, rtol=1e-5)
    np.testing.assert_allclose(state.synthetic["images"], want.synthetic["images"], atol=1e-5)
    batch = flat(build(recipe).decode(state))
    protocol = EvaluationProtocol("quick", epochs=30, learning_rate=0.05)
    accuracies = [
        evaluate(
            *(jax.random.key(1), small_model(), batch.images, batch.labels, table, protocol),
            num_networks=2,
        ).accuracies
        for table in (float_data().table, data().table)
    ]
    np.testing.assert_allclose(accuracies[0], accuracies[1], atol=0.02)
    assert accuracies[0].mean() > 0.5
    drawn = draw_indices(jax.random.key(0), data().table, 8)
    variables = small_model().init(jax.random.key(0))
    queries = [
        class_accuracies(small_model(), variables, table, *drawn)
        for table in (float_data().table, data().table)
    ]
    np.testing.assert_array_equal(queries[0], queries[1])


def test_a_table_of_bytes_holds_all_values():
    """The mosaic of white images is white: no step out of [0, 1] by rounding."""
    white = Split(np.full((6, 8, 8, 1), 255, np.uint8), np.arange(6, dtype=np.int32) % 2)
    table = class_table(white, 2, (0.5,), (0.25,))
    images = synthetic.into_space(
        "raw01", synthetic.real(jax.random.key(0), table, 2), Statistics(table.mean, table.std)
    )
    np.testing.assert_allclose(images, 1.0, atol=1e-6)
    back = synthetic.from_space("raw01", images, Statistics(table.mean, table.std))
    np.testing.assert_allclose(back, 2.0, atol=1e-5)
