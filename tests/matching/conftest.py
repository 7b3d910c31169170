"""The networks and batches that the original's matching steps were recorded on."""

from __future__ import annotations

import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.augment import ops
from jdd.interop import params_from_torch
from jdd.matching import Batch, Pair, stateless
from jdd.nn import convnet


@pytest.fixture(scope="session")
def nhwc() -> Callable[[np.ndarray], jax.Array]:
    """Moves the channels to the end."""
    return _nhwc


@pytest.fixture(scope="session")
def setting() -> Callable:
    """``setting(arrays, norm, prefix)``: model, variables, synthetic and real batch of a recorded step."""
    return _setting


@pytest.fixture(scope="session")
def stored_augmentation() -> Callable:
    """``stored_augmentation(arrays)``: a stage with the siamese op that the original drew for each class."""
    return _stored_augmentation


def _nhwc(x):
    return jnp.asarray(np.moveaxis(x, -3, -1))


def _setting(arrays, norm="instance", prefix="param."):
    config = json.loads(str(arrays["meta"]))["config"]
    args = config["args"]
    model = convnet(
        args["num_classes"],
        (*args["im_size"], args["channel"]),
        width=args["net_width"],
        depth=args["net_depth"],
        norm=norm,
    )
    state = {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}
    classes, ipc = config["n_class"], config["ipc"]
    real = _nhwc(arrays["real"])
    syn = _nhwc(arrays["syn"]).reshape(classes, ipc, *real.shape[2:])
    labels = jnp.arange(classes)[:, None]
    return (
        model,
        params_from_torch(model, state),
        Batch(syn, jnp.tile(labels, (1, ipc))),
        Batch(real, jnp.tile(labels, (1, real.shape[1]))),
    )


def _stored_augmentation(arrays):
    """The siamese op that the original drew for each class, with its parameters."""

    def augment(images, c):
        op = str(arrays["aug.op"][c])
        if op == "flip":
            return ops.flip(images, bool(arrays["aug.flip_u"][c] < 0.5))
        if op == "brightness":
            return ops.brightness(images, float(arrays["aug.brightness_b"][c]))
        if op == "crop":
            return ops.crop(images, *(int(t) for t in arrays["aug.crop_txy"][c]))
        ox, oy = (int(o) for o in arrays["aug.cutout_oxy"][c])
        return ops.cutout(images, ox, oy, int(arrays["aug.cutout_size"]))

    def apply(pair, context):
        branches = [
            lambda p, c=c: Pair(*(b._replace(images=augment(b.images, c)) for b in p))
            for c in range(len(arrays["aug.op"]))
        ]
        return jax.lax.switch(pair.real.labels[0], branches, pair)

    return stateless(apply)
