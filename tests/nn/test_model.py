"""A model: one forward pass, and everything else derived from it."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.network_output import Output
from jdd.nn import Model, convnet, default_conv, lenet, stacked
from jdd.nn.plain import Block, PlainNetwork

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

SHAPE = (8, 8, 1)
IMAGES = jax.random.normal(jax.random.key(1), (3, *SHAPE))


def small_convnet(norm: str = "batch") -> Model:
    return convnet(2, SHAPE, width=4, depth=2, norm=norm)


def small_module(norm: str) -> PlainNetwork:
    blocks = (Block(4, 3, 3, "avg"), Block(4, 3, 1, "avg"))
    return PlainNetwork(2, default_conv(), blocks, norm=norm)


# A model and the module behind it, which the tests call without the model.
NETWORKS = {
    "batch": (small_convnet("batch"), small_module("batch")),
    "instance": (small_convnet("instance"), small_module("instance")),
    "lenet": (
        lenet(2, SHAPE),
        PlainNetwork(2, default_conv(), (Block(6, 5, 4, "max"), Block(16, 5, 0, "max")), (120, 84)),
    ),
}


def trained_variables(model: Model):
    """Variables whose running statistics are not those of the initialisation."""
    return model.train(model.init(jax.random.key(0)), 2 * IMAGES + 1)[1]


def assert_equal(got, want):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(got, want, rtol=1e-5, atol=1e-6):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", NETWORKS)
def test_jitted_functions_equal_calls_of_the_module_bit_for_bit(name):
    model, module = NETWORKS[name]
    variables = jax.jit(trained_variables, static_argnums=0)(model)
    inference = jax.jit(module.apply)
    for part, function in ((slice(0, 1), model.apply), (slice(1, 3), model.features)):
        want = jax.jit(lambda v, x, part=part: module.apply(v, x)[part])(variables, IMAGES)
        assert_equal(jax.jit(function)(variables, IMAGES), want)
    assert_equal(jax.jit(model.forward)(variables, IMAGES)[0], inference(variables, IMAGES))
    logits, after = jax.jit(model.train)(variables, IMAGES)
    if not model.has_batch_stats:
        assert_equal((logits, after), (jax.jit(model.apply)(variables, IMAGES), variables))
        return

    @jax.jit
    def training(variables, images):
        output, moved = module.apply(variables, images, True, mutable=["batch_stats"])
        return output.logits, {**variables, **moved}

    assert_equal((logits, after), training(variables, IMAGES))
    before = jax.tree.leaves(variables["batch_stats"])
    for a, b in zip(jax.tree.leaves(after["batch_stats"]), before, strict=True):
        assert np.abs(a - b).max() > 1e-3
    assert np.abs(logits - inference(variables, IMAGES).logits).max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_one_jitted_network_call_equals_the_separate_functions(name):
    """Not bit for bit: XLA fuses a program with other outputs in another order."""
    model, _ = NETWORKS[name]
    variables = jax.jit(trained_variables, static_argnums=0)(model)
    function, params = model.network(variables)
    output = jax.jit(function)(params, IMAGES)
    assert isinstance(output, Output) and len(output.taps) > 1 and params is variables["params"]
    assert_close(output.logits, jax.jit(model.apply)(variables, IMAGES))
    assert_close(output[1:], jax.jit(model.features)(variables, IMAGES))
    function, params = model.network(variables, training=True)
    output = jax.jit(function)(params, IMAGES)
    assert_close(output.logits, jax.jit(model.train)(variables, IMAGES)[0])
    trained = jax.jit(functools.partial(model.forward, training=True))(variables, IMAGES)[0]
    assert_close(output[1:], trained[1:])


@pytest.mark.parametrize("training", [False, True])
def test_not_jitted_the_numbers_are_the_same(training):
    model, module = NETWORKS["batch"]
    variables = trained_variables(model)
    if training:
        want, moved = module.apply(variables, IMAGES, True, mutable=["batch_stats"])
        assert_equal(model.train(variables, IMAGES), (want[0], {**variables, **moved}))
    else:
        want = module.apply(variables, IMAGES)
        assert_equal(model.apply(variables, IMAGES), want[0])
        assert_equal(model.features(variables, IMAGES), tuple(want[1:]))
    function, params = model.network(variables, training=training)
    assert_equal(function(params, IMAGES), tuple(want))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_through_one_network_call(name, training):
    """The gradient of a sum over logits, taps and embedding is the sum of the separate gradients."""
    model, module = NETWORKS[name]
    with jax.enable_x64(True):
        variables, images = jax.tree.map(
            lambda x: jnp.asarray(x, jnp.float64), (trained_variables(model), IMAGES)
        )
        function, params = model.network(variables, training=training)

        def of_logits(output):
            return jnp.sum(jnp.sin(output[0]))

        def of_taps(output):
            return sum(jnp.sum(jnp.cos(tap)) for tap in output[1])

        def of_embedding(output):
            return jnp.sum(jnp.square(output[2]))

        parts = (of_logits, of_taps, of_embedding)

        @jax.jit
        def separate(params, images):
            def loss(params, images, part):
                arguments = {**variables, "params": params}, images
                if training and model.has_batch_stats:
                    return part(module.apply(*arguments, True, mutable=["batch_stats"])[0])
                return part(module.apply(*arguments))

            return [jax.grad(loss, (0, 1))(params, images, part) for part in parts]

        @jax.jit
        def joint(params, images, function):
            def loss(params, images):
                output = function(params, images)
                return sum(part(output) for part in parts)

            return jax.grad(loss, (0, 1))(params, images)

        got = joint(params, images, function)
        want = jax.tree.map(lambda *gradients: sum(gradients), *separate(params, images))
        assert max(np.abs(x).max() for x in jax.tree.leaves(got)) > 0.1
        assert_close(got, want, rtol=1e-10, atol=1e-12)


def test_running_statistics_are_arguments_of_a_jitted_program():
    traces = []

    @jax.jit
    def run(function, params, images):
        traces.append(None)
        return function(params, images).logits

    model = small_convnet()
    variables = model.init(jax.random.key(0))
    first = run(*model.network(variables), IMAGES)
    _, moved = model.train(variables, IMAGES)
    second = run(*small_convnet().network(moved), IMAGES)
    assert len(traces) == 1 and np.abs(first - second).max() > 1e-3
    run(*model.network(variables, training=True), IMAGES)
    assert len(traces) == 2


def test_equal_arguments_give_the_same_model_and_the_same_functions():
    model = small_convnet()
    assert small_convnet() is model and small_convnet("layer") is not model
    assert hash(small_convnet()) == hash(model) and len({model, small_convnet("layer")}) == 2
    assert stacked(model, 3) is stacked(small_convnet(), 3) is not stacked(model, 2)
    for name in ("init", "forward", "apply", "features", "train"):
        assert getattr(model, name) is getattr(small_convnet(), name)
    renamed = dataclasses.replace(model, name="renamed")
    assert renamed != model and dataclasses.replace(renamed, name=model.name) == model
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.name = "renamed"  # type: ignore[misc]


def test_a_model_is_a_static_argument_and_compiled_once():
    traces = []

    def logits(model, variables, images):
        traces.append(None)
        return model.apply(variables, images)

    run = jax.jit(logits, static_argnums=0)
    variables = small_convnet().init(jax.random.key(0))
    run(small_convnet(), variables, IMAGES)
    run(small_convnet(), variables, IMAGES)
    assert len(traces) == 1


def test_a_network_that_only_offers_logits():
    def forward(variables, images, *, training=False):
        return Output(images.reshape(len(images), -1) @ variables["params"]), variables

    model = Model(lambda key: {"params": jnp.ones((64, 2))}, forward, "linear", 2, SHAPE)
    variables = model.init(jax.random.key(0))
    assert model.apply(variables, IMAGES).shape == (3, 2)
    function, params = model.network(variables)
    assert function(params, IMAGES).taps == () and function(params, IMAGES).embedding is None
    with pytest.raises(ValueError, match=r"linear has no features: .* logits only"):
        model.features(variables, IMAGES)


def test_output_is_imported_without_flax():
    program = (
        "import sys, jdd.network_output as module; "
        "module.Output(None); "
        "print([name for name in sys.modules if name.split('.')[0] in ('flax', 'jdd')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "['jdd', 'jdd.network_output']"


def test_stacked_models():
    one, models = small_convnet(), stacked(small_convnet(), 3)
    variables = models.init(jax.random.key(0))
    each = [jax.tree.map(lambda x, i=i: x[i], variables) for i in range(3)]
    assert models.name == "3 x ConvNet-2 (width 4, norm batch)"
    assert models.forward is one.forward
    kernels = [network["params"]["conv0"]["kernel"] for network in each]
    assert np.abs(kernels[0] - kernels[1]).max() > 0.01

    logits, moved = models.train(variables, IMAGES)
    assert logits.shape == (3, 3, 2)
    for i, network in enumerate(each):
        want, after = one.train(network, IMAGES)
        assert_close((logits[i], jax.tree.map(lambda x, i=i: x[i], moved)), (want, after))

    # The function of a stacked model is that of one network, with a leading axis on its statistics.
    function, params = models.network(moved)
    got = jax.vmap(lambda f, p: f(p, IMAGES))(function, params)
    for i in range(3):
        want, _ = one.forward(jax.tree.map(lambda x, i=i: x[i], moved), IMAGES)
        assert_close(jax.tree.map(lambda x, i=i: x[i], got), want)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        stacked(one, 0)
