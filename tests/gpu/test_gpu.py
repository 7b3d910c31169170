"""A GPU computes what the CPU computes, by the platform's own convolution."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.matching import Batch, Context, Pair, value_of
from jdd.methods import class_gradients
from jdd.nn import convnet, default_conv, lax_conv

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs a GPU"),
]


def test_the_default_convolution_is_xlas_own():
    assert default_conv() is lax_conv


@pytest.mark.parametrize("over_classes", ["map", "vmap"])
def test_dsas_image_gradient_equals_the_cpus(over_classes):
    model = convnet(3, (16, 16, 3), width=32, depth=2, activation="swish", conv=lax_conv)
    variables = model.init(jax.random.key(0))
    syn, real = (
        jax.random.normal(jax.random.key(i), (3, n, 16, 16, 3)) for i, n in ((1, 2), (2, 8))
    )
    labels = jnp.arange(3)[:, None]
    objective = class_gradients(strategy="color_crop_cutout_flip_scale_rotate")

    def loss(images, variables):
        context = Context(*model.network(variables), jax.random.key(3), over_classes=over_classes)
        pair = Pair(Batch(images, jnp.tile(labels, (1, 2))), Batch(real, jnp.tile(labels, (1, 8))))
        return value_of(objective, pair, context)

    gradients = []
    with jax.default_matmul_precision("highest"):
        for platform in ("gpu", "cpu"):
            args = jax.device_put((syn, variables), jax.devices(platform)[0])
            gradients.append(np.asarray(jax.jit(jax.grad(loss))(*args)))
    assert np.linalg.norm(gradients[0] - gradients[1]) < 1e-3 * np.linalg.norm(gradients[1])
