"""Bases and hallucinators under the objectives of the papers: several steps, own rates, resuming, evaluation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import methods
from jdd.augment import idc_augmentation
from jdd.evaluate import EvaluationProtocol, evaluate
from jdd.synthetic import flat, hallucinated
from tests.methods.small_runs import build, data, resumed, run, same, small

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

OPTIMIZER = methods.by_group(bases=methods.sgd(0.1, 0.5), hallucinators=methods.sgd(0.01, 0.5))
SHORT = {"networks": 2, "updates": 2, "synthetic": hallucinated(3), "optimizer": OPTIMIZER}


def short(name: str, **changes: Any) -> methods.Recipe:
    usual: dict[str, Any] = {**SHORT}
    if name == "idc":
        usual["augment"] = idc_augmentation("color_crop")
    options = {"networks": 2, "updates": 2} if name == "dcc" else None
    return small(name, options=options, **usual | changes)


@pytest.mark.parametrize(
    "name",
    [
        "dsa",
        "dm",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("dcc", "cafe-fixed", "idc", "ncfm")),
    ],
)
def test_every_objective_moves_bases_and_hallucinators(name):
    recipe = short(name)
    method = build(recipe)
    start = method.init(jax.random.key(0), data())
    state, losses = run(recipe)
    assert np.isfinite(losses).all()
    before, after = start.synthetic, state.synthetic
    assert (before["bases"] != after["bases"]).any(-1).mean() > 0.5
    for group, x in after["hallucinators"].items():
        assert np.isfinite(x).all() and (x != before["hallucinators"][group]).any()
    decoded = method.decode(state)
    assert decoded.images.shape == (3, 2, 3, 8, 8, 1)
    assert decoded.labels.tolist() == [[c] * 2 for c in range(3)]


def test_a_run_resumes_bit_for_bit():
    state, _ = run(short("dm"))
    assert same(state, resumed(short("dm"), 1, 2, 1))


def test_groups_have_rates_of_their_own():
    params = hallucinated(2).init(jax.random.key(0), jnp.zeros((3, 1, 8, 8, 1)))
    transform = OPTIMIZER.transform
    steps, _ = transform.update(jax.tree.map(jnp.ones_like, params), transform.init(params))
    rates = jax.tree.map(lambda x: -float(x.mean()), steps)
    assert rates["bases"] == pytest.approx(0.1, rel=1e-5)
    assert rates["hallucinators"] == pytest.approx(
        dict.fromkeys(rates["hallucinators"], 0.01), rel=1e-5
    )
    with pytest.raises(ValueError, match="the parameters have bases, hallucinators"):
        methods.by_group(images=methods.sgd(1.0)).transform.init(params)


def test_idcs_optimiser_moves_bases_and_another_the_hallucinators():
    params = hallucinated(2).init(jax.random.key(0), jnp.zeros((3, 1, 8, 8, 1)))
    with pytest.raises(ValueError, match=r"leading axis is the class.*by_group"):
        methods.class_by_class(0.1).transform.init(params)
    both = methods.by_group(bases=methods.class_by_class(0.1), hallucinators=methods.sgd(0.01))
    ones: Any = jax.tree.map(jnp.ones_like, params)
    steps: Any = both.transform.update(ones, both.transform.init(params))[0]
    np.testing.assert_allclose(steps["bases"], -0.1 * (2 - 2.0**-2))


def test_networks_learn_from_a_hallucination_of_each_image():
    """The three classes differ in brightness, which the initial hallucinators keep."""
    recipe = short("dm")
    method = build(recipe)
    batch = flat(method.decode(method.init(jax.random.key(0), data())))
    protocol = EvaluationProtocol("quick", epochs=40, learning_rate=0.05)
    result = evaluate(
        *(jax.random.key(1), method.model, batch.images, batch.labels, data().table, protocol),
        num_networks=2,
    )
    assert np.isfinite(result.accuracies).all()
    assert methods.Recipe.from_json(recipe.to_json()) == recipe
