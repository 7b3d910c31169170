"""DSA: what is drawn, how often, for whom; and that only what was drawn is run."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jdd.augment import (
    STRATEGY,
    STRATEGY_NO_FLIP,
    DSARatios,
    dsa,
    dsa_all,
    ops,
    parse_strategy,
)
from jdd.augment.dsa import OPS, integer, parameters

# The package exports a function of the module's name.
module = importlib.import_module("jdd.augment.dsa")
LARGEST = 1 - 2.0**-23  # the largest number that jax.random.uniform returns in float32
KEYS = jax.random.split(jax.random.key(0), 12)


@pytest.fixture(params=[(8, 8), (6, 9)], ids=str)
def images(request: pytest.FixtureRequest) -> Array:
    return jax.random.normal(jax.random.key(1), (12, 4, *request.param, 3))


def ends(name: str, side: int | tuple[int, int]) -> list[tuple[float, float]]:
    """Smallest and largest value of each parameter."""
    low = parameters(name, jnp.zeros(3), side)
    high = parameters(name, jnp.full(3, LARGEST), side)
    return [(float(low[k]), float(high[k])) for k in low if k != "size"]


def test_draws_are_the_original_map_of_uniform_numbers(reference) -> None:
    arrays = reference("augment")
    stored = {
        "scale": (("scale_ux", "scale_uy"), {"sx": "scale_sx", "sy": "scale_sy"}),
        "rotate": (("rotate_u",), {"theta": "rotate_theta"}),
        "flip": (("flip_u",), {"flip": "flip"}),
        "color": (
            ("brightness_u", "saturation_u", "contrast_u"),
            {"b": "brightness_b", "s": "saturation_s", "k": "contrast_k"},
        ),
    }
    for kind, side in (("rgb", 32), ("gray", 28)):
        for name, (draws, values) in stored.items():
            get = f"{kind}.{name}.independent.{{}}".format
            u = jnp.stack([jnp.asarray(arrays[get(d)]) for d in draws])
            for argument, stored_name in values.items():
                value = parameters(name, u, side)[argument]
                np.testing.assert_allclose(value, arrays[get(stored_name)], rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize(("side", "shift"), [(28, 4), (32, 4), (64, 8), (8, 1), (3, 0)])
def test_crop_range(side: int, shift: int) -> None:
    assert ends("crop", side) == [(-shift, shift)] * 2
    assert ends("crop", (side, 40)) == [(-shift, shift), (-5, 5)]
    assert ends("crop", (40, side)) == [(-5, 5), (-shift, shift)]


@pytest.mark.parametrize(
    ("side", "size", "last"), [(28, 14, 28), (32, 16, 32), (64, 32, 64), (30, 15, 29), (9, 5, 8)]
)
def test_cutout_range_and_size(side: int, size: int, last: int) -> None:
    for shape, sizes, ranges in (
        (side, (size, size), [(0, last)] * 2),
        ((side, 10), (size, 5), [(0, last), (0, 9)]),
        ((10, side), (5, size), [(0, 9), (0, last)]),
    ):
        assert ends("cutout", shape) == ranges
        assert parameters("cutout", jnp.zeros(3), shape)["size"] == sizes


def test_continuous_ranges() -> None:
    np.testing.assert_allclose(ends("scale", 32), [(1 / 1.2, 1.2)] * 2, rtol=1e-6)
    np.testing.assert_allclose(ends("rotate", 32), np.deg2rad([(-15, 15)]), rtol=1e-6)
    np.testing.assert_allclose(ends("color", 32), [(-0.5, 0.5), (0, 2), (0.5, 1.5)], atol=1e-6)
    assert parameters("flip", jnp.asarray([0.4999, 0, 0]), 32)["flip"]
    assert not parameters("flip", jnp.asarray([0.5, 0, 0]), 32)["flip"]


@pytest.mark.parametrize("count", [1, 5, 6, 9, 33, 65])
def test_integers_are_uniform_and_stay_in_range(count: int) -> None:
    u = (np.arange(count * 1000) + 0.5) / (count * 1000)
    numbers = np.bincount(np.asarray(integer(jnp.asarray(u, jnp.float32), count)))
    np.testing.assert_array_equal(numbers, np.full(count, 1000))
    assert int(integer(jnp.float32(LARGEST), count)) == count - 1


def marker(number: float, ran: list[str], name: str) -> Callable[..., Array]:
    """In place of an op: fills the batch with a number, and notes each time that it is executed."""

    def op(x: Array, **arguments: Any) -> Array:
        first = next(iter(arguments.values()))
        jax.debug.callback(lambda _: ran.append(name), jnp.asarray(first))
        return x * 0 + number

    return op


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ops replaced by markers, in a copy of `dsa` whose caches end with the test."""
    names: list[str] = []
    markers = {name: marker(float(i), names, name) for i, name in enumerate(OPS)}
    forget()
    with monkeypatch.context() as patch:
        patch.setattr(module, "ops", SimpleNamespace(**markers))
        yield names
    forget()


