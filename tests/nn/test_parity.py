"""Every network against the forward passes of the original one: 33 cases of nets.npz."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.interop import params_from_torch
from jdd.nn import network

CASES = range(33)
NORMS = {
    "instancenorm": "instance",
    "batchnorm": "batch",
    "layernorm": "layer",
    "groupnorm": "group",
    "none": "none",
}
POOLINGS = {"avgpooling": "avg", "maxpooling": "max", "none": "none"}
ACTIVATIONS = {"relu": "relu", "sigmoid": "sigmoid", "leakyrelu": "leaky_relu", "swish": "swish"}
# Relative L2 error: rounding grows through 8 and 17 convolutions (Winograd's most), to 2e-5 here.
TOLERANCE = {"vgg11": 1e-4, "resnet18": 1e-4}
TAPS = {"mlp": 2, "lenet": 5, "alexnet": 6, "vgg11": 9, "resnet18": 10}


def weights(spec, flat):
    """The state dict of a case: stored, or drawn by the README's weight rule."""
    rng = np.random.default_rng(spec["seed"])
    rule, state, at = {}, {}, 0
    for name, shape, kind in spec["tensors"]:
        if kind == "count":
            continue
        z = rng.standard_normal(shape, dtype=np.float32)
        rule[name] = {
            "matrix": lambda z: z / np.float32(np.sqrt(np.prod(z.shape[1:]))),
            "norm_weight": lambda z: 1 + np.float32(0.1) * z,
            "bias": lambda z: np.float32(0.1) * z,
            "running_mean": lambda z: np.float32(0.1) * z,
            "running_var": lambda z: 1 + np.float32(0.1) * np.abs(z),
        }[kind](z)
        state[name] = flat[at : at + z.size].reshape(shape) if flat.size else rule[name]
        at += z.size
    return state


def build(spec, image_shape):
    args = spec["args"]
    options = {}
    if spec["net"] == "ConvNet":
        options = {
            "width": args["net_width"],
            "depth": args["net_depth"],
            "norm": NORMS[args["net_norm"]],
            "activation": ACTIVATIONS[args["net_act"]],
            "pooling": POOLINGS[args["net_pooling"]],
        }
    choice = network(spec["net"], **options)
    taps = TAPS.get(choice.architecture, 1 + options.get("depth", 0))
    model = choice.model(args["num_classes"], image_shape)
    return model, taps, TOLERANCE.get(choice.architecture, 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_forward_equals_the_original(reference, case):
    arrays = reference("nets")
    prefix = f"case{case:02d}."
    spec = json.loads(str(arrays[prefix + "spec"]))
    state = weights(spec, arrays[prefix + "flat_state"])
    norms = [np.linalg.norm(x.astype(np.float64)) for x in state.values()]
    np.testing.assert_allclose(norms, arrays[prefix + "tensor_norms"], rtol=1e-6)
    x = jnp.asarray(arrays[spec["input"]].transpose(0, 2, 3, 1))
    model, num_taps, tolerance = build(spec, x.shape[1:])
    variables = params_from_torch(model, state)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == spec["n_params"]
    if spec["mode"] == "train":
        logits, after = jax.jit(model.train)(variables, x)
        want = params_from_torch(model, state | moved(state, arrays[prefix + "running_after"]))
        assert set(after["batch_stats"]) == set(want["batch_stats"])
        for layer, moments in want["batch_stats"].items():
            for name, value in moments.items():
                got = after["batch_stats"][layer][name]
                np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-6)
    else:
        function, params = model.network(variables)
        logits, taps, embedding = jax.jit(function)(params, x)
        assert len(taps) == num_taps
        np.testing.assert_array_equal(taps[-1].reshape(len(x), -1), embedding)
        want = arrays[prefix + "embed"]
        if want.size:
            want = want.reshape(len(x), taps[-1].shape[-1], *taps[-1].shape[1:3])
            assert relative(embedding, want.transpose(0, 2, 3, 1).reshape(len(x), -1)) < tolerance
    assert relative(logits, arrays[prefix + "logits_f64"]) < tolerance


def moved(state, flat):
    """The running statistics of a state dict, replaced in order."""
    running, at = {}, 0
    for name, value in state.items():
        if name.endswith(("running_mean", "running_var")):
            running[name] = flat[at : at + value.size]
            at += value.size
    assert at == flat.size
    return running


def relative(got, want):
    return np.linalg.norm(np.asarray(got) - want) / np.linalg.norm(want)
