"""SAM and FTD's GSAM: the formulae on functions whose gradients are known, and in a step of a network."""

from __future__ import annotations

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.choice import from_json
from jdd.data.batch import Batch
from jdd.nn import convnet
from jdd.training import SGD, TrainingState, flat_trajectory, sgd_step, sharpness_aware

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([[0.5], [3.0]])}
CURVATURE = {"a": jnp.array([3.0, 1.0]), "b": jnp.array([[2.0], [0.5]])}


def gradient_at(params):
    """Of sum(c p^4 / 4)."""
    return jax.tree.map(lambda c, p: c * p**3, CURVATURE, params)


def flat(tree):
    return np.concatenate([np.asarray(tree["a"], np.float64), np.asarray(tree["b"]).ravel()])


def test_sam_takes_the_gradient_at_the_worst_nearby_parameters():
    got = sharpness_aware(0.1).gradient(gradient_at(PARAMS), PARAMS, gradient_at)
    p, c = flat(PARAMS), flat(CURVATURE)
    g = c * p**3
    np.testing.assert_allclose(flat(got), c * (p + 0.1 * g / np.linalg.norm(g)) ** 3, rtol=1e-5)


@pytest.mark.parametrize("gap", [0.0, 0.3, 1.0])
def test_ftds_steps(gap):
    """e = rho p^2 g / |p g|; v, the part of g across the gradient g' at p + e, is subtracted."""
    got = flat_trajectory(0.1, gap).gradient(gradient_at(PARAMS), PARAMS, gradient_at)
    p, c = flat(PARAMS), flat(CURVATURE)
    g = c * p**3
    above = c * (p + 0.1 * p**2 * g / np.linalg.norm(np.abs(p) * g)) ** 3
    cosine = g @ above / np.linalg.norm(g) / np.linalg.norm(above)
    across = g - cosine * np.linalg.norm(g) * above / np.linalg.norm(above)
    np.testing.assert_allclose(flat(got), above - gap * across, rtol=1e-5)


def test_a_zero_gradient_stays_finite():
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    for flatness in (sharpness_aware(), flat_trajectory()):
        got = flatness.gradient(zeros, PARAMS, lambda params: zeros)
        assert not flat(got).any()


def test_a_step_of_a_network_sees_one_minibatch_twice():
    model, sgd = convnet(2, (8, 8, 1), width=4, depth=1), SGD()
    state = TrainingState.begin(model.init(jax.random.key(0)), sgd)
    batch = Batch(jax.random.normal(jax.random.key(1), (4, 8, 8, 1)), jnp.arange(4) % 2)

    @jax.jit
    def steps(state):
        return [
            sgd_step(jax.random.key(2), model, state, batch, sgd, rate=1.0, flatness=flatness)[0]
            for flatness in (None, sharpness_aware(1e-6), sharpness_aware(0.5))
        ]

    moved = [
        jax.flatten_util.ravel_pytree(each.variables["params"])[0]
        - jax.flatten_util.ravel_pytree(state.variables["params"])[0]
        for each in steps(state)
    ]
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-4)
    assert float(jnp.abs(moved[0] - moved[2]).max()) > 1e-3


def test_choices_are_saved_and_impossible_ones_refused():
    for choice in (sharpness_aware(0.1), flat_trajectory(0.02, 1.0)):
        assert from_json(choice.to_json()) == choice
    for call, message in (
        (lambda: sharpness_aware(0), "rho must be above 0"),
        (lambda: flat_trajectory(-1), "rho must be above 0"),
        (lambda: flat_trajectory(gap=-1), "gap must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
