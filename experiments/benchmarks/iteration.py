"""One image update as the benchmarks time it: ConvNet-3 on 32x32x3 images, a fresh network each time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np

from jdd import nn
from jdd.data import ClassTable, Data, Split, class_table
from jdd.methods import Method, Recipe, advance, build, never

SHAPE = (32, 32, 3)
PER_CLASS = 300


class Iteration(NamedTuple):
    """A compiled update.

    Attributes:
      run: runs one, from the state that the one before left.
      program: what is compiled.
    """

    run: Callable[[], Any]
    program: common.Program


def table(num_classes: int) -> ClassTable:
    """Random bytes as images, 300 per class: what an update costs does not depend on them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_classes * PER_CLASS, *SHAPE), np.uint8)
    labels = np.repeat(np.arange(num_classes, dtype=np.int32), PER_CLASS)
    return class_table(Split(images, labels), num_classes, (0.5,) * 3, (0.25,) * 3)


def compiled(method: Method, num_classes: int) -> Iteration:
    """A step of a method on random images of so many classes."""
    data, one = Data(table(num_classes)), jnp.int32(1)
    box = [method.init(jax.random.key(0), data)]
    program = common.compiled(advance(method, 1).lower(box[0], data, one))

    def run() -> Any:
        box[0], losses = program.call(box[0], data, one)
        return losses

    return Iteration(run, program)


def update(
    recipe: Recipe, num_classes: int = 10, *, conv: nn.Convolution | None = None
) -> Iteration:
    """An update of a recipe, one per network: the matching alone, without training networks."""
    recipe = dataclasses.replace(recipe, networks=1000, updates=1, motion=never())
    return compiled(build(recipe, nn.convnet(num_classes, SHAPE, conv=conv)), num_classes)


def rows(
    options: common.ComparisonOptions,
    ours: Callable[[int, int], Iteration],
    original: Callable[[Path, int], Callable[[], Any]],
) -> Iterator[dict[str, Any]]:
    """Times the update of a method for each IPC, ours against the original's.

    Args:
      options: IPCs, rounds, and the clone of the original.
      ours: ``ours(ipc, num_classes)``.
      original: ``original(clone, ipc)``, a function that runs one update.
    """
    for ipc in options.ipc:
        iteration = ours(ipc, 10)
        yield {
            "ipc": ipc,
            **common.compare(options, iteration.run, lambda clone, ipc=ipc: original(clone, ipc)),
            "temporaries_mb": iteration.program.temporaries_mb,
            "temporaries_mb_20_classes": ours(ipc, 20).program.temporaries_mb,
            "compile_seconds": iteration.program.compile_seconds,
        }
