"""Choices: equality, text and JSON of the call that made a value, and what cannot be read or saved."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jdd
from jdd import augment, baselines, choice, data, losses, matching, methods, synthetic
from jdd.choice import Choice, from_json, parse, register, register_function
from jdd.data import Sampler
from jdd.matching import Stage

WARM_UP = methods.after_warm_up(2, 1, updates_per_network=3)
# Text as it is printed, and the value.
VALUES: dict[str, Choice] = {
    "uniform()": data.uniform(256),
    "uniform(64)": data.uniform(64),
    "pixels()": synthetic.pixels,
    "from_noise()": synthetic.from_noise(),
    "from_herding()": baselines.from_herding(),
    "never()": methods.never(),
    "on_synthetic(50, learning_rate=0.1)": methods.on_synthetic(50, learning_rate=0.1),
    "on_real(128, first_images=64, augment=dsa_augmentation('crop'))": methods.on_real(
        128, first_images=64, augment=augment.dsa_augmentation("crop")
    ),
    "by_queries(query=32)": methods.by_queries(query=32),
    "sgd(0.1, momentum=0.5)": methods.sgd(0.1, 0.5),
    "by_group(images=sgd(0.1), tints=adam(0.01))": methods.by_group(
        images=methods.sgd(0.1), tints=methods.adam(0.01)
    ),
    "halved_after((0.25,))": methods.halved_after([0.25]),
    "siamese('crop')": matching.siamese("crop"),
    "gradients(real_micro_batch=3)": matching.gradients(
        loss=losses.cross_entropy, real_micro_batch=3
    ),
    "distance(losses.absolute_error)": matching.distance(losses.absolute_error),
    "layer_features((1.0, 0.5), discrimination_weight=0.0)": methods.layer_features(
        [1.0, 0.5], discrimination_weight=0.0
    ),
    "per_class(chain(siamese(), gradients(), squared_error()), over_classes=2)": matching.per_class(
        matching.chain(matching.siamese(), matching.gradients(), matching.squared_error()),
        over_classes=2,
    ),
    "add(class_gradients(), scale(-0.1, stage=class_embeddings(strategy='crop_flip')))": matching.add(
        methods.class_gradients(),
        matching.scale(-0.1, methods.class_embeddings(strategy="crop_flip")),
    ),
    (
        "switch(after_warm_up(2, updates=1, updates_per_network=3), class_gradients(flat_cosine()), "
        "collective_gradients())"
    ): matching.switch(
        WARM_UP, methods.class_gradients(matching.flat_cosine()), methods.collective_gradients()
    ),
}


@register
def every_kind(first: int = 1, second: int = 2, *rest: Stage, named: str = "a") -> Sampler:
    """A factory with arguments of every kind, several before ``*rest``."""
    del first, second, rest, named
    return dataclasses.replace(data.uniform(1))


@pytest.mark.parametrize("text", VALUES)
def test_a_value_prints_as_the_call_that_makes_it_and_is_read_from_it(text):
    value = VALUES[text]
    assert str(value) == repr(value) == text
    again = parse(text)
    assert again == value and hash(again) == hash(value) and again is not value
    assert type(again) is type(value)


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_written_as_json_and_read_from_it(text):
    value = VALUES[text]
    content = json.loads(json.dumps(value.to_json(), allow_nan=False))
    again = from_json(content)
    assert again == value and str(again) == text and again.to_json() == value.to_json()
    assert parse(value.describe()) == value


def test_values_differ_where_one_argument_does():
    values = [*VALUES.values(), data.uniform(65), methods.sgd(0.1), methods.adam(0.1)]
    assert len(set(values)) == len(values)
    assert methods.sgd(0.1) != methods.by_group(images=methods.sgd(0.1))
    deep = [methods.class_gradients(matching.layerwise_cosine(eps=e)) for e in (1e-6, 1e-5)]
    assert deep[0] != deep[1] and str(deep[1]) == "class_gradients(layerwise_cosine(eps=1e-05))"
    assert data.uniform(1) != "uniform(1)" and data.uniform(1) != synthetic.pixels
    # How an argument came plays no part.
    assert data.uniform() == data.uniform(n=256) == data.uniform(256)
    assert methods.layer_features([1.0]) == methods.layer_features((1.0,))
    eight, half = (np.int64(8), np.float32(0.5))
    assert data.uniform(eight) == data.uniform(8) and str(data.uniform(eight)) == "uniform(8)"  # type: ignore[arg-type]
    assert methods.sgd(half).to_json() == methods.sgd(0.5).to_json()  # type: ignore[arg-type]


def test_describe_also_shows_defaults():
    assert data.uniform().describe() == "uniform(256)"
    assert methods.sgd(0.1).describe() == "sgd(0.1, momentum=0.0)"
    assert methods.class_gradients().describe() == "class_gradients()"
    whole = matching.scale(0.5, methods.layer_features()).describe()
    assert whole == "scale(0.5, stage=layer_features(discrimination_weight=0.01))"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (every_kind(), "every_kind()"),
        (every_kind(1, 3), "every_kind(second=3)"),
        (every_kind(named="b"), "every_kind(named='b')"),
        (every_kind(1, 2, matching.gradients()), "every_kind(1, 2, gradients())"),
        (
            every_kind(4, 5, matching.gradients(), matching.siamese("none"), named="b"),
            "every_kind(4, 5, gradients(), siamese('none'), named='b')",
        ),
    ],
)
def test_arguments_before_variadic_ones(value, text):
    assert str(value) == text
    assert parse(text) == value == from_json(value.to_json()) == parse(value.describe())
    assert value.with_arguments(second=7).with_arguments(second=value_of(value, "second")) == value


def value_of(value: Choice, argument: str) -> Any:
    assert value.expression is not None
    return dict(value.expression.arguments)[argument]


def test_a_name_alone_is_a_call_and_functions_have_names():
    assert parse("uniform") == data.uniform()
    assert parse("class_gradients(distance(losses.squared_error))") == methods.class_gradients(
        matching.distance(losses.squared_error)
    )
    assert parse("losses.cross_entropy") is losses.cross_entropy
    assert parse("gradients(loss=losses.cross_entropy)") == matching.gradients()
    assert parse(" (1, -2.5, 'a', None, True, ()) ") == (1, -2.5, "a", None, True, ())
    assert matching.distance(losses.squared_error).to_json() == {
        "choice": "distance",
        "function": {"function": "losses.squared_error"},
    }


def test_other_arguments_of_a_value():
    value = methods.sgd(0.1, 0.5)
    assert value.with_arguments(momentum=0.9) == methods.sgd(0.1, 0.9) and value == methods.sgd(
        0.1, 0.5
    )
    switch = matching.switch(WARM_UP, methods.class_gradients(), methods.collective_gradients())
    later = switch.with_arguments(index=WARM_UP.with_arguments(networks=5))
    assert str(later).startswith("switch(after_warm_up(5, ")
    for stages in ((matching.gradients(),), [matching.gradients()]):
        chain = matching.chain(matching.siamese()).with_arguments(stages=stages)
        assert chain == matching.chain(matching.gradients())
    with pytest.raises(
        ValueError, match=r"^sgd\(0.1, momentum=0.5\) has no rate \(its arguments: "
    ):
        value.with_arguments(rate=1.0)
    with pytest.raises(ValueError, match=r"momentum must be at least 0 and below 1, got 1\.0"):
        value.with_arguments(momentum=1.0)
    with pytest.raises(ValueError, match="<unregistered Sampler> has no arguments to change"):
        unregistered().with_arguments(n=1)


def unregistered() -> Sampler:
    return dataclasses.replace(data.uniform(1))


def test_a_value_without_a_registered_factory_works_and_equals_only_itself():
    one, other = unregistered(), unregistered()
    assert one == one and one != other and one != data.uniform(1)
    assert len({one, other, one}) == 2 and repr(one) == "<unregistered Sampler>" == one.describe()
    recipe = dataclasses.replace(methods.dm(1), sampler=one)
    assert recipe == dataclasses.replace(methods.dm(1), sampler=one)
    assert recipe != dataclasses.replace(methods.dm(1), sampler=other)
    inside = matching.chain(matching.stateless(lambda value, context: value))
    assert str(inside) == "chain(<unregistered Stage>)" and inside == inside


def test_a_changed_value_is_not_the_value_of_its_factory():
    stage = matching.gradients()
    changed = dataclasses.replace(stage, init=lambda key: 0)
    assert changed.expression is None and changed != stage and stage.expression is not None


def test_an_argument_that_cannot_be_compared_makes_the_value_unregistered():
    stage = matching.scale(jnp.float32(0.5), matching.stateless(lambda value, context: value))
    assert stage.expression is None and stage == stage
    context = matching.Context(lambda params, x: x, {}, jax.random.key(0))
    assert matching.value_of(stage, 2.0, context) == 1.0


def test_optax_transforms_are_optimisers_that_cannot_be_saved():
    recipe = dataclasses.replace(methods.dm(1), optimizer=optax.sgd(0.1))  # type: ignore[arg-type]
    assert isinstance(recipe.optimizer, methods.Optimizer) and recipe.optimizer.expression is None


def squared(a: Any, b: Any) -> Any:
    return ((a - b) ** 2).sum()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            unregistered(),
            "Sampler: this Sampler has no name, so it cannot be saved: decorate the function that "
            "makes it with @jdd.register",
        ),
        (
            matching.chain(matching.siamese(), matching.stateless(lambda v, c: v)),
            "Stage.stages: this Stage has no name",
        ),
        (matching.distance(squared), "Stage.function: the function <function squared"),
        (
            matching.scale(optax.constant_schedule(1.0), methods.class_embeddings()),
            "has no name: use jdd.register_function",
        ),
    ],
)
def test_what_has_no_name_cannot_be_saved(value, message):
    with pytest.raises(ValueError) as caught:
        value.to_json()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_names_of_the_user():
    register_function("test_choice.squared", squared)
    register_function("test_choice.squared", squared)  # again, as a notebook does
    stage = matching.distance(squared)
    assert str(stage) == "distance(test_choice.squared)"
    assert from_json(stage.to_json()) == parse(str(stage)) == stage
    with pytest.raises(ValueError, match=r"'losses.squared_error' is taken by a function of jdd"):
        register_function("losses.squared_error", squared)
    assert choice.FUNCTIONS["losses.squared_error"] is losses.squared_error

    def uniform(n: int) -> Sampler:
        return data.uniform(n)

    with pytest.raises(ValueError, match=r"the name 'uniform' is taken by a factory of jdd\.data"):
        register(uniform)
    renamed = register(uniform, "renamed_uniform")
    assert str(renamed(3)) == "renamed_uniform(3)" != str(data.uniform(3)) and renamed(
        3
    ) != data.uniform(3)
    # The value that the factory returned keeps its expression.
    assert renamed(n=3) == parse("renamed_uniform(3)")
    with pytest.raises(ValueError, match="by_group: no group can be named 'choice'"):
        methods.by_group(choice=methods.sgd(0.1))


UNREADABLE: dict[str, tuple[str, str]] = {
    "unknown name": (
        "unifrm(3)",
        "unknown choice 'unifrm', did you mean 'uniform'? (allowed: uniform",
    ),
    "unknown name that resembles none": ("xyzzy", "unknown choice 'xyzzy' (allowed: "),
    "unknown name inside": ("chain(gradient)", "unknown choice 'gradient', did you mean"),
    "unknown argument": (
        "on_synthetic(5, learning_rat=0.1)",
        "on_synthetic has no argument 'learning_rat', did you mean 'learning_rate'? (allowed: epochs, ",
    ),
    "unknown argument of a factory without any": (
        "never(epochs=1)",
        "never has no argument 'epochs' (allowed: none)",
    ),
    "argument too many": ("uniform(1, 2)", "uniform: too many positional arguments"),
    "argument missing": ("sgd()", "sgd: missing a required argument: 'learning_rate'"),
    "argument by place and by name": ("uniform(1, n=2)", "multiple values for argument 'n'"),
    "argument twice": ("uniform(n=1, n=2)", "name each argument once"),
    "arguments from a dictionary": ("by_group(**adam(0.1))", "without **"),
    "stages from a list": ("chain(*gradients)", "cannot read '*gradients'"),
    "stages that are no list": ("chain(stages=3)", "chain: stages must be a list, got 3"),
    "value out of range": ("uniform(0)", "n must be at least 1, got 0"),
    "value of another kind": ("uniform('a')", "n must be a whole number of at least 1, got 'a'"),
    "stage that is a number": ("chain(gradients, 3)", "chain needs stages, got 3"),
    "stage that is another choice": ("per_class(uniform)", "per_class needs stages, got uniform()"),
    "schedule missing": (
        "switch(gradients, gradients)",
        "switch needs a function of the step first, got gradients()",
    ),
    "factor of another kind": ("scale('a', gradients)", "scale needs a number or a function"),
    "loss that is a number": ("gradients(loss=3)", "gradients needs a function, got 3"),
    "optimiser that is a number": ("by_group(a=3)", "a must be of kind Optimizer, got 3"),
    "augmentation that is a text": (
        "on_synthetic(1, augment='crop')",
        "augment must be of kind Augmentation or None, got 'crop'",
    ),
    "run of code": ("__import__('os')", "unknown choice '__import__'"),
    "run of code in a method": (
        "__import__('os').system('true')",
        "it must be a number, a text or NAME(...)",
    ),
    "attribute": ("uniform.draw", "unknown choice 'uniform.draw'"),
    "attribute of a value": ("uniform(3).draw", "unknown choice 'uniform(3).draw'"),
    "dunder": ("().__class__", "unknown choice '().__class__'"),
    "function of a module": ("os.system('true')", "cannot read \"os.system('true')\""),
    "arithmetic": ("uniform(1 + 1)", "cannot read '1 + 1' in 'uniform(1 + 1)'"),
    "lambda": ("scale(lambda step: 1, gradients)", "cannot read 'lambda step: 1'"),
    "comprehension": ("[x for x in (1, 2)]", "cannot read '[x for x in (1, 2)]'"),
    "f-string": ("siamese(f'{1}')", "cannot read"),
    "dictionary": ("{'a': 1}", "cannot read"),
    "complex number": ("uniform(1j)", "cannot read '1j'"),
    "bytes": ("siamese(b'crop')", "cannot read"),
    "statement": ("n = 1", "cannot read 'n = 1': write NAME or NAME(ARGUMENT, NAME=VALUE)"),
    "two statements": ("uniform(1); uniform(2)", "write NAME or NAME("),
    "two lines": ("uniform\n(3)", "write NAME or NAME("),
    "open bracket": ("uniform(3", "cannot read 'uniform(3': write NAME"),
    "nothing": ("", "cannot read '': write NAME"),
    "a null byte": ("\0", "cannot read '\\x00'"),
    "brackets that are deep": ("(" * 300, "cannot read"),
    "signs that are deep": ("-" * 900 + "1", "nested this deeply"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable_text_is_one_clear_line(case):
    text, message = UNREADABLE[case]
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"choice": "unifrm"}, "unknown choice 'unifrm', did you mean 'uniform'?"),
        ({"choice": "uniform", "m": 1}, "uniform has no argument 'm'"),
        ({"choice": "uniform", "n": 0}, "n must be at least 1, got 0"),
        ({"choice": "uniform", "n": [1]}, "n must be a whole number of at least 1, got (1,)"),
        ({"choice": "sgd"}, "sgd: missing a required argument: 'learning_rate'"),
        ({"choice": 3}, "unknown choice 3"),
        ({"choice": ["uniform"]}, "unknown choice ['uniform']"),
        ({"name": "uniform"}, "a choice must have the entry 'choice', got ['name']"),
        ({"function": "os.system"}, "unknown function 'os.system'"),
        ({"function": "losses.cross_entopy"}, "did you mean 'losses.cross_entropy'?"),
        ({"choice": "chain", "stages": {"choice": "gradients"}}, "stages must be a list"),
        ({"choice": "switch", "stages": [{"choice": "gradients"}]}, "missing a required argument"),
        ({"choice": "distance", "function": 3}, "distance needs a function, got 3"),
    ],
    ids=str,
)
def test_unreadable_json_is_one_clear_line(content, message):
    with pytest.raises(ValueError) as caught:
        from_json(content)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_name_is_answered_by_those_of_its_kind():
    with pytest.raises(ValueError, match="did you mean 'on_real'") as caught:
        parse("real")
    assert (
        "from_real" in str(caught.value)
        and "from_herding" in str(caught.value)
        and "uniform" not in str(caught.value)
    )


def test_every_registered_factory_has_a_line_of_help():
    for name, factory in choice.FACTORIES.items():
        if factory.__module__.startswith("jdd.") and name != "pixels":
            assert factory.__doc__ and factory.__doc__.splitlines()[0].endswith("."), name


def test_reading_needs_no_other_import():
    """Initial images of a baseline and of a set, in processes that have imported no more than is called."""
    recipe = dataclasses.replace(jdd.dm(1), initial=baselines.from_k_centre())
    program = """
