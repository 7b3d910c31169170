"""IDC's matching of convolution gradients against the original: losses and image gradients."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses, matching
from jdd.data.batch import Batch
from jdd.interop import params_from_torch
from jdd.matching import Context, Pair, chain, value_of
from jdd.methods import convolution_gradients
from jdd.nn import convnet

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

STAGES = {
    "mse": matching.squared_error,
    "l1": matching.absolute_error,
    "l1_mean": matching.mean_absolute_error,
    "cos": matching.layerwise_cosine,
}


@pytest.fixture(params=["rgb", "gray"])
def case(request, reference, nhwc):
    """``case(stage)``: value and image gradient of a stage on a recorded pair; and its arrays."""
    name, arrays = request.param, reference("idc_match")
    sizes = json.loads(str(arrays["meta"]))["cases"][name]
    shape = (sizes["size"], sizes["size"], sizes["ch"])
    model = convnet(sizes["C"], shape, width=sizes["W"])
    prefix = f"{name}.w."
    state = {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}
    network, params = model.network(params_from_torch(model, state))
    context = Context(network, params, jax.random.key(0))
    syn, real = (
        Batch(nhwc(arrays[f"{name}.{side}"]), jnp.asarray(arrays[f"{name}.{side}_labels"], int))
        for side in ("syn", "real")
    )

    def value_and_gradient(stage, images=syn.images):
        def loss(images):
            return value_of(stage, Pair(syn._replace(images=images), real), context)

        return jax.jit(jax.value_and_grad(loss))(images)

    def of_case(key):
        return arrays[f"{name}.{key}"]

    return value_and_gradient, of_case, Pair(syn, real), context


@pytest.mark.parametrize("metric", STAGES)
def test_losses_and_image_gradients(case, nhwc, metric):
    value_and_gradient, of_case, *_ = case
    # Micro-batches that do not divide the batches: the streaming must not matter.
    gradients = matching.gradients(real_micro_batch=4, synthetic_micro_batch=2)
    stages = chain(gradients, matching.convolutions_only(), STAGES[metric]())
    value, gradient = value_and_gradient(stages)
    np.testing.assert_allclose(value, of_case(f"{metric}.loss_f64"), rtol=2e-6)
    has_f64 = metric in ("mse", "cos")
    want = nhwc(of_case(f"{metric}.grad_f64" if has_f64 else f"{metric}.grad"))
    assert np.linalg.norm(gradient - want) < 1e-5 * np.linalg.norm(want)


@pytest.mark.parametrize("metric", ["mse", "l1", "l1_mean"])
def test_other_leaves_count_where_they_are_not_left_out(case, metric):
    value_and_gradient, of_case, *_ = case
    value, _ = value_and_gradient(chain(matching.gradients(), STAGES[metric]()))
    np.testing.assert_allclose(value, of_case(f"{metric}.loss_bias_fc_f64"), rtol=2e-6)


def test_the_cosine_leaves_biases_out(case):
    value_and_gradient, of_case, *_ = case
    value, _ = value_and_gradient(chain(matching.gradients(), matching.layerwise_cosine()))
    np.testing.assert_allclose(value, of_case("cos.loss_fc_f64"), rtol=2e-6)


@pytest.mark.parametrize("metric", ["mse", "l1"])
def test_mean_embeddings_by_the_same_distances(case, nhwc, metric):
    value_and_gradient, of_case, *_ = case
    stages = chain(matching.embeddings(), matching.batch_mean(), STAGES[metric]())
    value, gradient = value_and_gradient(stages)
    np.testing.assert_allclose(value, of_case(f"feat_{metric}.loss_f64"), rtol=2e-6)
    want = nhwc(of_case(f"feat_{metric}.grad"))
    assert np.linalg.norm(gradient - want) < 1e-5 * np.linalg.norm(want)


def test_what_remains_are_the_recorded_convolution_gradients(case):
    _, of_case, pair, context = case
    stages = chain(matching.gradients(), matching.convolutions_only())
    got = jax.jit(lambda pair: value_of(stages, pair, context))(pair)
    for side, gradients in (("syn", got.synthetic), ("real", got.real)):
        assert len(jax.tree.leaves(gradients)) == 3
        for i in range(3):
            want = of_case(f"g_{side}.conv{i}").transpose(2, 3, 1, 0)
            leaf = gradients[f"conv{i}"]["kernel"]
            assert np.linalg.norm(leaf - want) < 1e-5 * np.linalg.norm(want)


def test_the_objective_is_the_sum_of_its_classes(case):
    _, of_case, pair, context = case
    # Two classes of the same images and labels: twice the recorded loss, without augmentation.
    twice = jax.tree.map(lambda x: jnp.stack([x, x]), pair)
    objective = convolution_gradients(matching.absolute_error(), strategy="none")
    got = jax.jit(lambda pair: value_of(objective, pair, context))(twice)
    np.testing.assert_allclose(got, 2 * of_case("l1.loss_f64"), rtol=2e-6)


def test_a_network_without_convolutions_is_refused():
    pair = Pair({"dense": jnp.ones((3, 2))}, {"dense": jnp.ones((3, 2))})
    context = Context(lambda p, x: x, {}, jax.random.key(0))
    with pytest.raises(ValueError, match="needs a network with convolutions"):
        value_of(matching.convolutions_only(), pair, context)


def subset_of(n, most, key=0):
    images = jnp.arange(n, dtype=jnp.float32)[:, None, None, None]
    batch = Batch(images, 10 * jnp.arange(n), jnp.arange(n, dtype=jnp.float32) + 0.5)
    context = Context(lambda p, x: x, {}, jax.random.key(key))
    return value_of(matching.synthetic_at_most(most), Pair(batch, batch), context), batch


def test_at_most_so_many_synthetic_images_are_matched():
    (small, real), batch = subset_of(7, 3)
    chosen = small.images.ravel().astype(int).tolist()
    assert len(set(chosen)) == 3 and set(chosen) <= set(range(7))
    assert small.labels.tolist() == [10 * i for i in chosen]
    assert small.weights.tolist() == [i + 0.5 for i in chosen]
    np.testing.assert_array_equal(real.images, batch.images)
    assert subset_of(7, 3, key=1)[0].synthetic.images.tolist() != small.images.tolist()
    for most in (7, 8):
        np.testing.assert_array_equal(subset_of(7, most)[0].synthetic.images, batch.images)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        matching.synthetic_at_most(0)


def test_images_that_were_not_chosen_have_no_gradient():
    images = jnp.ones((6, 2, 2, 1))
    context = Context(lambda p, x: x, {}, jax.random.key(3))

    def total(images):
        pair = Pair(Batch(images, jnp.zeros(6, int)), ())
        return value_of(matching.synthetic_at_most(4), pair, context).synthetic.images.sum()

    gradient = jax.grad(total)(images)
    assert sorted(gradient[:, 0, 0, 0].tolist()) == [0, 0, 1, 1, 1, 1]


def test_mean_absolute_error_by_hand():
    a = {"w": jnp.array([[1.0, -2.0], [3.0, 4.0], [0.0, 0.0]]), "b": jnp.array([1.0, -1.0])}
    zero = jax.tree.map(jnp.zeros_like, a)
    np.testing.assert_allclose(losses.mean_absolute_error(a, zero), 4 / 3 + 6 / 3 + 1 + 1)
