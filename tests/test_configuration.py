"""One run as a value: equality, JSON, evaluation networks, and what cannot be."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import jdd
from jdd import augment, data, methods
from jdd.configuration import Configuration, DataChoice, EvaluationPlan
from jdd.nn import network
from tests.parametrisations import mosaic

WHOLE = Configuration(
    dataclasses.replace(
        jdd.dsac(2, data="digits", strategy="crop"),
        synthetic=mosaic(2),
        motion=methods.on_real(64, augment=augment.dsa_augmentation("flip")),
        sampler=data.uniform(32),
    ),
    DataChoice("folder:/a", ("cat", "dog"), test_share=0.25, fingerprint="sha256:ab"),
    network("resnet18bn_ap"),
    EvaluationPlan(networks=3, every=2, epochs=20, norm="instance", random=False, whole="no"),
    seed=2**32 - 1,
)
RUNS = {
    "whole": WHOLE,
    **{name: Configuration(preset.recipe(1)) for name, preset in methods.PRESETS.items()},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_configuration_is_written_as_json_and_read_from_it(name):
    run = RUNS[name]
    content = json.loads(json.dumps(run.record(), allow_nan=False))
    again = Configuration.from_record(content)
    assert again == run and hash(again) == hash(run)
    assert again.record() == content == run.record()
    assert content["version"] == 1


def test_numbers_of_numpy_are_written_as_json():
    run = Configuration(
        jdd.dm(np.int64(2)),  # type: ignore[arg-type]
        DataChoice("digits", [np.int64(3), np.str_("8")]),  # type: ignore[arg-type]
        evaluation=EvaluationPlan(np.int64(3), np.int32(1), np.int64(20)),  # type: ignore[arg-type]
        seed=np.uint32(5),  # type: ignore[arg-type]
    )
    content = json.loads(json.dumps(run.record()))
    assert content["data"]["classes"] == [3, "8"] and content["seed"] == 5
    assert Configuration.from_record(content) == run and hash(run)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (DataChoice, {"classes": "01"}, "classes must be a sequence of names .*, got '01'"),
        (EvaluationPlan, {"random": "no"}, "random must be True or False, got 'no'"),
        (
            Configuration,
            {"recipe": "dsa"},
            "recipe must be of kind Recipe or TrajectoryRecipe, got 'dsa'",
        ),
        (Configuration, {"data": "digits"}, "data must be of kind DataChoice, got 'digits'"),
        (Configuration, {"network": "mlp"}, "network must be of kind Network, got 'mlp'"),
        (Configuration, {"evaluation": 3}, "evaluation must be of kind EvaluationPlan, got 3"),
    ],
)
def test_values_of_another_kind_are_refused(kind: Any, arguments: dict[str, Any], message):
    usual: dict[str, Any] = {"recipe": jdd.dm(1)} if kind is Configuration else {}
    with pytest.raises(ValueError, match=f"^{message}"):
        kind(**usual | arguments)


def test_configurations_that_differ_in_one_field_differ():
    others: list[dict[str, Any]] = [
        {"recipe": dataclasses.replace(WHOLE.recipe, networks=7)},
        {"data": dataclasses.replace(WHOLE.data, classes=("dog", "cat"))},
        {"network": network("resnet18bn")},
        {"evaluation": dataclasses.replace(WHOLE.evaluation, every=3)},
        {"seed": 0},
    ]
    runs = {WHOLE, *(dataclasses.replace(WHOLE, **changes) for changes in others)}
    assert len(runs) == 1 + len(others)


@pytest.mark.parametrize(
    ("trained", "pool", "norm", "evaluated"),
    [
        ("convnet", "S", None, "convnet"),
        ("convnetbn", "S", None, "convnet"),
        ("convnetbn", "SS", None, "convnetbn"),
        ("convnet", "S", "batch", "convnetbn"),
        ("convnetbn", "S", "batch", "convnetbn"),
        ("convnetbn", "SS", "group", "convnetgn"),
        ("resnet18bn_ap", "S", None, "resnet18"),
        ("resnet18bn_ap", "S", "batch", "resnet18bn_ap"),
        ("mlp", "S", None, "mlp"),
    ],
)
def test_the_network_that_is_evaluated(trained, pool, norm, evaluated):
    recipe = dataclasses.replace(jdd.dsa(1), pool=pool)
    run = Configuration(recipe, network=network(trained), evaluation=EvaluationPlan(norm=norm))
    assert run.eval_network == network(evaluated)


def test_a_network_without_norms_has_none_to_choose():
    plan = EvaluationPlan(norm="batch")
    run = Configuration(jdd.dsa(1), network=network("mlp"), evaluation=plan)
    with pytest.raises(ValueError, match="norm: mlp has no norm"):
        _ = run.eval_network


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Configuration(jdd.dm(1), seed=-1), "seed must be at least 0, got -1"),
        (lambda: Configuration(jdd.dm(1), seed=2**32), "seed must be from 0 to 4294967295"),
        (lambda: Configuration(jdd.dm(1), seed=0.5), "seed must be a whole number"),  # type: ignore[arg-type]
        (lambda: EvaluationPlan(networks=0), "networks must be at least 1, got 0"),
        (lambda: EvaluationPlan(every=-1), "every must be at least 0, got -1"),
        (lambda: EvaluationPlan(epochs=0), "epochs must be at least 1, got 0"),
        (lambda: EvaluationPlan(whole="maybe"), "unknown whole 'maybe'"),  # type: ignore[arg-type]
    ],
)
def test_numbers_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def record(**changes: Any) -> dict[str, Any]:
    """A record with other entries; without those that are None."""
    return {name: value for name, value in (WHOLE.record() | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (3, "the configuration has version 3, this jdd reads version 1"),
        ({}, "the configuration has version None"),
        (record(version=9), "the configuration has version 9"),
        (record(recipe=None), "the configuration has no entry 'recipe'"),
        (record(seed=None), "the configuration has no entry 'seed'"),
        (record(seed=-1), "seed must be at least 0, got -1"),
        (record(recipe={"version": 9}), "the recipe has version 9"),
        (
            record(recipe=WHOLE.recipe.record() | {"sampler": {"choice": "unifrm"}}),
            "sampler: unknown choice 'unifrm', did you mean 'uniform'",
        ),
        (record(data=3), "the entry data must be a JSON object, got 3"),
        (record(data={"classes": "cat"}), "classes must be a list, got 'cat'"),
        (record(data={"nam": "a"}), "unknown entry of data 'nam', did you mean 'name'"),
        (record(evaluation={"network": 3}), "unknown entry of evaluation 'network', did you mean"),
        (record(evaluation={"networks": 0}), "networks must be at least 1, got 0"),
        (record(evaluation={"random": "no"}), "random must be True or False, got 'no'"),
        (record(network={"architecture": "convnt"}), "unknown architecture 'convnt', did you mean"),
        (record(network={"architecture": "mlp", "width": 3}), "mlp has no width"),
        (record(seeds=3), "unknown entry of the configuration 'seeds', did you mean 'seed'"),
    ],
)
def test_unreadable_records_are_one_clear_line(content, message):
    with pytest.raises(ValueError, match=message) as caught:
        Configuration.from_record(content)
    assert "\n" not in str(caught.value)


def test_a_choice_without_a_name_cannot_be_recorded():
    unnamed = dataclasses.replace(data.uniform(3))
    run = Configuration(dataclasses.replace(jdd.dm(1), sampler=unnamed))
    with pytest.raises(ValueError, match=r"cannot be saved: sampler: .*@jdd\.register"):
        run.record()