import sys
from jdd import choice
print(choice.parse("chain(gradients, distance(losses.squared_error))"))
import jdd
print(jdd.Recipe.from_json(sys.stdin.read()).initial, choice.parse("from_set('a')"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], input=recipe.to_json(), capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "chain(gradients(), distance(losses.squared_error))",
        "from_k_centre() from_set('a')",
    ], done.stderr


def test_a_factory_that_is_defined_anew_makes_other_values():
    """As in a notebook: a program that was compiled for the old value must not run for the new one."""

    def defined(n: int) -> Callable[[], augment.Augmentation]:
        def shifted() -> augment.Augmentation:
            return augment.Augmentation(lambda key, batch: batch, lambda key, x: x + n, "shifted")

        return register(shifted)

    old, new = defined(1)(), defined(2)()
    assert old != new and str(old) == str(new) == "shifted()" and parse("shifted()") == new
    context = matching.Context(lambda params, x: x, {}, jax.random.key(0))
    batch = data.Batch(jnp.zeros((1, 1, 1, 1)), jnp.zeros(1, int))

    @jax.jit
    def image(context):
        return matching.value_of(matching.siamese(), matching.Pair(batch, batch), context)

    for value, want in ((old, 1), (new, 2)):
        pair = image(dataclasses.replace(context, augment=value))
        assert pair.real.images.item() == want


def test_numbers_of_numpy_in_groups_are_numbers():
    width: Any = np.int64(8)
    value = data.random_network_features(width=width)
    assert value == data.random_network_features(width=8) == from_json(value.to_json())


def test_a_factory_must_return_a_choice():
    make: Any = register(lambda: 3, "three")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="three must return a choice, got int"):
        make()


def test_the_parts_of_a_choice():
    inside = matching.stateless(lambda value, context: value)
    whole = matching.chain(matching.per_class(inside), methods.warmed_up_gradients(WARM_UP))
    assert whole.parts() == [whole, matching.per_class(inside), inside, whole.parts()[3], WARM_UP]
    assert inside.parts() == [inside]


def test_calls_keep_name_documentation_and_signature():
    def make(n: int = 3) -> Sampler:
        """Makes a sampler."""
        return data.uniform(n)

    made: Callable[..., Sampler] = register(make, "made_for_a_test")
    assert made.__doc__ == "Makes a sampler." and made.__name__ == "make"
    assert str(made()) == "made_for_a_test()" and made() == made(3)
