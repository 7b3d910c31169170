"""One loss, or one objective, in somebody else's code: Flax nnx, Equinox. (shard_map: test_shard_map.py.)"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jdd import matching
from jdd.matching import Batch, Context, Pair, value_of


def batches():
    syn, real = (jax.random.normal(jax.random.key(i), (3, n, 8, 8, 1)) for i, n in ((0, 1), (1, 4)))
    labels = jnp.arange(3)[:, None]
    return Pair(Batch(syn, labels), Batch(real, jnp.tile(labels, (1, 4))))


def objective():
    stages = matching.siamese("crop_cutout"), matching.gradients(), matching.layerwise_cosine()
    return matching.per_class(matching.chain(*stages))


def distil_one_step(apply, params):
    """What a user writes: the gradient of the objective with respect to the images."""
    pair = batches()
    context = Context(apply, params, jax.random.key(2))

    def loss(images):
        return value_of(
            objective(), pair._replace(synthetic=pair.synthetic._replace(images=images)), context
        )

    value, gradient = jax.jit(jax.value_and_grad(loss))(pair.synthetic.images)
    assert np.isfinite(value) and value > 0
    assert gradient.shape == pair.synthetic.images.shape
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_flax_nnx():
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
            self.out = nnx.Linear(8 * 8 * 4, 3, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.conv(x))
            return self.out(x.reshape(len(x), -1))

    graph, params = nnx.split(Network(nnx.Rngs(0)), nnx.Param)
    distil_one_step(lambda params, images: nnx.merge(graph, params)(images), params)


def test_equinox():
    class Network(eqx.Module):
        conv: eqx.nn.Conv2d
        out: eqx.nn.Linear

        def __init__(self, key):
            a, b = jax.random.split(key)
            self.conv = eqx.nn.Conv2d(1, 4, 3, padding=1, key=a)
            self.out = eqx.nn.Linear(8 * 8 * 4, 3, key=b)

        def __call__(self, image):
            x = jax.nn.relu(self.conv(image.transpose(2, 0, 1)))
            return self.out(x.reshape(-1))

    params, static = eqx.partition(Network(jax.random.key(0)), eqx.is_array)
    distil_one_step(lambda params, images: jax.vmap(eqx.combine(params, static))(images), params)