def forget() -> None:
    module.any_of.cache_clear()
    for jitted in (dsa, dsa_all):
        getattr(jitted, "clear_cache")()  # noqa: B009 (not in the declared type of a jitted function)


def drawn(strategy: str, siamese: bool, count: int) -> np.ndarray:
    """Of ``count`` keys, how many draw each op of OPS."""
    keys = jax.random.split(jax.random.key(7), count)
    one = jnp.zeros((2, 2, 2, 1))
    out = jax.jit(lambda keys: jax.lax.map(lambda k: dsa(k, one, strategy, siamese=siamese), keys))
    filled = np.asarray(out(keys))
    assert (filled == filled[:, :1, :1, :1]).all(), "two images of a batch went through two ops"
    return np.bincount(filled[:, 0, 0, 0, 0].astype(int), minlength=len(OPS))


@pytest.mark.parametrize("siamese", [True, False])
def test_ops_are_drawn_uniformly(siamese: bool, ran: list[str]) -> None:
    counts = drawn(STRATEGY, siamese, 3000)
    np.testing.assert_allclose(counts, 500, atol=100)  # five standard deviations
    assert sum(counts) == len(ran)


def test_a_strategy_draws_only_what_it_lists(ran: list[str]) -> None:
    counts = drawn("rotate_color_rotate", True, 900)
    assert counts[OPS.index("color")] == pytest.approx(300, abs=75)
    assert counts[OPS.index("rotate")] == pytest.approx(600, abs=75)
    assert counts.sum() == 900


