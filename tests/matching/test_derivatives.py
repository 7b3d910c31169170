"""Derivatives of what is summed over classes: exact in the synthetic side, refused elsewhere, under every transform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from jdd.matching import (
    Batch,
    Context,
    Pair,
    add,
    chain,
    discrimination,
    each_against_all,
    feature_alignment,
    features,
    gradients,
    per_class,
    squared_error,
    value_of,
)
from jdd.network_output import Output

CLASSES, IPC, REAL, PIXELS = 3, 2, 4, 6
WEIGHTS = (0.5, 1.0)
KEY = jax.random.key(7)


def network(params, images):
    hidden = jnp.tanh(images.reshape(len(images), -1) @ params["in"])
    return Output(hidden @ params["out"], (hidden,), hidden)


def normal(i: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(i), shape)


PARAMS = {"in": normal(0, PIXELS, 5), "out": normal(1, 5, CLASSES)}
IMAGES, REAL_IMAGES = normal(2, CLASSES, IPC, 1, PIXELS), normal(3, CLASSES, REAL, 1, PIXELS)


def labels(n: int) -> jax.Array:
    return jnp.tile(jnp.arange(CLASSES)[:, None], (1, n))


SEPARABLE = per_class(chain(gradients(), squared_error()))
AGAINST_ALL = each_against_all(features(), add(feature_alignment(WEIGHTS), discrimination()))
OBJECTIVES = {"per_class": SEPARABLE, "each_against_all": AGAINST_ALL}


def loss_of(objective, images=IMAGES, params=PARAMS, real=REAL_IMAGES):
    pair = Pair(Batch(images, labels(IPC)), Batch(real, labels(REAL)))
    return value_of(objective, pair, Context(network, params, KEY))


def plain(name, images=IMAGES, params=PARAMS, real=REAL_IMAGES):
    """The same by a plain loop, which JAX differentiates as usual."""
    context = Context(network, params, KEY)
    pairs = [
        Pair(*(Batch(x[c], jnp.full(x.shape[1], c)) for x in (images, real)))
        for c in range(CLASSES)
    ]
    if name == "per_class":
        stage = chain(gradients(), squared_error())
        return sum(value_of(stage, pair, context) for pair in pairs)
    syn, of_real = zip(*(value_of(features(), pair, context) for pair in pairs), strict=True)
    centres = jnp.stack([side.means[-1] for side in syn])
    total = 0.0
    for c in range(CLASSES):
        for weight, a, b in zip(WEIGHTS, syn[c].means, of_real[c].means, strict=True):
            total += weight * jnp.square(a - b).sum()
        scores = jax.nn.log_softmax(of_real[c].embedding @ centres.T)
        total -= scores[:, c].sum()
    return total


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """Value and gradient by the plain loops."""
    return {
        name: jax.jit(jax.value_and_grad(lambda x, name=name: plain(name, x)))(IMAGES)
        for name in OBJECTIVES
    }


@pytest.mark.parametrize("name", OBJECTIVES)
def test_value_and_gradient_in_the_images_are_exact(expected, name):
    got = jax.value_and_grad(lambda x: loss_of(OBJECTIVES[name], x))(IMAGES)
    want = expected[name]
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5)
    np.testing.assert_allclose(got[1], want[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_hessian_in_the_images_is_exact(name):
    got = jax.jit(jax.hessian(lambda x: loss_of(OBJECTIVES[name], x)))(IMAGES)
    want = jax.jit(jax.hessian(lambda x: plain(name, x)))(IMAGES)
    assert np.abs(want).max() > 0.1
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
    reverse = jax.jit(jax.jacrev(jax.grad(lambda x: loss_of(OBJECTIVES[name], x))))(IMAGES)
    np.testing.assert_allclose(reverse, want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_on_the_images_is_differentiable_in_the_network_and_in_the_real_side(name):
    """As learning to distil does it: the gradient in the images was taken within."""

    def after_step(objective):
        def after(params, real):
            value, gradient = jax.value_and_grad(lambda x: objective(x, params, real))(IMAGES)
            return value + jnp.square(IMAGES - 0.1 * gradient).sum()

        return jax.jit(jax.grad(after, (0, 1)))(PARAMS, REAL_IMAGES)

    got = after_step(lambda x, p, r: loss_of(OBJECTIVES[name], x, p, r))
    want = after_step(lambda x, p, r: plain(name, x, p, r))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


# What moves the loss, as a function of one array: the network in two ways, the real side in three.
FORBIDDEN: dict[str, tuple[Callable[..., Any], jax.Array]] = {
    "parameters": (lambda o, w: loss_of(o, params=PARAMS | {"in": w}), PARAMS["in"]),
    "real images": (lambda o, x: loss_of(o, real=x), REAL_IMAGES),
    "images and parameters": (
        lambda o, w: loss_of(o, images=IMAGES * w[0, 0], params=PARAMS | {"in": w}),
        PARAMS["in"],
    ),
    "both sides": (lambda o, x: loss_of(o, images=x[:, :IPC], real=x), REAL_IMAGES),
}


def with_weights(objective, weights):
    real = Batch(REAL_IMAGES, labels(REAL), weights)
    context = Context(network, PARAMS, KEY)
    return value_of(objective, Pair(Batch(IMAGES, labels(IPC)), real), context)


def bound(shift, params, images):
    return network(params, images + shift)


def with_bound(objective, shift):
    pair = Pair(Batch(IMAGES, labels(IPC)), Batch(REAL_IMAGES, labels(REAL)))
    return value_of(objective, pair, Context(Partial(bound, shift), PARAMS, KEY))


FORBIDDEN["real weights"] = with_weights, jnp.ones((CLASSES, REAL))
FORBIDDEN["what the network is bound to"] = with_bound, jnp.zeros(PIXELS)


def in_scan(f):
    def value(x):
        def body(total, _):
            return total + f(x), ()

        return jax.lax.scan(body, jnp.zeros(()), None, length=2)[0]

    return value


def in_scan_that_moves_it(f):
    def value(x):
        def body(x, _):
            value = f(x)
            return x * (1 + 0 * value), value

        return jax.lax.scan(body, x, None, length=2)[1].sum()

    return value


TRANSFORMS: dict[str, Callable[[Callable], Callable]] = {
    "none": lambda f: f,
    "jit": jax.jit,
    "scan": in_scan,
    "scan that moves it": in_scan_that_moves_it,
    "checkpoint": jax.checkpoint,
    "switch": lambda f: lambda x: jax.lax.switch(1, [lambda x: x.sum(), f], x),
    "cond on a traced index": lambda f: (
        lambda x: jax.lax.cond(x.sum() > -1e9, f, lambda x: x.sum(), x)
    ),
    "vmap": lambda f: lambda x: jax.vmap(f)(jnp.stack([x, x])).sum(),
    "map": lambda f: lambda x: jax.lax.map(f, jnp.stack([x, x])).sum(),
    "jit of scan of checkpoint": lambda f: jax.jit(in_scan(jax.checkpoint(f))),
}


def refusals():
    for name in OBJECTIVES:
        yield from ((name, argument, "none") for argument in FORBIDDEN)
        yield from ((name, "parameters", t) for t in TRANSFORMS if t != "none")
        yield from ((name, "real images", t) for t in ("jit", "scan", "vmap"))


@pytest.mark.parametrize(("name", "argument", "transform"), [*refusals()])
def test_other_derivatives_are_refused(name, argument, transform):
    """Without an error they would be 0, or one part of several."""
    function, start = FORBIDDEN[argument]
    value = TRANSFORMS[transform](lambda x: function(OBJECTIVES[name], x))
    if transform == "none":
        assert np.isfinite(value(start))
    with pytest.raises(
        ValueError, match="no derivative with respect to the network's parameters"
    ) as e:
        jax.grad(value)(start)
    assert "jax.lax.stop_gradient" in str(e.value) and "\n" not in str(e.value)


def test_what_is_refused_is_not_zero():
    """The squared error by a plain loop depends on the parameters."""
    slope = jax.jit(jax.grad(lambda p: plain("per_class", params=p)))(PARAMS)
    assert np.linalg.norm(jax.tree.leaves(slope)[0]) > 1


# Those that sum two evaluations.
TWICE = ("scan", "scan that moves it", "vmap", "map", "jit of scan of checkpoint")


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_derivatives_in_the_images_are_those_of_a_plain_loop(expected, name, transform):
    got = jax.grad(TRANSFORMS[transform](lambda x: loss_of(OBJECTIVES[name], x)))(IMAGES)
    want = expected[name][1] * (2 if transform in TWICE else 1)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_stopped_may_depend_on_the_images(name):
    """Parameters that come from the images are constants where they are stopped."""

    def loss(images, stop):
        params = stop(PARAMS | {"in": PARAMS["in"] * (1 + images.mean())})
        return loss_of(OBJECTIVES[name], images, params, stop(REAL_IMAGES + images.mean()))

    fixed = jax.grad(lambda x: loss(x, jax.lax.stop_gradient))(IMAGES)
    params = PARAMS | {"in": PARAMS["in"] * (1 + IMAGES.mean())}
    want = jax.grad(lambda x: plain(name, x, params, REAL_IMAGES + IMAGES.mean()))(IMAGES)
    np.testing.assert_allclose(fixed, want, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="no derivative"):
        jax.grad(lambda x: loss(x, lambda tree: tree))(IMAGES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_several_seeds_at_once(name):
    """Networks and images of their own under vmap, within jit and a loop over steps."""
    seeds = 3
    params = jax.tree.map(lambda x: jnp.stack([x * (i + 1) for i in range(seeds)]), PARAMS)
    images = jnp.stack([IMAGES + i for i in range(seeds)])

    def distil(objective, params, images):
        def step(carry, _):
            value, gradient = jax.value_and_grad(lambda x: objective(x, params))(carry)
            return carry - 0.01 * gradient, value

        return jax.lax.scan(step, images, None, length=2)

    def run(objective):
        return jax.jit(jax.vmap(lambda p, x: distil(objective, p, x)))(params, images)

    got = run(lambda x, p: loss_of(OBJECTIVES[name], x, p))
    want = run(lambda x, p: plain(name, x, p))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_value_that_is_not_used_has_no_derivative(name):
    """Its cotangent is a symbolic zero."""
    got = jax.grad(lambda x: (loss_of(OBJECTIVES[name], x), x.sum())[1])(IMAGES)
    np.testing.assert_array_equal(got, jnp.ones_like(IMAGES))
    _, pullback = jax.vjp(lambda x: (loss_of(OBJECTIVES[name], x), x.sum()), IMAGES)
    np.testing.assert_array_equal(pullback((jnp.zeros(()), jnp.ones(())))[0], jnp.ones_like(IMAGES))


def test_a_stage_that_does_not_end_in_a_scalar_has_all_derivatives():
    def value(objective, params):
        context = Context(network, params, KEY)
        pair = Pair(Batch(IMAGES, labels(IPC)), Batch(REAL_IMAGES, labels(REAL)))
        return sum(
            jnp.square(x).sum() for x in jax.tree.leaves(value_of(objective, pair, context)[0])
        )

    got = jax.grad(lambda p: value(per_class(gradients()), p))(PARAMS)
    assert all(np.abs(x).max() > 0 for x in jax.tree.leaves(got))
