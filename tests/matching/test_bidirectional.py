"""DREAM+'s objective: gradients and embeddings from one pass, against the original and against two passes."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import matching
from jdd.data.batch import Batch
from jdd.interop import params_from_torch
from jdd.matching import (
    Context,
    Pair,
    add,
    batch_mean,
    chain,
    convolutions_only,
    embeddings,
    gradients,
    gradients_and_embeddings,
    on_embeddings,
    on_gradients,
    value_of,
)
from jdd.methods import bidirectional_gradients
from jdd.nn import convnet

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

METRICS = {"mse": matching.squared_error, "l1": matching.absolute_error}


def one_pass(metric, **options):
    """Both distances with weight 1, as the original."""
    of_gradients = on_gradients(chain(convolutions_only(), metric()))
    of_embeddings = on_embeddings(chain(batch_mean(), metric()))
    return chain(gradients_and_embeddings(**options), add(of_gradients, of_embeddings))


def two_passes(metric):
    return add(
        chain(gradients(), convolutions_only(), metric()),
        chain(embeddings(), batch_mean(), metric()),
    )


@pytest.fixture(params=["rgb", "gray"])
def case(request, reference, nhwc):
    """``case``: name, arrays, the recorded pair and its context."""
    name, arrays = request.param, reference("dreamplus_match")
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
    return lambda key: arrays[f"{name}.{key}"], Pair(syn, real), context


def evaluated(stage, pair, context) -> Any:
    """The value of a stage, compiled."""
    return jax.jit(lambda pair: value_of(stage, pair, context))(pair)


def value_and_gradient(stage, pair, context):
    def loss(images):
        return value_of(
            stage, pair._replace(synthetic=pair.synthetic._replace(images=images)), context
        )

    return jax.jit(jax.value_and_grad(loss))(pair.synthetic.images)


@pytest.mark.parametrize("sizes", [{}, {"real_micro_batch": 4, "synthetic_micro_batch": 3}])
@pytest.mark.parametrize("metric", METRICS)
def test_losses_and_image_gradients_of_the_original(case, nhwc, metric, sizes):
    of_case, pair, context = case
    value, gradient = value_and_gradient(one_pass(METRICS[metric], **sizes), pair, context)
    np.testing.assert_allclose(value, of_case(f"{metric}.loss_f64"), rtol=2e-6)
    want = nhwc(of_case(f"{metric}.grad_f64"))
    assert np.linalg.norm(gradient - want) < 1e-5 * np.linalg.norm(want)


@pytest.mark.parametrize("metric", METRICS)
def test_the_two_terms_of_the_original(case, metric):
    of_case, pair, context = case
    stages = {
        "gradient": on_gradients(chain(convolutions_only(), METRICS[metric]())),
        "embedding": on_embeddings(chain(batch_mean(), METRICS[metric]())),
    }
    for name, stage in stages.items():
        value = evaluated(chain(gradients_and_embeddings(), stage), pair, context)
        np.testing.assert_allclose(value, of_case(f"{metric}.loss_{name}_term_f64"), rtol=2e-6)


def test_embeddings_of_the_original_in_any_micro_batch(case):
    of_case, pair, context = case
    for stage in (
        gradients_and_embeddings(),
        gradients_and_embeddings(real_micro_batch=4, synthetic_micro_batch=3),
    ):
        both = evaluated(stage, pair, context)
        for side, got in (("syn", both.synthetic), ("real", both.real)):
            want = of_case(f"embed_{side}")
            width = want.shape[1] // 16
            last = got.embeddings.values.reshape(len(want), 4, 4, width)
            np.testing.assert_allclose(
                jnp.moveaxis(last, -1, 1).reshape(want.shape), want, rtol=0, atol=1e-5
            )


def test_one_pass_is_two_passes_with_weights(case):
    _, pair, context = case
    weights = jnp.linspace(0.0, 1.0, len(pair.real.labels))
    weighted = pair._replace(real=pair.real._replace(weights=weights))
    sizes = {"real_micro_batch": 3, "synthetic_micro_batch": 2}
    results = [
        value_and_gradient(stage, weighted, context)
        for stage in (one_pass(matching.squared_error, **sizes), two_passes(matching.squared_error))
    ]
    (value, gradient), (want, want_gradient) = results
    np.testing.assert_allclose(value, want, rtol=2e-6)
    assert np.linalg.norm(gradient - want_gradient) < 1e-5 * np.linalg.norm(want_gradient)


def flop(stage, pair, context) -> float:
    """Of the compiled value and image gradient."""

    def loss(images):
        return value_of(
            stage, pair._replace(synthetic=pair.synthetic._replace(images=images)), context
        )

    compiled = jax.jit(jax.value_and_grad(loss)).lower(pair.synthetic.images).compile()
    analysis: Any = compiled.cost_analysis()
    return analysis["flops"]


def test_one_pass_costs_less_than_two():
    model = convnet(10, (32, 32, 3), width=16)
    context = Context(*model.network(model.init(jax.random.key(0))), jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 2)
    syn, real = (
        Batch(jax.random.normal(key, (n, 32, 32, 3)), jnp.zeros(n, int))
        for key, n in zip(keys, (8, 12), strict=True)  # as one micro-batch
    )
    metric = matching.squared_error
    alone = flop(chain(gradients(), convolutions_only(), metric()), Pair(syn, real), context)
    one = flop(one_pass(metric), Pair(syn, real), context)
    two = flop(two_passes(metric), Pair(syn, real), context)
    # The embeddings are in the pass already: next to nothing more than gradients alone.
    assert one < 1.02 * alone and two > 1.1 * one, (alone, one, two)


def test_the_real_side_has_no_derivative(case):
    _, pair, context = case

    def loss(images):
        return value_of(
            one_pass(matching.squared_error),
            pair._replace(real=pair.real._replace(images=images)),
            context,
        )

    assert not jax.jit(jax.grad(loss))(pair.real.images).any()


# the objective


def stacked(pair):
    return jax.tree.map(lambda x: jnp.stack([x, x]), pair)


@pytest.mark.parametrize("metric", METRICS)
def test_the_objective_is_the_sum_of_its_classes(case, metric):
    of_case, pair, context = case
    objective = bidirectional_gradients(METRICS[metric](), strategy="none")
    value = evaluated(objective, stacked(pair), context)
    np.testing.assert_allclose(value, 2 * of_case(f"{metric}.loss_f64"), rtol=2e-6)


def test_the_weight_is_that_of_the_embeddings(case):
    of_case, pair, context = case
    objective = bidirectional_gradients(
        matching.squared_error(), embedding_weight=0.25, strategy="none"
    )
    terms = (of_case(f"mse.loss_{name}_term_f64") for name in ("gradient", "embedding"))
    want = 2 * sum(w * term for w, term in zip((1.0, 0.25), terms, strict=True))
    np.testing.assert_allclose(evaluated(objective, stacked(pair), context), want, rtol=2e-6)


def test_both_see_one_augmentation_of_both_sides(case):
    _, pair, context = case
    same = Pair(pair.real, pair.real)
    objective = bidirectional_gradients(strategy="crop_cutout_flip")
    assert float(evaluated(objective, stacked(same), context)) < 1e-6


def test_refusals():
    context = Context(lambda params, x: x @ params, jnp.ones((2, 2)), jax.random.key(0))
    batch = Batch(jnp.ones((3, 2)), jnp.zeros(3, int))
    with pytest.raises(ValueError, match="needs the embedding of the network"):
        value_of(gradients_and_embeddings(), Pair(batch, batch), context)
    with pytest.raises(ValueError, match=r"^on_gradients sees what gradients_and_embeddings\(\)"):
        value_of(on_gradients(batch_mean()), Pair(batch, batch), context)
    with pytest.raises(ValueError, match=r"^on_embeddings needs stages, got 'mean'"):
        on_embeddings("mean")  # pyright: ignore[reportArgumentType]
    for weight in (-1.0, float("nan"), "heavy"):
        with pytest.raises(ValueError, match=r"^embedding_weight must be at least 0 and finite"):
            bidirectional_gradients(embedding_weight=weight)  # pyright: ignore[reportArgumentType]
