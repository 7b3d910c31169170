"""The networks of the papers: parameter counts, features, small images, refused arguments."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import nn
from jdd.interop import params_from_torch
from jdd.nn import network
from jdd.nn.registry import default_options

# Classes and images of MNIST, CIFAR-10 and CIFAR-100, and the parameters that the papers' code has there.
TASKS = [(10, (28, 28, 1)), (10, (32, 32, 3)), (100, (32, 32, 3))]
COUNTS = {
    "convnet": (317_706, 320_010, 504_420),
    "mlp": (118_282, 411_146, 422_756),
    "lenet": (61_706, 62_006, 69_656),
    "alexnet": (1_865_802, 1_872_202, 2_148_772),
    "alexnetbn": (1_867_722, 1_874_122, 2_150_692),
    "vgg11": (9_229_962, 9_231_114, 9_277_284),
    "vgg11bn": (9_229_962, 9_231_114, 9_277_284),
    "resnet18": (11_172_810, 11_173_962, 11_220_132),
    "resnet18bn": (11_172_810, 11_173_962, 11_220_132),
    "resnet18_ap": (11_213_770, 11_250_762, 11_988_132),
    "resnet18bn_ap": (11_213_770, 11_250_762, 11_988_132),
}


def shapes(model):
    """Variables, taps and embedding of two images, without computing anything."""
    variables = jax.eval_shape(model.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, *model.image_shape), jnp.float32)
    return variables, *jax.eval_shape(model.features, variables, images)


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_of_the_papers(name):
    for (num_classes, image_shape), count in zip(TASKS, COUNTS[name], strict=True):
        model = network(name).model(num_classes, image_shape)
        variables = jax.eval_shape(model.init, jax.random.key(0))
        assert sum(x.size for x in jax.tree.leaves(variables["params"])) == count
        assert ("batch_stats" in variables) == model.has_batch_stats == ("bn" in name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlp", [(128,), (128,)]),
        ("lenet", [(28, 28, 6), (10, 10, 16), (5, 5, 16), (120,), (84,)]),
        (
            "alexnet",
            [(32, 32, 128), (16, 16, 192), (8, 8, 256), (8, 8, 192), (8, 8, 192), (4, 4, 192)],
        ),
        (
            "vgg11",
            [
                *[(32, 32, 64), (16, 16, 128), (8, 8, 256), (8, 8, 256), (4, 4, 512), (4, 4, 512)],
                *[(2, 2, 512), (2, 2, 512), (1, 1, 512)],
            ],
        ),
        (
            "resnet18",
            [
                *[(32, 32, 64)] * 3,
                *[(16, 16, 128)] * 2,
                *[(8, 8, 256)] * 2,
                *[(4, 4, 512)] * 2,
                (1, 1, 512),
            ],
        ),
        (
            "resnet18_ap",
            [
                *[(32, 32, 64)] * 3,
                *[(16, 16, 128)] * 2,
                *[(8, 8, 256)] * 2,
                *[(4, 4, 512)] * 3,
            ],
        ),
    ],
)
def test_taps_and_embedding(name, expected):
    _, taps, embedding = shapes(network(name).model(10, (32, 32, 3)))
    assert [tap.shape[1:] for tap in taps] == expected
    assert embedding.shape == (2, int(np.prod(expected[-1])))


@pytest.mark.parametrize("name", ["mlp", "lenet", "alexnet", "vgg11", "resnet18", "resnet18_ap"])
@pytest.mark.parametrize("image_shape", [(8, 8, 1), (8, 10, 3), (64, 64, 3), (33, 31, 1)])
def test_images_of_other_sizes(name, image_shape):
    model = network(name).model(3, image_shape)
    variables, taps, embedding = shapes(model)
    assert all(min(tap.shape) > 0 for tap in taps) and embedding.shape[1] > 0
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    assert jax.eval_shape(model.apply, variables, images).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "small", "border"), [("lenet", (8, 8, 1), 2), ("alexnet", (2, 2, 3), 3)]
)
def test_small_images_are_padded_on_all_sides(name, small, border):
    """The logits equal those of images with a border of zeros, on a network with the default padding."""
    bordered = (small[0] + 2 * border, small[1] + 2 * border, small[2])
    one, other = (network(name).model(2, shape) for shape in (small, bordered))
    variables = one.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (1, *small))
    around = jnp.pad(images, ((0, 0), (border, border), (border, border), (0, 0)))
    got, want = jax.jit(one.apply)(variables, images), jax.jit(other.apply)(variables, around)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_initialisation_is_pytorchs_default():
    params = nn.resnet18(10, (32, 32, 3)).init(jax.random.key(0))["params"]
    kernel = np.asarray(params["block3_shortcut_conv"]["kernel"])
    assert list(params["block3_shortcut_conv"]) == ["kernel"] and kernel.shape == (1, 1, 64, 128)
    assert np.abs(kernel).max() <= 1 / 8 and abs(kernel.std() * np.sqrt(3 * 64) - 1) < 0.03
    assert (params["block8_norm2"]["scale"] == 1).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.vgg11(10, (32, 32, 3), norm="bach"),
            "unknown norm 'bach', did you mean 'batch'",
        ),
        (lambda: nn.alexnet(10, (32, 32, 3), norm=""), "unknown norm"),
        (lambda: nn.resnet18(10, (32, 32, 3), downsampling="pool"), "did you mean 'avg_pool'"),
        (lambda: nn.resnet18(10, (7, 9, 3), downsampling="avg_pool"), "at least 8x8, got 7x9"),
        (lambda: nn.mlp(2.0, (32, 32, 3)), "num_classes must be a whole number"),  # type: ignore[arg-type]
        (lambda: nn.mlp(2, (32, 32, 3.0)), r"image_shape must be \(height, width"),  # type: ignore[arg-type]
        (lambda: nn.convnet(2, (8, 8, 1), width=4.0), "width must be a whole number"),  # type: ignore[arg-type]
        (lambda: nn.mlp(1, (32, 32, 3)), "num_classes must be at least 2, got 1"),
        (lambda: nn.lenet(10, (32, 32)), r"image_shape must be \(height, width, channels\)"),  # type: ignore[arg-type]
        (lambda: nn.lenet(10, 32), r"image_shape must be .* whole numbers above 0, got 32"),  # type: ignore[arg-type]
        (
            lambda: nn.lenet(10, (32, 32, 3), conv="winograd"),  # type: ignore[arg-type]
            "conv must be a function such as jdd.nn.winograd_conv, or None, got 'winograd'",
        ),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["convnet", "mlp", "lenet", "alexnet", "vgg11", "resnet18"])
def test_one_architecture_is_one_model(name):
    """Programs compiled for a model are shared only if equal arguments return the same object."""
    make = nn.ARCHITECTURES[name]
    defaults = default_options(name)
    model = make(3, (16, 16, 1))
    assert make(3, (16, 16, 1), **defaults) is model
    assert make(np.int64(3), [16, 16, 1]) is model
    assert network(name).model(3, (16, 16, 1)) is model
    others = [make(4, (16, 16, 1)), make(3, (16, 16, 3)), make(3, (16, 18, 1))]
    changes = {"width": 8, "depth": 2, "norm": "group", "activation": "swish", "pooling": "max"}
    changes["downsampling"] = "avg_pool"
    others += [make(3, (16, 16, 1), **{option: changes[option]}) for option in defaults]
    if name != "mlp":
        assert make(3, (16, 16, 1), conv=nn.default_conv()) is model
        with_conv = make(3, (16, 16, 1), conv=nn.loop_safe_conv)
        assert make(3, (16, 16, 1), conv=nn.loop_safe_conv) is with_conv
        others += [with_conv]
    assert len({id(each) for each in [model, *others]}) == 1 + len(others)


def test_a_convolution_that_cannot_be_hashed():
    @dataclasses.dataclass
    class Convolution:
        def __call__(self, x, w, padding, stride=1):
            return nn.lax_conv(x, w, padding, stride)

    model = nn.lenet(2, (8, 8, 1), conv=Convolution())
    variables = model.init(jax.random.key(0))
    hashable = nn.lenet(2, (8, 8, 1), conv=nn.lax_conv)
    images = jax.random.normal(jax.random.key(1), (1, 8, 8, 1))
    got, want = model.apply(variables, images), hashable.apply(variables, images)
    np.testing.assert_array_equal(got, want)


def test_the_chosen_convolution_runs():
    def refuses(x, w, padding, stride=1):
        raise RuntimeError("called")

    for name in ("convnet", "lenet", "alexnet", "vgg11", "resnet18"):
        with pytest.raises(RuntimeError, match="called"):
            jax.eval_shape(network(name).model(2, (8, 8, 1), conv=refuses).init, jax.random.key(0))
    network("mlp").model(2, (8, 8, 1), conv=refuses).init(jax.random.key(0))


def test_state_dicts_of_other_networks_are_refused():
    zeros = {"c.weight": (128, 64), "c.bias": (128,), "d.weight": (128, 128), "d.bias": (128,)}
    zeros |= {"e.weight": (2, 128), "e.bias": (2,)}
    state = {name: np.zeros(shape, np.float32) for name, shape in zeros.items()}
    params_from_torch(nn.mlp(2, (8, 8, 1)), state)
    with pytest.raises(ValueError, match="takes 64 features in the state dict, 192 in the model"):
        params_from_torch(nn.mlp(2, (8, 8, 3)), state)
    with pytest.raises(ValueError, match="LeNet has 2 conv layers, the state dict 0"):
        params_from_torch(nn.lenet(2, (8, 8, 1)), state)
