"""One image update as the benchmarks time it: ConvNet-3's 32x32x3 images, a fresh network each time."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from jdd.data import ClassTable, Split, class_table
from jdd.methods import Method, advance

SHAPE = (32, 32, 3)
PER_CLASS = 300


class Iteration(NamedTuple):
    """A compiled update.

    Attributes:
      run: runs one, and goes on from where it stopped.
      temporaries_mb: memory that the program needs beside its arguments and results.
      compile_seconds: wall clock.
    """

    run: Any
    temporaries_mb: float
    compile_seconds: float


def table(num_classes: int) -> ClassTable:
    """Random bytes as images, 300 per class: what an update costs does not depend on them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_classes * PER_CLASS, *SHAPE), np.uint8)
    labels = np.repeat(np.arange(num_classes, dtype=np.int32), PER_CLASS)
    return class_table(Split(images, labels), num_classes, (0.5,) * 3, (0.25,) * 3)


def compiled(method: Method, num_classes: int) -> Iteration:
    """An update of a method on random images of so many classes."""
    real = table(num_classes)
    state = method.init(jax.random.key(0), real)
    run = advance(method, 1)
    start = time.perf_counter()
    program = run.lower(state, real, 1).compile()
    compile_seconds = time.perf_counter() - start
    memory = program.memory_analysis()
    temporaries = memory.temp_size_in_bytes / 1e6 if memory else float("nan")
    box = [state]

    def iterate() -> Any:
        box[0], losses = run(box[0], real, 1)
        return losses

    return Iteration(iterate, temporaries, compile_seconds)
