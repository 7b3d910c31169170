"""Samplers and starts by features under every method: traced, run, stopped and resumed."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import data, methods
from jdd.augment import no_augmentation
from jdd.checkpoint import Checkpoints
from jdd.data import boundary, central, representative
from jdd.data.feature_space import stored_images
from jdd.datasets import load_dataset
from jdd.methods import PRESETS, advance, build, from_clusters, on_real
from jdd.nn import convnet
from jdd.synthetic import from_real
from tests.methods.small_runs import NETWORK_PRESETS

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

SAMPLER = representative(6, every=2, pool=8)


@pytest.fixture(scope="module")
def real() -> data.Data:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (33, 8, 8, 1), np.uint8)
    labels = np.concatenate([np.arange(30) % 3, [0, 0, 1]]).astype(np.int32)
    return data.Data(data.class_table(data.Split(images, labels), 3, (0.5,), (0.25,)))


def method(name="dc", *, norm="instance", **changes):
    recipe = PRESETS[name].recipe(2, data="digits")
    # Without augmentation: its ops are most of the compilation.
    changes = {"sampler": SAMPLER, "networks": 3, "augment": no_augmentation(), **changes}
    recipe = dataclasses.replace(recipe, **changes)
    return build(recipe, convnet(3, (8, 8, 1), width=4, depth=1, norm=norm))


def raw(x):
    return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(raw(x), raw(y)) for x, y in pairs)


def trace(made, real):
    state = jax.eval_shape(made.init, jax.random.key(0), real)
    after, _ = jax.eval_shape(made.step, state, real)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    return jax.tree.leaves(
        jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), after, state)
    )


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("name", NETWORK_PRESETS)
def test_every_method_takes_the_sampler(real, name, norm):
    assert all(trace(method(name, norm=norm), real))


@pytest.mark.parametrize("sampler", [central(6), boundary(6), representative(6, subsample=2)])
def test_every_sampler_fits_a_method(real, sampler):
    made = method("dsa")
    recipe = dataclasses.replace(made.recipe, sampler=sampler)
    assert all(trace(build(recipe, made.model), real))


@pytest.mark.parametrize(
    ("name", "norm", "changes"),
    [
        ("dc", "instance", {"updates": 3}),
        ("dm", "batch", {}),
        ("dm", "instance", {"networks_per_update": 2, "initial": from_clusters()}),
    ],
)
def test_a_run_is_finite_and_resumes_bit_for_bit(real, tmp_path, name, norm, changes):
    made = method(name, norm=norm, **changes)
    steps = made.recipe.total_steps
    run = advance(made, steps)
    whole, losses = run(made.init(jax.random.key(0), real), real, steps)
    assert np.isfinite(losses).all() and (np.asarray(losses) > 0).all()
    chosen = np.asarray(whole.sampler.indices)
    assert (chosen >= np.asarray(real.table.start)[:, None]).all()
    state, _ = run(made.init(jax.random.key(0), real), real, steps - 2)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(steps - 2, state, {})
    state = checkpoints.restore(None, made.init(jax.random.key(1), real))
    assert same(run(state, real, 2)[0], whole)


def test_the_sampler_changes_the_run(real):
    ends = []
    for sampler in (SAMPLER, data.uniform(6), central(6)):
        made = method("dm")
        made = build(dataclasses.replace(made.recipe, sampler=sampler), made.model)
        state, _ = advance(made, 2)(made.init(jax.random.key(0), real), real, 2)
        ends.append(np.asarray(state.synthetic["images"]))
    assert not np.allclose(ends[0], ends[1]) and not np.allclose(ends[0], ends[2])


def test_too_many_clusters_are_refused_when_the_run_begins(real):
    made = method()
    recipe = dataclasses.replace(made.recipe, sampler=representative(11))
    with pytest.raises(
        ValueError, match=r"^n must be at most the images of the smallest class, 10"
    ):
        jax.eval_shape(build(recipe, made.model).init, jax.random.key(0), real)


# starts


@pytest.mark.parametrize("motion", [methods.never(), on_real(16, first_images=33, batch_size=16)])
def test_images_start_at_distinct_images_of_their_class(real, motion):
    initial = from_clusters(motion=motion)
    model = convnet(3, (8, 8, 1), width=4, depth=1)
    images = np.asarray(initial.images(jax.random.key(0), real.table, model, 4))
    assert images.shape == (3, 4, 8, 8, 1)
    table = real.table
    everyone = np.asarray(data.take(table, jnp.arange(33)))
    for c in range(3):
        rows = [int(np.flatnonzero((everyone == x).all((1, 2, 3)))[0]) for x in images[c]]
        start, count = int(table.start[c]), int(table.count[c])
        assert len(set(rows)) == 4 and all(start <= row < start + count for row in rows)


def test_a_trained_network_gives_another_start(real):
    model = convnet(3, (8, 8, 1), width=4, depth=1)
    make = functools.partial(on_real, 16, batch_size=8, learning_rate=0.5)
    first, second = (
        from_clusters(motion=make(first_images=n)).images(jax.random.key(0), real.table, model, 4)
        for n in (0, 99)
    )
    assert not np.array_equal(first, second)


def test_starts_represent_their_class_better_than_random_images():
    table = load_dataset("digits").tables()[0]
    pixels = np.asarray(stored_images(table, jnp.arange(len(table.images)))).reshape(-1, 64)
    model = convnet(10, (8, 8, 1), width=4, depth=1)

    def distance(initial):
        """From an image of a class to the nearest start, on average."""
        images = initial.images(jax.random.key(0), table, model, 8)
        chosen = np.asarray(images * table.std + table.mean).reshape(10, 8, 64)
        of_class = np.split(pixels, np.asarray(table.start)[1:])
        pairs = zip(of_class, chosen, strict=True)
        return np.mean([np.linalg.norm(x[:, None] - y, axis=-1).min(1).mean() for x, y in pairs])

    from_pixels = from_clusters(features=data.pixel_features())
    assert distance(from_pixels) < 0.97 * distance(from_real())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: from_clusters(pool=0), "pool must be at least 1, got 0"),
        (lambda: from_clusters(chunk=0), "chunk must be at least 1, got 0"),
        (
            lambda: from_clusters(features="pixels"),  # pyright: ignore[reportArgumentType]
            "features must be of kind FeatureSpace, got 'pixels'",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message


@pytest.mark.parametrize(("pool", "most"), [(None, 10), (5, 5)])
def test_more_clusters_than_images_are_refused(real, pool, most):
    model = convnet(3, (8, 8, 1), width=4, depth=1)
    initial = from_clusters(pool=pool)
    with pytest.raises(ValueError) as error:
        jax.eval_shape(lambda key: initial.images(key, real.table, model, 11), jax.random.key(0))
    assert str(error.value) == (
        "ipc (times the tiles of a stored image) must be at most the images of a class that are "
        f"clustered, {most}, got 11"
    )


def test_recipes_with_samplers_and_starts_are_read_back():
    for sampler in (SAMPLER, central(), boundary(10, pool=None)):
        recipe = dataclasses.replace(
            methods.dm(1, data="digits"),
            sampler=sampler,
            initial=from_clusters(pool=100, motion=on_real(64, first_images=128)),
        )
        assert methods.Recipe.from_json(recipe.to_json()) == recipe