@pytest.mark.parametrize("siamese", [True, False])
def test_one_op_per_call_is_executed(siamese: bool, ran: list[str], images: Array) -> None:
    def augment(key: Array, x: Array) -> Array:
        return dsa(key, x, STRATEGY, siamese=siamese)

    def gradient(key: Array, x: Array) -> Array:
        return jax.grad(lambda x: jnp.sum(augment(key, x) ** 2))(x)

    per_key: list[Counter[str]] = []

    def scan(f: Callable[..., Array]) -> Callable[..., Array]:
        return lambda *args: jax.lax.map(lambda a: f(*a), args)

    for f, runs in ((augment, 1), (gradient, 2)):  # a gradient runs the op and its transpose
        for over in (jax.vmap, scan):
            compiled = jax.jit(over(f)).lower(KEYS, images).compile()
            ran.clear()
            jax.block_until_ready(compiled(KEYS, images))
            jax.effects_barrier()
            assert len(ran) == runs * len(KEYS)
            per_key.append(Counter({k: v // runs for k, v in Counter(ran).items()}))
    assert per_key[0] == per_key[1] == per_key[2] == per_key[3]
    assert len(per_key[0]) > 1


def test_dsa_all_runs_every_op_in_order(ran: list[str], images: Array) -> None:
    out = dsa_all(KEYS[0], images[0], "scale_flip_color", siamese=True)
    jax.effects_barrier()
    assert sorted(ran) == ["color", "flip", "scale"]
    np.testing.assert_array_equal(out, np.full_like(images[0], OPS.index("color")))


def test_siamese_key_decides_op_and_parameters_for_any_batch_size(images: Array) -> None:
    batch = images.reshape(-1, *images.shape[2:])
    large = jax.jit(jax.vmap(lambda k: dsa(k, batch, STRATEGY, siamese=True)))(KEYS)
    small = jax.jit(jax.vmap(lambda k: dsa(k, batch[5:8], STRATEGY, siamese=True)))(KEYS)
    np.testing.assert_allclose(large[:, 5:8], small, atol=1e-6)
    changed = np.abs(np.asarray(large - batch)).max(axis=(1, 2, 3, 4))
    assert (changed > 1e-3).sum() >= 6, "nothing is augmented"


@pytest.mark.parametrize("name", OPS)
def test_siamese_images_share_parameters_and_others_do_not(name: str) -> None:
    batch = jnp.broadcast_to(jax.random.normal(jax.random.key(2), (8, 8, 3)), (16, 8, 8, 3))
    together = dsa(KEYS[0], batch, name, siamese=True)
    np.testing.assert_allclose(together, together[:1] + jnp.zeros_like(batch), atol=1e-6)
    apart = np.asarray(dsa(KEYS[0], batch, name, siamese=False))
    distinct = len({image.round(4).tobytes() for image in apart})
    assert distinct == 2 if name == "flip" else distinct > 4


@pytest.mark.parametrize(("strategy", "siamese"), [(STRATEGY, True), ("color_crop_scale", False)])
def test_values_and_gradients_under_every_transformation(
    strategy: str, siamese: bool, images: Array
) -> None:
    def value(key: Array, x: Array) -> Array:
        return dsa(key, x, strategy, siamese=siamese)

    def gradient(key: Array, x: Array) -> Array:
        return jax.grad(lambda x: jnp.sum(jnp.sin(value(key, x))))(x)

    def second(key: Array, x: Array) -> Array:
        return jax.grad(lambda x: jnp.sum(jnp.cos(gradient(key, x))))(x)

    def all_three(key: Array, x: Array) -> tuple[Array, Array, Array]:
        return value(key, x), gradient(key, x), second(key, x)

    alone = jax.jit(all_three)
    looped = jax.tree.map(
        lambda *rows: jnp.stack(rows), *[alone(k, x) for k, x in zip(KEYS, images, strict=True)]
    )
    for over in (jax.vmap(all_three), lambda k, x: jax.lax.map(lambda a: all_three(*a), (k, x))):
        for result, expected in zip(jax.jit(over)(KEYS, images), looped, strict=True):
            np.testing.assert_allclose(result, expected, atol=1e-5)


def test_matching_loss_gradient_is_that_of_the_drawn_op() -> None:
    # The use it is made for: d/dx of a function of weight gradients taken at the augmented x, in a scan.
    # A flip of probability 1 is known in advance; listed twice, it is drawn by the switch.
    ratios = DSARatios(prob_flip=1.0)
    weights = jax.random.normal(jax.random.key(3), (8 * 8 * 3, 5)) / 8
    x = jax.random.normal(jax.random.key(4), (3, 8, 8, 3))

    def matching(augment: Callable[[Array, Array], Array], x: Array) -> Array:
        def step(carry: Array, key: Array) -> tuple[Array, None]:
            def loss(w: Array) -> Array:
                return jnp.mean(jnp.tanh(augment(key, x).reshape(3, -1) @ w) ** 2)

            return carry + jnp.sum(jax.grad(loss)(weights) ** 2), None

        return jax.lax.scan(step, jnp.zeros(()), KEYS[:3])[0]

    def drawn(key: Array, x: Array) -> Array:
        return dsa(key, x, "flip_flip", siamese=True, ratios=ratios)

    result = jax.jit(jax.grad(lambda x: matching(drawn, x)))(x)
    expected = jax.jit(jax.grad(lambda x: matching(lambda _, x: ops.flip(x, True), x)))(x)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)
    assert float(jnp.abs(result).max()) > 1e-4


def test_no_strategy_is_the_identity(images: Array) -> None:
    for strategy in ("", "none", "None"):
        assert parse_strategy(strategy) == ()
        for f in (dsa, dsa_all):
            out = f(KEYS[0], images[0], strategy, siamese=True)
            np.testing.assert_array_equal(out, images[0])


def test_default_strategies() -> None:
    assert parse_strategy(STRATEGY) == OPS
    assert parse_strategy(STRATEGY_NO_FLIP) == tuple(name for name in OPS if name != "flip")


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("color_rotat", r"unknown op 'rotat' .*did you mean 'rotate'\?.*allowed: color, crop"),
        ("colour", r"did you mean 'color'\?"),
        ("crop__flip", r"unknown op ''"),
        ("xyz", r"unknown op 'xyz' in strategy 'xyz' \(allowed"),
    ],
)
def test_unknown_op(strategy: str, message: str, images: Array) -> None:
    with pytest.raises(ValueError, match=message):
        dsa(KEYS[0], images[0], strategy, siamese=True)
    with pytest.raises(ValueError, match=message):
        dsa_all(KEYS[0], images[0], strategy, siamese=True)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prob_flip", 1.5),
        ("scale", 0.9),
        ("rotate", -1.0),
        ("crop_pad", 2.0),
        ("cutout", -0.5),
        ("brightness", float("nan")),
        ("saturation", float("inf")),
        ("contrast", -0.1),
    ],
)
def test_ratio_out_of_range(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{option} must be at least .*, got {value}"):
        DSARatios(**{option: value})


def test_wrong_images() -> None:
    images = jnp.ones((2, 6, 8, 1))
    for function in (dsa, dsa_all):
        for siamese in (True, False):
            with pytest.raises(ValueError, match=r"floats \[N, H, W, C\] .*, got uint8"):
                function(KEYS[0], images.astype(jnp.uint8), "color", siamese=siamese)
            with pytest.raises(ValueError, match=r"got float32 \(6, 8, 1\)"):
                function(KEYS[0], images[0], STRATEGY, siamese=siamese)
            with pytest.raises(ValueError, match=r"got float32 \(2, 0, 8, 1\)"):
                function(KEYS[0], images[:, :0], STRATEGY, siamese=siamese)
