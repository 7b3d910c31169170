"""The loop over trajectories: resumed runs, the step size, labels, windows, averages, skips, refusals."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jdd
from jdd import methods, nn, synthetic
from jdd.data import Data, Trajectories
from jdd.matching import chain, trajectory_distance, unroll
from jdd.methods import Experts, from_correct, learned_labels, target_labels
from jdd.methods.set_labels import mean_of_correct
from jdd.synthetic import flat
from tests.methods.small_runs import CLASSES, SHAPE, build, resumed, run, same, small_model, table
from tests.methods.small_runs import step as compiled_step
from tests.methods.small_trajectories import EPOCHS, EXPERTS, data, experts, rates, small
from tests.parametrisations import tinted

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

# Everything that the state of a run can hold.
WHOLE = small(
    objective=chain(unroll(3, batch_size=4), trajectory_distance()),
    augment=jdd.augment.dsa_augmentation("flip_cutout"),
    initial=from_correct(),
    labels=learned_labels(),
    start_epochs=methods.widening_epochs(3, first_stop=1, iterations=3),
    optimizer=rates(labels=0.5),
    average=0.5,
    skip_above=50.0,
)


def test_a_resumed_run_has_the_bits_of_one_that_was_not():
    whole, losses = run(WHOLE, real=data())
    assert np.isfinite(losses).all() and len(set(losses.tolist())) == 6
    assert same(whole, resumed(WHOLE, 1, 3, 2, real=data()))
    first = build(WHOLE).init(jax.random.key(0), data())
    for name in ("images", "labels", "step_size"):
        assert not np.array_equal(whole.synthetic[name], first.synthetic[name]), name
    assert int(whole.step) == int(whole.updates) == 6
    other, _ = run(WHOLE, real=data(), seed=1)
    assert not np.array_equal(other.synthetic["images"], whole.synthetic["images"])


def test_what_a_run_leaves():
    state, _ = run(WHOLE, real=data())
    learned = build(WHOLE).learned(state)
    assert learned.labels is not None and learned.learning_rate is not None
    np.testing.assert_array_equal(learned.params["images"], state.average["images"])
    np.testing.assert_allclose(learned.labels, jax.nn.softmax(state.synthetic["labels"]))
    np.testing.assert_allclose(learned.learning_rate, np.exp(state.synthetic["step_size"]))
    batch = build(WHOLE).decode(state)
    assert batch.images.shape == (CLASSES, 2, 1, *SHAPE) and batch.labels.shape == (CLASSES, 2, 3)
    np.testing.assert_allclose(batch.labels.sum(-1), 1, rtol=1e-6)
    assert build(WHOLE).summary(state) == {
        "step_size": pytest.approx(float(learned.learning_rate)),
        "skipped": 0,
    }


def test_the_average_of_the_images():
    made, take = build(WHOLE), compiled_step(WHOLE)
    before = made.init(jax.random.key(0), data())
    np.testing.assert_array_equal(before.average["images"], before.synthetic["images"])
    for _ in range(2):
        after, _ = take(before, data())
        mean = 0.5 * (before.average["images"] + after.synthetic["images"])
        np.testing.assert_allclose(after.average["images"], mean, rtol=1e-6)
        before = after


def after_one(recipe: Any) -> Any:
    """State and loss after one iteration."""
    made = build(recipe)
    state, metrics = compiled_step(recipe)(made.init(jax.random.key(0), data()), data())
    return made, state, float(metrics.loss)


def test_a_raw_step_size_can_turn_negative_and_its_logarithm_cannot():
    """No step of a student helps against these experts, so that the step size falls."""
    steep = {"raw": 1e5, "limited": 1e5, "log": 1e5 * 0.01**2}
    sizes = {
        "raw": methods.raw_step_size(0.01),
        "limited": methods.raw_step_size(0.01, least=1e-3),
        "log": methods.log_step_size(0.01),
    }
    learned, losses = {}, []
    for name, size in sizes.items():
        recipe = small(step_size=size, optimizer=rates(step_size=steep[name]))
        made, state, loss = after_one(recipe)
        learned[name] = size.value(state.synthetic["step_size"]), made.learned(state).learning_rate
        losses.append(loss)
    assert losses[0] > 0.9 and len(set(losses)) <= 2
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    assert learned["raw"][0] < 0 and np.isnan(learned["raw"][1])  # a run ends with it
    np.testing.assert_allclose(learned["limited"], 1e-3, rtol=1e-5)
    assert 0 < learned["log"][0] < 0.01 and learned["log"][0] == learned["log"][1]


def test_the_rate_of_the_logarithm_stands_for_that_of_the_step_size():
    """To first order they move the step size alike."""
    moved = []
    for size, rate in ((methods.raw_step_size(0.01), 1e-4), (methods.log_step_size(0.01), 1.0)):
        _, state, _ = after_one(small(step_size=size, optimizer=rates(step_size=rate)))
        moved.append(float(size.value(state.synthetic["step_size"])) - 0.01)
    assert moved[0] != 0 and moved[1] == pytest.approx(moved[0], rel=0.05)


def test_a_large_loss_is_skipped_or_stops_the_run():
    before = build(small()).init(jax.random.key(0), data())
    _, skipped, loss = after_one(small(skip_above=0.1, stop_above=0.1))
    assert 0.1 < loss < np.inf and int(skipped.step) == 1 and int(skipped.updates) == 0
    for name in ("images", "step_size"):
        np.testing.assert_array_equal(skipped.synthetic[name], before.synthetic[name])
    _, _, loss = after_one(small(stop_above=0.1))
    assert loss == np.inf


def test_learned_labels_start_at_the_mean_of_the_experts():
    made = build(WHOLE)
    state = made.init(jax.random.key(0), data())
    known = Experts.of(made.model, data())
    images = state.synthetic["images"].reshape(-1, *SHAPE)
    logits = jnp.stack([known.logits(s, images) for s in experts().snapshots[:, -1]])
    want = mean_of_correct(logits, jnp.repeat(jnp.arange(CLASSES), 2))
    np.testing.assert_allclose(state.synthetic["labels"].reshape(-1, 3), want, rtol=1e-4, atol=1e-5)


def test_a_run_can_start_at_images_that_an_expert_knows():
    def by_brightness(params: Any, images: jax.Array) -> jax.Array:
        """About half of the first two classes, and all of the third."""
        mean = images.mean((1, 2, 3))[:, None] + params
        return -jnp.abs(mean - jnp.array([[-1.6, -0.4, -0.32]]))

    one = Trajectories(jnp.zeros((1, 1, 1)))
    known = Experts(one, by_brightness, lambda snapshot: snapshot[0])
    every = jdd.data.take(table(), jnp.arange(90))
    is_known = np.argmax(by_brightness(0.0, every), -1) == np.repeat(np.arange(CLASSES), 30)
    assert all(8 <= n < 22 for n in is_known.reshape(CLASSES, 30).sum(1)[:2])
    start: Any = from_correct().of_experts
    chosen = start(jax.random.key(0), table(), known, 2)
    assert chosen.shape == (CLASSES, 2, *SHAPE)
    classes = np.argmax(by_brightness(0.0, chosen.reshape(-1, *SHAPE)), -1)
    assert classes.tolist() == [0, 0, 1, 1, 2, 2]
    # Where no image is known, others are taken.
    nothing = known._replace(network=lambda params, images: jnp.zeros((len(images), 3)))
    assert start(jax.random.key(0), table(), nothing, 2).shape == chosen.shape


def test_the_targets_labels_are_those_of_the_target():
    recipe = small(labels=target_labels())
    made, state, _ = after_one(recipe)
    known = Experts.of(made.model, data())
    first = made.init(jax.random.key(0), data())
    images = flat(made.decode(first)).images[:, 0]
    targets = [experts().snapshots[e, t] for e in range(EXPERTS) for t in range(2, EPOCHS + 1)]
    errors = [
        np.abs(known.logits(s, images) - state.labels.reshape(-1, CLASSES)).max() for s in targets
    ]
    assert min(errors) < 1e-4
    np.testing.assert_allclose(made.learned(state).labels, jax.nn.softmax(state.labels))
    assert "labels" not in state.synthetic


def test_the_reference_of_the_first_labels(reference):
    arrays = reference("datm_soft")
    logits, labels = (jnp.asarray(arrays[f"init.{name}"]) for name in ("expert_logits", "labels"))
    got = mean_of_correct(logits, labels)
    np.testing.assert_allclose(got, arrays["init.label_logits"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("epochs", "windows"),
    [
        (methods.uniform_epochs(4), {0: range(4), 999: range(4)}),
        (methods.uniform_epochs(4, first=2), {0: range(2, 4)}),
        (
            methods.widening_epochs(7, first_stop=3, iterations=8, first=1),
            {
                0: range(1, 3),
                1: range(1, 3),
                2: range(1, 4),
                7: range(1, 6),
                8: range(1, 7),
                99: range(1, 7),
            },
        ),
    ],
)
def test_the_support_of_start_epochs(epochs, windows):
    draw = jax.jit(jax.vmap(epochs.draw, (0, None)))
    for iteration, window in windows.items():
        drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 200), jnp.int32(iteration)))
        assert set(drawn.tolist()) == set(window), iteration
        assert drawn.max() < epochs.stop


@pytest.mark.parametrize("parametrisation", [synthetic.multi_formation(2), tinted(2)])
def test_other_parametrisations_fit(parametrisation):
    groups = {"tints": 1.0} if parametrisation.variants > 1 else {}
    recipe = small(synthetic=parametrisation, optimizer=rates(**groups))
    made = methods.build(recipe, small_model())
    state = jax.eval_shape(made.init, jax.random.key(0), data())
    after, _ = jax.eval_shape(made.step, state, data())
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    images = 8 if parametrisation.variants == 1 else 2
    variants = parametrisation.variants
    assert jax.eval_shape(made.decode, state).images.shape == (CLASSES, images, variants, *SHAPE)


def short(epochs: int) -> Data:
    return Data(table(), Trajectories(experts().snapshots[:, : epochs + 1]))


def odd(name: str) -> synthetic.Parametrisation:
    pixels = synthetic.pixels
    return dataclasses.replace(
        pixels,
        init=lambda key, images: {name: images},
        decode=lambda params, variant: pixels.decode({"images": params[name]}, variant),
    )


@pytest.mark.parametrize(
    ("recipe", "real", "message"),
    [
        ({}, Data(table()), "experts: matching trajectories needs recorded ones.*got NoneType"),
        (
            {},
            Data(table(), experts().snapshots),  # type: ignore[arg-type]
            "experts: matching trajectories needs recorded ones, .*got ",
        ),
        ({}, table(), "data must be a jdd.data.Data"),
        ({}, short(3), "read epoch 4 of an expert, but 3 are stored.*--epochs 4"),
        ({"expert_epochs": 4}, data(), "read epoch 6 of an expert, but 5 are stored"),
        (
            {},
            Data(table(), Trajectories(jnp.zeros((2, 5, 7)))),
            "has 223 parameters, the experts have snapshots",
        ),
        ({"ipc": 31}, data(), "ipc .* must be between 1 and the smallest class"),
        ({"ipc": 31, "initial": from_correct()}, data(), "between 1 and the smallest class"),
        (
            {"synthetic": odd("labels")},
            data(),
            "must have a dictionary of parameters without step_size",
        ),
        (
            {"optimizer": methods.by_group(images=methods.sgd(1.0))},
            data(),
            "the groups images, the param",
        ),
    ],
)
def test_runs_that_cannot_be_are_refused(recipe, real, message):
    made = methods.build(small(**recipe), small_model())
    if "parameters, the" in message:
        size = sum(x.size for x in jax.tree.leaves(small_model().init(jax.random.key(0))))
        message = message.replace("223", str(size))
    with pytest.raises(ValueError, match=message) as caught:
        jax.eval_shape(made.init, jax.random.key(0), real)
    assert "\n" not in str(caught.value)


def test_networks_and_objectives_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match=r"trajectories hold parameters alone, and .* has BatchNorm"
    ):
        methods.build(small(), small_model("batch"))
    made = methods.build(small(objective=unroll(1)), small_model())
    state = jax.eval_shape(made.init, jax.random.key(0), data())
    with pytest.raises(ValueError, match="objective of mtt must end in a scalar"):
        jax.eval_shape(made.step, state, data())
    of_networks = methods.build(
        dataclasses.replace(jdd.dm(1), initial=from_correct()), small_model()
    )
    with pytest.raises(ValueError, match="from_correct needs experts"):
        jax.eval_shape(of_networks.init, jax.random.key(0), data())
    with pytest.raises(ValueError, match="build needs a Recipe or a TrajectoryRecipe, got 3"):
        methods.build(3, nn.convnet(2, (8, 8, 1)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: methods.log_step_size(0), "initial must be above 0 and finite, got 0"),
        (lambda: methods.raw_step_size(-1.0), "initial must be above 0"),
        (lambda: methods.raw_step_size(1e-4, least=1e-3), "initial must be at least least, 0.001"),
        (lambda: methods.uniform_epochs(0), "stop must be at least 1, got 0"),
        (lambda: methods.uniform_epochs(2, first=2), "stop must be above first, 2, got 2"),
        (lambda: methods.uniform_epochs(2, first=-1), "first must be at least 0"),
        (
            lambda: methods.widening_epochs(3, first_stop=4, iterations=1),
            "stop must be at least first_stop, 4, got 3",
        ),
        (
            lambda: methods.widening_epochs(3, first_stop=0, iterations=1),
            "first_stop must be at least 1",
        ),
        (
            lambda: methods.widening_epochs(3, first_stop=1, iterations=0),
            "iterations must be at least 1",
        ),
        (lambda: small(expert_epochs=0), "expert_epochs must be at least 1, got 0"),
        (lambda: small(iterations=0), "iterations must be at least 1, got 0"),
        (lambda: small(iterations=2**31), "iterations must be below 2147483648"),
        (lambda: small(skip_above=0), "skip_above must be above 0"),
        (lambda: small(average=1.0), "average must be at least 0 and below 1"),
        (lambda: small(labels="soft"), "labels must be of kind Labels, got 'soft'"),
        (lambda: small(start_epochs=3), "start_epochs must be of kind StartEpochs, got 3"),
        (lambda: small(step_size=0.1), "step_size must be of kind StepSize, got 0.1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_tables_of_the_papers():
    mtt = jdd.mtt(10, data="cifar10")
    assert mtt.step_size == methods.log_step_size(1e-3)
    assert mtt.objective == chain(unroll(30), trajectory_distance())
    assert (mtt.start_epochs, mtt.expert_epochs) == (methods.uniform_epochs(20), 2)
    assert mtt.last_epoch == 21 and mtt.total_steps == mtt.iterations == 5000
    assert mtt.optimizer == methods.by_group(
        images=methods.sgd(100.0, 0.5), step_size=methods.sgd(1e-5 * 100**2, 0.5)
    )
    assert jdd.mtt(50, data="cifar100").objective == chain(
        unroll(80, batch_size=125), trajectory_distance()
    )
    assert jdd.mtt(1, data="cifar100").expert_epochs == 3
    assert jdd.mtt(7, data="svhn").start_epochs == jdd.mtt(1, data="cifar10").start_epochs
    tesla = jdd.tesla(1, data="cifar10", soft_labels=True)
    assert "gradient=frozen()" in str(tesla.objective) and tesla.labels == target_labels()
    assert "sgd(500.0" in str(tesla.optimizer) and tesla.start_epochs == methods.uniform_epochs(5)
    assert (jdd.ftd(10, data="cifar10").average, jdd.mtt(10).average) == (0.9995, None)
    datm = jdd.datm(1000, data="cifar10")
    assert datm.start_epochs == methods.uniform_epochs(60, first=40)
    assert jdd.datm(1, data="cifar10").skip_above == 1.1 and datm.skip_above == 1.0
    assert jdd.datm(1, data="cifar100").expert_epochs == 3
    assert "labels=sgd(10.0, momentum=0.9)" in str(datm.optimizer)
    assert datm.protocol == mtt.protocol == jdd.dsa(1, data="cifar10").protocol
