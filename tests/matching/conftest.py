"""The networks and batches that the original's matching steps were recorded on."""

from __future__ import annotations

import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.interop import params_from_torch
from jdd.matching import Batch
from jdd.nn import convnet


@pytest.fixture(scope="session")
def nhwc() -> Callable[[np.ndarray], jax.Array]:
    """Moves the channels to the end."""
    return _nhwc


@pytest.fixture(scope="session")
def setting() -> Callable:
    """``setting(arrays, norm)``: model, variables, synthetic and real batch of a recorded step."""
    return _setting


def _nhwc(x):
    return jnp.asarray(np.moveaxis(x, -3, -1))


def _setting(arrays, norm="instance"):
    config = json.loads(str(arrays["meta"]))["config"]
    args = config["args"]
    model = convnet(
        args["num_classes"],
        (*args["im_size"], args["channel"]),
        width=args["net_width"],
        depth=args["net_depth"],
        norm=norm,
    )
    state = {k.removeprefix("param."): arrays[k] for k in arrays.files if k.startswith("param.")}
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
