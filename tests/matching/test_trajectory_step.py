"""MTT's, TESLA's and DATM's step against the original, in both precisions."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jdd import losses
from jdd.interop import params_from_torch
from jdd.matching import Context, StudentInputs, direct, frozen, remat
from jdd.matching.trajectories import step_gradient
from jdd.nn import convnet

# Classes, image shape, width.
CASES = {"rgb": (4, (32, 32, 3), 8), "gray": (3, (28, 28, 1), 12), "traj": (4, (32, 32, 3), 8)}
# Each costs a program; together they have every kind of minibatch, and every strategy.
EXACT = [
    ("rgb", "full", 1, "direct"),
    ("rgb", "ragged", 20, "remat"),
    ("gray", "even", 5, "remat"),
]
FROZEN = [("rgb", "even", 5)]
STRATEGIES = {"direct": direct(), "remat": remat(3), "frozen": frozen(3)}


class Setting(NamedTuple):
    """A recorded setting, in the precision of the test."""

    context: Context
    start: Any
    target: Any
    images: jax.Array
    labels: jax.Array
    alpha: jax.Array


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def setting(arrays: Any, case: str, precision: str) -> Setting:
    classes, shape, width = CASES[case]
    model = convnet(classes, shape, width=width)

    def network(part: str) -> Any:
        prefix = f"{case}.{part}."
        state = {k.removeprefix(prefix): arrays[k] for k in arrays.files if k.startswith(prefix)}
        params = params_from_torch(model, state)["params"]
        return jax.tree.map(lambda x: jnp.asarray(np.asarray(x), precision), params)

    start = network("theta0")
    function, _ = model.network({"params": start})
    labels = arrays[f"{case}.label_logits" if case == "traj" else f"{case}.labels"]
    return Setting(
        Context(function, start, jax.random.key(0)),
        start,
        network("target"),
        jnp.asarray(np.moveaxis(arrays[f"{case}.images"], 1, -1), precision),
        jnp.asarray(labels, precision if case == "traj" else jnp.int32),
        jnp.asarray(arrays[f"{case}.alpha"], precision),
    )


def inputs_of(indices: np.ndarray, dtype: str) -> StudentInputs:
    steps = len(indices)
    return StudentInputs(
        jnp.asarray(np.maximum(indices, 0), jnp.int32),
        jnp.asarray(indices >= 0, dtype),
        jnp.zeros(steps, jnp.int32),
        jax.random.split(jax.random.key(0), steps),
    )


@functools.partial(jax.jit, static_argnames="strategy")
def value_and_gradients(set_: Setting, inputs: StudentInputs, strategy: str) -> Any:
    """Distance, student, and the gradients of images, labels where they are soft, and step size."""
    is_soft = jnp.issubdtype(set_.labels.dtype, jnp.floating)
    unrolling = STRATEGIES[strategy]

    def distance(images: jax.Array, alpha: jax.Array, logits: Any) -> Any:
        labels = jax.nn.softmax(logits) if is_soft else set_.labels
        gradient = step_gradient(set_.context, losses.cross_entropy, unrolling.micro_batch, 0)
        student = unrolling.train(gradient, set_.start, (images[:, None], labels), alpha, inputs)
        return losses.trajectory_distance(student, set_.target, set_.start), student

    logits = set_.labels if is_soft else jnp.zeros(())
    differentiated = jax.value_and_grad(distance, (0, 1, 2), has_aux=True)
    return differentiated(set_.images, set_.alpha, logits)


def relative_error(got: Any, want: Any) -> float:
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


def nchw(images: jax.Array) -> np.ndarray:
    return np.moveaxis(np.asarray(images), -1, 1)


@pytest.mark.parametrize(("case", "batches", "steps", "strategy"), EXACT)
def test_exact_gradients(reference, precision, case, batches, steps, strategy):
    arrays, name = reference("mtt_step"), f"{case}.{batches}.N{steps}"
    inputs = inputs_of(arrays[f"{name}.index"], precision)
    (value, student), (images, alpha, _) = value_and_gradients(
        setting(arrays, case, precision), inputs, strategy
    )
    assert value.dtype == images.dtype == alpha.dtype == precision
    is_double = precision == "float64"
    assert relative_error(value, arrays[f"{name}.loss_f64"]) < (1e-9 if is_double else 1e-5)
    assert relative_error(alpha, arrays[f"{name}.grad_alpha_f64"]) < (1e-9 if is_double else 1e-5)
    # The images' gradient was stored in float64 for some cases alone.
    stored = f"{name}.grad_images_f64"
    has_double = is_double and stored in arrays.files
    want = arrays[stored if has_double else f"{name}.grad_images"]
    assert relative_error(nchw(images), want) < (1e-9 if has_double else 1e-5)
    norm = np.linalg.norm(arrays[f"{name}.theta_N"])
    assert np.linalg.norm(ravel_pytree(student)[0]) == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(("case", "batches", "steps"), FROZEN)
def test_the_frozen_gradient_is_teslas_formula(reference, precision, case, batches, steps):
    arrays, name = reference("mtt_step"), f"{case}.{batches}.N{steps}"
    inputs = inputs_of(arrays[f"{name}.index"], precision)
    (value, _), (images, alpha, _) = value_and_gradients(
        setting(arrays, case, precision), inputs, "frozen"
    )
    tolerance = 1e-9 if precision == "float64" else 1e-5
    assert relative_error(value, arrays[f"{name}.loss_f64"]) < tolerance
    assert relative_error(alpha, arrays[f"{name}.frozen_grad_alpha_f64"]) < tolerance
    norm = np.linalg.norm(images)
    assert norm == pytest.approx(float(arrays[f"{name}.frozen_grad_images_norm_f64"]), rel=1e-5)
    assert relative_error(nchw(images), arrays[f"{name}.frozen_grad_images"]) < 1e-5
    # Half of it, as the authors' code returns.
    half = float(arrays[f"{name}.tesla_code_grad_images_norm_f64"])
    assert norm == pytest.approx(2 * half, rel=1e-5)


@pytest.mark.parametrize("steps", [5])
def test_learned_soft_labels(reference, precision, steps):
    arrays, name = reference("datm_soft"), f"traj.N{steps}"
    inputs = inputs_of(arrays[f"{name}.index"], precision)
    (value, _), (images, alpha, logits) = value_and_gradients(
        setting(arrays, "traj", precision), inputs, "remat"
    )
    tolerance = 1e-9 if precision == "float64" else 1e-5
    assert relative_error(value, arrays[f"{name}.loss_f64"]) < tolerance
    assert relative_error(alpha, arrays[f"{name}.grad_alpha_f64"]) < tolerance
    assert relative_error(logits, arrays[f"{name}.grad_label_logits_f64"]) < tolerance
    assert relative_error(nchw(images), arrays[f"{name}.grad_images"]) < 1e-5


def test_soft_cross_entropy(reference, precision):
    arrays = reference("datm_soft")
    logits, label_logits = (
        jnp.asarray(arrays[f"ce.{part}"], precision) for part in ("logits", "label_logits")
    )

    def mean(logits: jax.Array, label_logits: jax.Array) -> jax.Array:
        return losses.cross_entropy(logits, jax.nn.softmax(label_logits)).mean()

    value, gradients = jax.value_and_grad(mean, (0, 1))(logits, label_logits)
    tolerance = 1e-12 if precision == "float64" else 1e-5
    assert relative_error(value, arrays["ce.loss_f64"]) < tolerance
    for got, part in zip(gradients, ("logits", "label_logits"), strict=True):
        assert relative_error(got, arrays[f"ce.grad_{part}_f64"]) < tolerance
