"""ConvNet: parameter counts, initialisation, refused arguments. (Its numbers: test_parity.py.)"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.interop import params_from_torch
from jdd.nn import convnet


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
        ({"depth": 7}, "depth may be at most 5 for images of 32x32"),
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
    with pytest.raises(ValueError, match=r"running_var; norm0 of the model needs weight, bias$"):
        params_from_torch(instance, {**state, "c.weight": np.zeros((10, 144), np.float32)})
    state["c.weight"] = np.zeros((10, 4 * 6 * 6), np.float32)
    params_from_torch(batch, state)
    with pytest.raises(ValueError, match="weight, bias, running_mean, running_var"):
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
