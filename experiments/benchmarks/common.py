"""What the benchmarks share: options, compiled programs, timing, the matrix-product rate, the report."""

from __future__ import annotations

import dataclasses
import functools
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import script

from jdd.cli.options import option
from jdd.validation import at_least


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of all benchmarks."""

    rounds: Annotated[int, option("N", "Rounds; each alternative counts by its best.")] = 4
    out: Annotated[Path | None, option("FILE", "Write the result to this JSON file.", "none")] = (
        None
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonOptions(Options):
    """Options of benchmarks that compare with the authors' code."""

    original: Annotated[
        Path | None, option("FOLDER", "Clone of the authors' code; needs torch.", "only ours")
    ] = None
    ipc: Annotated[tuple[int, ...], option("N", "Images per class.")] = (1, 10, 50)


Case = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its operands."""


class Program(NamedTuple):
    """A compiled function.

    Attributes:
      call: takes the arguments that it was compiled for.
      temporaries_mb: memory that it needs beside arguments and results; NaN where that is unknown.
      compile_seconds: wall clock.
    """

    call: Callable[..., Any]
    temporaries_mb: float
    compile_seconds: float


def compiled(lowered: Any) -> Program:
    """Compiles what ``jax.jit(...).lower(...)`` returned."""
    began = time.perf_counter()
    program = lowered.compile()
    seconds = time.perf_counter() - began
    memory = program.memory_analysis()
    temporaries = memory.temp_size_in_bytes / 1e6 if memory else float("nan")
    return Program(program, temporaries, seconds)


def interleaved(rounds: int, **functions: Callable[[], Any]) -> dict[str, float]:
    """The best wall-clock seconds of each function; they take turns, so that all see the same noise."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(at_least("--rounds", rounds, 1)):
        for name, function in functions.items():
            began = time.perf_counter()
            jax.block_until_ready(function())
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def measured(rounds: int, cases: Mapping[str, Case]) -> dict[str, tuple[Program, float]]:
    """Compiles all cases, then times them in turn.

    Args:
      rounds: each case counts by its best.
      cases: functions with their operands, by name.

    Returns:
      The program of each case, and its seconds.
    """
    programs = {name: compiled(jax.jit(f).lower(*xs)) for name, (f, xs) in cases.items()}
    calls = {name: functools.partial(programs[name].call, *xs) for name, (_, xs) in cases.items()}
    best = interleaved(rounds, **calls)
    return {name: (program, best[name]) for name, program in programs.items()}


def matrix_product() -> tuple[Case, float]:
    """A 4096 matrix product (its rate shows how much of the machine is free) and its GFLOP."""
    return (lambda a: a @ a, (jnp.ones((4096, 4096)),)), 2 * 4096**3 / 1e9


def compare(
    options: ComparisonOptions,
    ours: Callable[[], Any],
    original: Callable[[Path], Callable[[], Any]],
) -> dict[str, float | None]:
    """Times ours, the original where there is a clone, and a matrix product, taking turns.

    Args:
      options: the rounds, and the clone of the original.
      ours: runs ours once.
      original: ``original(clone)``, a function that runs the original once.

    Returns:
      Seconds of both, their ratio, and the rate of the matrix product.
    """
    (function, operands), gflop = matrix_product()
    product = compiled(jax.jit(function).lower(*operands)).call
    functions = {"ours": ours, "product": lambda: product(*operands)}
    if options.original is not None:
        functions["original"] = original(options.original)
    best = interleaved(options.rounds, **functions)
    return {
        "seconds": best["ours"],
        "original_seconds": best.get("original"),
        "ratio": best["original"] / best["ours"] if "original" in best else None,
        "matrix_product_gflops": gflop / best["product"],
    }


def report(rows: Iterable[Mapping[str, Any]], options: Options, command: str) -> None:
    """Prints each row when it is measured, and writes all where a file was asked for."""
    began, measured = time.perf_counter(), []
    for row in rows:
        measured.append(dict(row))
        print(_text(row), flush=True)
    write({"rows": measured, "peak_memory_mb": peak_memory_mb()}, options, command, began)


def write(result: Mapping[str, Any], options: Options, command: str, began: float) -> None:
    """Prints the machine, and writes a result where a file was asked for."""
    print(f"peak resident memory of this process {peak_memory_mb():.0f} MB; {script.machine()}")
    if options.out is not None:
        script.write_json(options.out, result, command, began)


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _text(row: Mapping[str, Any]) -> str:
    numbers = {name.replace("_", " "): x for name, x in row.items() if x is not None}
    texts = (
        f"{name} {x:.4g}" if isinstance(x, float) else f"{name} {x}" for name, x in numbers.items()
    )
    return ", ".join(texts)
