"""Small trajectory recipes and made-up experts; what several tests use is compiled once."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import jdd
from jdd import augment, methods
from jdd.data import Data, Trajectories
from jdd.matching import chain, trajectory_distance, unroll
from jdd.methods import TrajectoryRecipe
from tests.methods.small_runs import small_model, table

EXPERTS, EPOCHS = 2, 5
OBJECTIVE = chain(unroll(2), trajectory_distance())


@functools.cache
def experts() -> Trajectories:
    """Networks that drift from their initialisation, each in a direction of its own."""
    model = small_model()
    starts = [ravel_pytree(model.init(jax.random.key(e))["params"])[0] for e in range(EXPERTS)]
    steps = np.random.default_rng(0).normal(size=(EXPERTS, EPOCHS, len(starts[0])))
    walks = np.cumsum(0.02 * steps, 1)
    snapshots = np.stack(starts)[:, None] + np.concatenate([0 * walks[:, :1], walks], 1)
    return Trajectories(jnp.asarray(snapshots, jnp.float32))


def data() -> Data:
    """The table and the experts, as a method receives them."""
    return Data(table(), experts())


def small(**changes: Any) -> TrajectoryRecipe:
    """MTT with two steps of a student and six iterations, without augmentation."""
    usual: dict[str, Any] = {
        "objective": OBJECTIVE,
        "augment": augment.no_augmentation(),
        "start_epochs": methods.uniform_epochs(3),
        "optimizer": rates(),
        "iterations": 6,
    }
    return dataclasses.replace(jdd.mtt(2), **usual | changes)


def rates(images: float = 1.0, step_size: float = 0.01, **more: float) -> methods.Optimizer:
    """Plain momentum for each group."""
    each = {"images": images, "step_size": step_size, **more}
    return methods.by_group(**{name: methods.sgd(rate, 0.5) for name, rate in each.items()})
