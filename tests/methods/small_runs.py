"""Small recipes, and the programs that run them: what several tests use is compiled once."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdd import methods
from jdd.data import ClassTable, Data, Split, class_table, uniform
from jdd.methods import PRESETS, Advance, Method, Recipe
from jdd.nn import Model, convnet

CLASSES, SHAPE = 3, (8, 8, 1)
# The presets that run here; later ones have files of their own.
PAPERS = ("dc", "dsa", "dcc", "dsac", "dm", "cafe", "cafe-fixed")
# Those of the family that goes over networks.
NETWORK_PRESETS = [name for name, preset in PRESETS.items() if preset.family is Recipe]
# Two ops of the six compile in half the time.
OPTIONS: dict[str, dict[str, Any]] = {
    "dsa": {"strategy": "crop_cutout"},
    "dsac": {"strategy": "crop_cutout", "networks": 4, "updates": 2},
    "dcc": {"networks": 4, "updates": 2},
    "dm": {"strategy": "crop_cutout"},
    "cafe": {"window": 3, "query": 16, "max_epochs": 4},
}
NETWORKS = {"cafe": 3}
UPDATES = {"cafe": 5}


@functools.cache
def table() -> ClassTable:
    """90 images of three classes that differ in brightness."""
    labels = np.arange(90, dtype=np.int32) % CLASSES
    images = np.random.default_rng(0).integers(0, 128, (90, *SHAPE), np.uint8)
    images += (40 * labels).astype(np.uint8)[:, None, None, None]
    return class_table(Split(images, labels), CLASSES, (0.5,), (0.25,))


def data() -> Data:
    """The table as a method receives it."""
    return Data(table())


def small_model(norm: str = "instance") -> Model:
    """A ConvNet that compiles quickly."""
    return convnet(CLASSES, SHAPE, width=4, depth=1, norm=norm)


def small(name: str, ipc: int = 2, *, options: Any = None, **changes: Any) -> Recipe:
    """A preset with 4 networks of 2 updates (CAFE: 3 of at most 5) and 6 real images per class."""
    recipe = PRESETS[name].recipe(ipc, **OPTIONS.get(name, {}) | (options or {}))
    motion = recipe.motion if name == "cafe" else methods.on_synthetic(1)
    usual = {
        "networks": NETWORKS.get(name, 4),
        "updates": UPDATES.get(name, 2),
        "motion": motion,
        "sampler": uniform(6),
    }
    return dataclasses.replace(recipe, **usual | changes)


@functools.cache
def build(recipe: Recipe, model: Model | None = None) -> Method:
    """The method; equal recipes on one network share it."""
    return methods.build(recipe, model or small_model())


@functools.cache
def program(recipe: Recipe, model: Model | None = None, most: int = 0) -> Advance:
    """The compiled run of a method; by default of all its steps."""
    return methods.advance(build(recipe, model), most or recipe.total_steps)


@functools.cache
def step(recipe: Recipe, model: Model | None = None) -> Any:
    """One compiled step of a method."""
    return jax.jit(build(recipe, model).step)


def run(
    recipe: Recipe, steps: int = 0, *, seed: int = 0, model: Model | None = None, real: Any = None
) -> tuple[Any, np.ndarray]:
    """The state and the losses after so many steps; by default after all."""
    steps = steps or recipe.total_steps
    real = data() if real is None else real
    state = build(recipe, model).init(jax.random.key(seed), real)
    state, losses = program(recipe, model)(state, real, steps)
    return state, np.asarray(losses)[:steps]


def arrays(tree: Any) -> list[np.ndarray]:
    """The leaves of a state, keys as integers."""
    typed = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in jax.tree.leaves(tree)
    ]
    return [np.asarray(x) for x in typed]


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal bit for bit."""
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        for x, y in zip(arrays(a), arrays(b), strict=True)
    )


def resumed(recipe: Recipe, *counts: int, model: Model | None = None, real: Any = None) -> Any:
    """The state after dispatches of these lengths, each from a copy on the host, as from a file."""
    real = data() if real is None else real
    state = build(recipe, model).init(jax.random.key(0), real)
    for n in counts:
        state, _ = program(recipe, model)(state, real, n)
        structure = jax.tree.structure(state)
        keys = [jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(state)]
        copies = [
            jax.random.wrap_key_data(jnp.array(x)) if is_key else jnp.array(x)
            for x, is_key in zip(arrays(state), keys, strict=True)
        ]
        state = jax.tree.unflatten(structure, copies)
    return state
