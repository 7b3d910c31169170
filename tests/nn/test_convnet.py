"""ConvNet against the forward passes of the original network."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.interop import params_from_torch
from jdd.nn import convnet

CASES = range(16)
NORMS = {
    "instancenorm": "instance",
    "batchnorm": "batch",
    "layernorm": "layer",
    "groupnorm": "group",
    "none": "none",
}
POOLINGS = {"avgpooling": "avg", "maxpooling": "max", "none": "none"}
ACTIVATIONS = {"relu": "relu", "sigmoid": "sigmoid", "leakyrelu": "leaky_relu", "swish": "swish"}


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


def build(spec):
    args = spec["args"]
    return convnet(
        args["num_classes"],
        (*args["im_size"], args["channel"]),
        width=args["net_width"],
        depth=args["net_depth"],
        norm=NORMS[args["net_norm"]],
        activation=ACTIVATIONS[args["net_act"]],
        pooling=POOLINGS[args["net_pooling"]],
    )


@pytest.mark.parametrize("case", CASES)
def test_forward_equals_the_original(reference, case):
    arrays = reference("nets")
    prefix = f"case{case:02d}."
    spec = json.loads(str(arrays[prefix + "spec"]))
    assert spec["net"] == "ConvNet"
    model = build(spec)
    state = weights(spec, arrays[prefix + "flat_state"])
    norms = [np.linalg.norm(x.astype(np.float64)) for x in state.values()]
    np.testing.assert_allclose(norms, arrays[prefix + "tensor_norms"], rtol=1e-6)
    variables = params_from_torch(model, state)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == spec["n_params"]
    x = jnp.asarray(arrays[spec["input"]].transpose(0, 2, 3, 1))
    if spec["mode"] == "train":
        logits, after = jax.jit(model.train)(variables, x)
        running = []
        for name in sorted(after["batch_stats"]):
            running += [after["batch_stats"][name]["mean"], after["batch_stats"][name]["var"]]
        np.testing.assert_allclose(
            np.concatenate(running), arrays[prefix + "running_after"], rtol=1e-5, atol=1e-6
        )
    else:
        logits = jax.jit(model.apply)(variables, x)
        taps, embedding = jax.jit(model.features)(variables, x)
        want = arrays[prefix + "embed"].reshape(len(x), taps[-1].shape[-1], *taps[-1].shape[1:3])
        assert _relative(embedding, want.transpose(0, 2, 3, 1).reshape(len(x), -1)) < 1e-5
        assert len(taps) == spec["args"]["net_depth"] + 1
    assert _relative(logits, arrays[prefix + "logits_f64"]) < 1e-5


def _relative(got, want):
    return np.linalg.norm(np.asarray(got) - want) / np.linalg.norm(want)


@pytest.mark.parametrize(
    ("options", "shape", "count"),
    [
        ({}, (32, 32, 3), 320_010),
        ({}, (28, 28, 1), 317_706),
        ({"depth": 1}, (32, 32, 3), 331_530),
        ({"depth": 2}, (32, 32, 3), 233_610),
        ({"depth": 4}, (32, 32, 3), 452_490),
        ({"width": 32}, (32, 32, 3), 24_714),
        ({"width": 64}, (32, 32, 3), 86_282),
        ({"width": 256}, (32, 32, 3), 1_229_834),
        ({"norm": "none"}, (32, 32, 3), 319_242),
        ({"norm": "layer"}, (32, 32, 3), 663_306),
        ({"pooling": "none"}, (32, 32, 3), 1_610_250),
    ],
)
def test_parameter_counts_of_the_spec(options, shape, count):
    variables = jax.eval_shape(convnet(10, shape, **options).init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == count


def test_initialisation_is_pytorchs_default():
    params = convnet(10, (32, 32, 3)).init(jax.random.key(0))["params"]
    for layer, fan_in in (("conv0", 27), ("conv1", 1152), ("classifier", 2048)):
        for leaf in params[layer].values():
            assert np.abs(leaf).max() <= 1 / np.sqrt(fan_in)
        kernel = np.asarray(params[layer]["kernel"])
        assert abs(kernel.std() * np.sqrt(3 * fan_in) - 1) < 0.03
    assert (params["norm0"]["scale"] == 1).all() and (params["norm0"]["bias"] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "instanc"}, "did you mean 'instance'"),
        ({"activation": "gelu"}, "unknown activation 'gelu'"),
        ({"pooling": "mean"}, "unknown pooling 'mean'"),
        ({"depth": 0}, "depth must be at least 1"),
        ({"depth": 7}, "depth may be at most 5"),
        ({"norm": "group", "width": 6}, "multiple of 4"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        convnet(10, (32, 32, 3), **options)


def test_wrong_images_and_state_dicts_are_refused():
    model = convnet(10, (8, 8, 1), width=4)
    variables = model.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"takes images \[n, 8, 8, 1\]"):
        model.apply(variables, jnp.zeros((2, 8, 8, 3)))
    with pytest.raises(ValueError, match="3 conv layers, the state dict 0"):
        params_from_torch(model, {"classifier.weight": np.zeros((10, 4), np.float32)})


def test_state_dicts_of_another_norm_are_refused():
    zeros = {"0.weight": (4, 1, 3, 3), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,)}
    zeros |= {"1.running_mean": (4,), "1.running_var": (4,), "c.weight": (10, 64), "c.bias": (10,)}
    state: dict[str, np.ndarray] = {
        name: np.zeros(shape, np.float32) for name, shape in zeros.items()
    }
    instance, batch = (
        convnet(10, (8, 8, 1), width=4, depth=1, norm=norm) for norm in ("instance", "batch")
    )
    with pytest.raises(
        ValueError, match="norm0 of the model needs weight and bias, without running_mean"
    ):
        params_from_torch(instance, {**state, "c.weight": np.zeros((10, 144), np.float32)})
    state["c.weight"] = np.zeros((10, 4 * 6 * 6), np.float32)
    params_from_torch(batch, state)
    with pytest.raises(ValueError, match="and running_mean and running_var"):
        params_from_torch(batch, {k: v for k, v in state.items() if k != "1.running_mean"})
    with pytest.raises(ValueError, match=r"layer '1' gives .*'mean': \(5,\)"):
        params_from_torch(batch, {**state, "1.running_mean": np.zeros(5, np.float32)})
    with pytest.raises(ValueError, match="weight of rank 5"):
        params_from_torch(batch, {**state, "0.weight": np.zeros((1,) * 5, np.float32)})


def test_reports_tell_variants_apart():
    assert convnet(10, (32, 32, 3)).name == "ConvNet-3"
    assert (
        convnet(10, (32, 32, 3), width=64, norm="batch").name == "ConvNet-3 (width 64, norm batch)"
    )


def test_half_precision_runs_and_is_near():
    model = convnet(10, (16, 16, 3), width=32)
    variables = model.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), variables)
    got = model.apply(half, images.astype(jnp.bfloat16))
    assert got.dtype == jnp.bfloat16
    assert _relative(got.astype(jnp.float32), np.asarray(model.apply(variables, images))) < 0.05
