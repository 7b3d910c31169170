"""The tangent kernel against a dense Jacobian, distances of kernels, and the contrastive signal."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import matching
from jdd.evaluate import contrastive_signal, empirical_ntk, kernel_distance, kernel_velocity
from jdd.nn import convnet, loop_safe_conv, winograd_conv


@pytest.mark.parametrize("conv", [loop_safe_conv, winograd_conv])
def test_equals_the_dense_jacobian(conv):
    model = convnet(3, (8, 8, 1), width=8, depth=1, conv=conv)
    network, params = model.network(model.init(jax.random.key(0)))

    def apply(params, images):
        return network(params, images).logits

    probe = jax.random.normal(jax.random.key(1), (5, 8, 8, 1))
    kernel = jax.jit(lambda p, x: empirical_ntk(apply, p, x))(params, probe)
    jacobian = jax.jacrev(lambda p: apply(p, probe))(params)
    flat = jnp.concatenate([x.reshape(5, 3, -1) for x in jax.tree.leaves(jacobian)], -1)
    dense = jnp.einsum("ikp,jkp->ij", flat, flat)
    np.testing.assert_allclose(kernel, dense, rtol=2e-5)
    summed = empirical_ntk(lambda p, x: apply(p, x).sum(1, keepdims=True), params, probe)
    total = flat.sum(1)
    np.testing.assert_allclose(summed, total @ total.T, rtol=2e-5, atol=1e-4)


def test_distance_and_velocity():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(4, 6, 3)).astype(np.float32)
    kernels = jnp.asarray(factors @ factors.transpose(0, 2, 1))
    a, b = (np.asarray(k, np.float64) for k in kernels[:2])
    want = 1 - np.trace(a @ b.T) / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(kernel_distance(kernels[0], kernels[1]), want, rtol=1e-5)
    assert kernel_distance(1e25 * kernels[0], kernels[0]) < 1e-12
    velocity = kernel_velocity(kernels, jnp.array([0, 1, 3, 4]))
    np.testing.assert_allclose(velocity[1], kernel_distance(kernels[1], kernels[2]) / 2, rtol=1e-6)


def test_contrastive_signal_of_a_network():
    keys = jax.random.split(jax.random.key(0), 3)
    labels = jnp.tile(jnp.arange(3)[:, None], (1, 4))
    images = [jax.random.normal(k, (3, 4, 8, 8, 1)) for k in keys[:2]]
    model = convnet(3, (8, 8, 1), width=4, depth=1)
    context = matching.Context(*model.network(model.init(keys[2])), keys[2])
    pair = matching.Pair(*(matching.Batch(x, labels) for x in images))
    syn, real = matching.value_of(matching.per_class(matching.gradients()), pair, context)
    got = contrastive_signal(syn, real)
    want = np.zeros((3, 3))
    for c in range(3):
        for k in range(3):
            for name in ("conv0", "classifier"):
                x, y = (np.asarray(g[name]["kernel"], np.float64) for g in (syn, real))
                want[c, k] += np.abs((x[c] * y[k]).reshape(-1, x.shape[-1]).sum(0)).sum()
    np.testing.assert_allclose(got, want / want.sum(1, keepdims=True), rtol=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match=r"must return \[2, outputs\]"):
        empirical_ntk(lambda p, x: (p * x).sum(), jnp.ones(3), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="two square kernels"):
        kernel_distance(jnp.eye(2), jnp.eye(3))
    with pytest.raises(ValueError, match="T >= 2"):
        kernel_velocity(jnp.eye(2)[None], jnp.zeros(1))
    for times in ([0, 1, 1], [0, 2, 1]):
        with pytest.raises(ValueError, match="times must increase"):
            kernel_velocity(jnp.ones((3, 2, 2)), jnp.array(times))
    assert jax.jit(kernel_velocity)(jnp.ones((3, 2, 2)), jnp.array([0, 1, 2])).tolist() == [0, 0]
    with pytest.raises(ValueError, match="same structure"):
        contrastive_signal({"w": jnp.ones((2, 3, 4))}, {"w": jnp.ones((2, 3, 5))})
