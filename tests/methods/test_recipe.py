"""Recipes as values: printing, equality, JSON, refusals, and a preset from outside."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import optax
import pytest

import jdd
from jdd import augment, data, evaluate, matching, methods, synthetic
from jdd.methods import CHOICES, PRESETS, Recipe, TrajectoryRecipe, recipe_from_json
from tests.methods.small_runs import resumed, run, same, small


def every_recipe() -> dict[str, Any]:
    recipes = {name: preset.recipe(10, data="cifar10") for name, preset in PRESETS.items()}
    composed = dataclasses.replace(
        jdd.dsa(1),
        name="composed",
        objective=matching.add(
            methods.class_gradients(), matching.scale(0.1, methods.class_embeddings())
        ),
        sampler=data.uniform(64),
        motion=methods.on_real(128, augment=augment.dsa_augmentation("crop")),
        optimizer=methods.by_group(images=methods.adam(0.01)),
        decay=methods.halved_after([0.5]),
        protocol=dataclasses.replace(evaluate.PROTOCOLS["dc"], name="own", epochs=20),
        networks_per_update=1,
        over_classes=4,
    )
    return recipes | {"composed": composed}


RECIPES = every_recipe()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_written_as_json_and_read_from_it(name):
    recipe = RECIPES[name]
    text = recipe.to_json()
    again = recipe_from_json(text)
    assert again == recipe and hash(again) == hash(recipe) and again is not recipe
    assert again.to_json() == text and str(again) == str(recipe)
    assert type(recipe).from_json(json.loads(text)) == recipe
    assert recipe_from_json(recipe.record()) == recipe
    assert json.loads(text)["version"] == 1


@pytest.mark.parametrize("name", PRESETS)
def test_equal_calls_make_equal_recipes(name):
    make = PRESETS[name].recipe
    assert make(10, data="cifar10") == RECIPES[name]
    assert len({make(10, data="cifar10"), RECIPES[name]}) == 1
    assert make(9, data="cifar10") != RECIPES[name]


def test_numbers_of_numpy_are_numbers():
    two, nine = np.int64(2), np.int64(9)
    recipe = dataclasses.replace(jdd.dm(two), networks=np.int32(7), sampler=data.uniform(nine))  # type: ignore[arg-type]
    usual = dataclasses.replace(jdd.dm(2), networks=7, sampler=data.uniform(9))
    assert recipe == usual and str(recipe) == str(usual)
    assert Recipe.from_json(recipe.to_json()) == usual


def test_recipes_of_different_methods_differ():
    assert len(set(RECIPES.values())) == len(RECIPES)
    base = RECIPES["dsa"]
    others: dict[str, Any] = {
        "name": "own",
        "ipc": 9,
        "objective": methods.collective_gradients(),
        "optimizer": methods.sgd(0.2, 0.5),
        "protocol": evaluate.PROTOCOLS["dc"],
        "initial": synthetic.from_noise(),
        "sampler": data.uniform(255),
        "augment": augment.no_augmentation(),
        "motion": methods.on_synthetic(49),
        "networks": 999,
        "updates": 9,
        "norm_policy": methods.frozen_statistics(15),
        "decay": methods.halved_after(),
        "pool": "SS",
        "over_classes": "vmap",
    }
    changed = [dataclasses.replace(base, **{name: value}) for name, value in others.items()]
    assert len({base, *changed}) == 1 + len(others)


@pytest.mark.parametrize("name", RECIPES)
def test_print_shows_every_field_with_its_numbers(name):
    recipe = RECIPES[name]
    lines = dict(line.split(maxsplit=1) for line in str(recipe).splitlines())
    shown = [f.name for f in dataclasses.fields(recipe) if getattr(recipe, f.name) is not None]
    assert list(lines) == shown
    assert lines["name"] == recipe.name and lines["ipc"] == str(recipe.ipc)
    assert all(lines[count] == str(getattr(recipe, count)) for count in recipe.counts)


def test_print_of_dsa_in_full():
    lines = dict(line.split(maxsplit=1) for line in str(jdd.dsa(10, data="cifar10")).splitlines())
    assert lines["sampler"] == "uniform(256)"
    assert lines["optimizer"] == "sgd(0.1, momentum=0.5)"
    assert lines["objective"] == "class_gradients()"
    assert lines["augment"] == "dsa_augmentation('color_crop_cutout_flip_scale_rotate')"
    assert lines["motion"] == ("on_synthetic(50, learning_rate=0.01, momentum=0.0, batch_size=256)")
    assert lines["norm_policy"] == "frozen_statistics(16)"
    assert lines["protocol"].startswith("dsa: 1001 epochs of SGD (learning rate 0.01")
    cafe = dict(line.split(maxsplit=1) for line in str(jdd.cafe(10)).splitlines())
    assert "discrimination_weight=0.01" in cafe["objective"]
    assert "outer=0.04" in cafe["motion"] and cafe["decay"] == "halved_after((0.6, 0.8, 0.9))"


OTHER_KINDS: dict[str, Any] = {
    "synthetic": synthetic.from_real(),
    "initial": synthetic.pixels,
    "sampler": methods.never(),
    "augment": "crop",
    "objective": methods.sgd(0.1),
    "motion": None,
    "optimizer": 0.1,
    "norm_policy": "batch",
    "decay": 0.5,
}


@pytest.mark.parametrize("field", CHOICES)
def test_a_choice_of_another_kind_is_refused(field):
    with pytest.raises(ValueError) as caught:
        dataclasses.replace(jdd.dsa(1), **{field: OTHER_KINDS[field]})
    message = str(caught.value)
    assert message.startswith(f"{field} must be of kind {CHOICES[field].__name__}, got ")
    assert "\n" not in message
    as_json = jdd.dsa(1).record() | {field: methods.never().to_json()}
    if field != "motion":
        with pytest.raises(ValueError, match=rf"^{field} must be of kind .*got never\(\)"):
            Recipe.from_json(as_json)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ipc": 0}, "ipc must be at least 1, got 0"),
        ({"ipc": 1.5}, "ipc must be a whole number of at least 1, got 1.5"),
        ({"networks": 0}, "networks must be at least 1, got 0"),
        ({"networks": 0.5}, "networks must be a whole number of at least 1, got 0.5"),
        ({"networks": True}, "networks must be a whole number"),
        ({"updates": 0}, "updates must be at least 1, got 0"),
        ({"networks_per_update": 0}, "networks_per_update must be at least 1, got 0"),
        ({"networks": 2**16, "updates": 2**15}, "networks times updates must be below 2147483648"),
        ({"pool": "M"}, "unknown pool 'M'"),
        ({"over_classes": "vamp"}, "over_classes must be 'map', 'vmap' or a number"),
        ({"over_classes": 0}, "over_classes must be 'map', 'vmap' or a number"),
        ({"protocol": "dsa"}, "protocol must be an EvaluationProtocol, got 'dsa'"),
        ({"name": 3}, "name must be a text, got 3"),
    ],
    ids=str,
)
def test_numbers_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(jdd.dsa(1), **changes)
    if "protocol" not in changes:
        with pytest.raises(ValueError, match=message):
            Recipe.from_json(jdd.dsa(1).record() | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 9}, "the recipe has version 9, this jdd reads version 1"),
        ({"version": None}, "the recipe has version None"),
        ({"sampelr": 1}, r"unknown entry of a recipe 'sampelr', did you mean 'sampler'\?"),
        ({"ipc": None}, "the recipe has no entry ipc"),
        ({"objective": None}, "the recipe has no entry objective"),
        ({"protocol": 3}, "protocol: a protocol must be a JSON object, got 3"),
        ({"protocol": {"version": 2}}, "protocol: the protocol cannot be read"),
        ({"sampler": {"choice": "unifrm"}}, "sampler: unknown choice 'unifrm', did you mean"),
        ({"sampler": {"choice": "uniform", "n": 0}}, "sampler: n must be at least 1, got 0"),
    ],
    ids=str,
)
def test_unreadable_json_is_one_clear_line(changes, message):
    record = jdd.dsa(1).record() | changes
    record = {name: value for name, value in record.items() if value is not None}
    with pytest.raises(ValueError, match=message) as caught:
        Recipe.from_json(json.dumps(record))
    assert "\n" not in str(caught.value)


def test_a_recipe_of_another_family_is_refused():
    mtt, dsa = jdd.mtt(1), jdd.dsa(1)
    with pytest.raises(ValueError, match="is of the family 'trajectories', not 'networks'"):
        Recipe.from_json(mtt.to_json())
    with pytest.raises(ValueError, match="is of the family 'networks', not 'trajectories'"):
        TrajectoryRecipe.from_json(dsa.to_json())
    with pytest.raises(ValueError, match="unknown family of recipes 'trees'"):
        recipe_from_json(mtt.record() | {"family": "trees"})


def test_what_is_no_json_is_one_clear_line():
    for content, message in (
        ("{", "the recipe is not JSON"),
        ("[]", r"the recipe has version \[\]"),
        ("3", "the recipe has version 3"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            Recipe.from_json(content)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sampler", dataclasses.replace(data.uniform(3))),
        ("objective", matching.chain(matching.stateless(lambda value, context: value))),
        ("optimizer", optax.sgd(0.1)),
        ("motion", methods.on_real(8, augment=dataclasses.replace(augment.no_augmentation()))),
    ],
)
def test_a_recipe_with_a_choice_without_a_name_cannot_be_saved(field, value):
    recipe = dataclasses.replace(jdd.dsa(1), **{field: value})
    assert recipe == recipe and field in str(recipe)
    with pytest.raises(ValueError, match=rf"the recipe cannot be saved: {field}: .*jdd\.register"):
        recipe.to_json()


# A preset from outside, as a user writes it: under 40 lines.


@jdd.register
def feature_means(weight: float = 1.0) -> matching.Stage:
    """Class-wise distance between mean embeddings, to the power of one half."""
    root = matching.distance(root_distance)
    return matching.per_class(
        matching.chain(
            matching.siamese(),
            matching.embeddings(),
            matching.batch_mean(),
            matching.scale(weight, root),
        )
    )


def root_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    return jax.numpy.sqrt(1e-6 + jax.numpy.square(a - b).sum())


def root_means(
    ipc: int, *, data: str = "", architecture: str = "convnet", weight: float = 2.0
) -> Recipe:
    """A method of its own: embeddings, Adam, networks that train on real images."""
    return Recipe(
        name="root-means",
        ipc=ipc,
        objective=feature_means(weight),
        optimizer=methods.adam(0.05),
        protocol=evaluate.dsa_protocol("crop"),
        augment=augment.dsa_augmentation("crop"),
        motion=methods.on_real(12, batch_size=6),
        networks=2,
        updates=3,
        sampler=jdd.data.uniform(6),
    )


def test_a_preset_from_outside_distils_resumes_and_is_saved():
    recipe = root_means(2)
    assert (
        Recipe.from_json(recipe.to_json()) == root_means(2, weight=2.0) != root_means(2, weight=1.0)
    )
    assert "feature_means(2.0)" in str(recipe)
    whole, losses = run(recipe)
    assert np.isfinite(losses).all() and len(set(losses.tolist())) == 6
    assert same(whole, resumed(recipe, 2, 1, 3))


def test_a_recipe_of_small_changes_is_the_preset_with_these_changes():
    recipe = small("dsa")
    assert recipe.name == "dsa" and recipe.total_steps == 8
    assert dataclasses.replace(recipe, networks=1000).networks == 1000
    assert recipe == small("dsa") and hash(recipe) == hash(small("dsa"))
