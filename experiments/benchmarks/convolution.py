"""What a convolution costs inside a loop, by algorithm and by micro-batch size.

    python experiments/benchmarks/convolution.py --out convolution.json

Three tables, for ConvNet-3 on 32x32 colour images:

- training: SGD steps on one batch, as a `lax.scan` and unrolled. With a loop-safe convolution both
  cost the same; with XLA's own the weight gradient inside the loop falls off the fast path.
- streaming: gradient of a real batch, summed over micro-batches by `lax.scan`.
- matching: gradient in the images of a distance between two weight gradients (second order).

All alternatives of a table are compiled first and then timed in turn, each by its best round, so that
other load on the machine falls on all alike. The rate of a plain matrix product, timed in the same
rounds, says how much of the machine was free. `--tables streaming` runs one table; the columns of
the direct convolution count 2 operations per multiply-add of the direct algorithm for every form.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from common import write
from jax import Array

from jdd import losses, nn
from jdd.nn import Convolution

CONVOLUTIONS: dict[str, Convolution] = {
    "lax": nn.lax_conv,
    "loop_safe": nn.loop_safe_conv,
    "winograd": nn.winograd_conv,
}
Params = dict[str, Any]
Case = tuple[Callable[..., Any], tuple[Any, ...]]
MATMUL_SIZE = 1024


def network(conv: Convolution, width: int) -> nn.Model:
    return nn.convnet(10, (32, 32, 3), width=width, conv=conv)


def init(key: Array, width: int) -> Params:
    return dict(network(nn.lax_conv, width).init(key))


def loss(params: Params, x: Array, y: Array, conv: Convolution) -> Array:
    width = params["params"]["conv0"]["kernel"].shape[-1]
    return losses.cross_entropy(network(conv, width).apply(params, x), y).sum()


def train(params: Params, x: Array, y: Array, conv: Convolution, steps: int, loop: bool) -> Params:
    def step(params: Params, _: None) -> tuple[Params, None]:
        grads = jax.grad(loss)(params, x, y, conv)
        return jax.tree.map(lambda p, g: p - 1e-4 * g, params, grads), None

    if loop:
        return jax.lax.scan(step, params, length=steps)[0]
    for _ in range(steps):
        params, _none = step(params, None)
    return params


def stream(params: Params, x: Array, y: Array, conv: Convolution, micro: int) -> Params:
    def add(total: Params, batch: tuple[Array, Array]) -> tuple[Params, None]:
        grads = jax.grad(loss)(params, *batch, conv)
        return jax.tree.map(jnp.add, total, grads), None

    batches = x.reshape(-1, micro, *x.shape[1:]), y.reshape(-1, micro)
    return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), batches)[0]


def match(params: Params, x: Array, y: Array, conv: Convolution) -> Array:
    """One image gradient per class, in a loop over the classes as the methods run it."""

    def distance(x: Array, y: Array) -> Array:
        grads = jax.grad(loss)(params, x, y, conv)
        return sum((jnp.sum((g - 1) ** 2) for g in jax.tree.leaves(grads)), jnp.zeros(()))

    return jax.lax.map(lambda batch: jax.grad(distance)(*batch), (x, y))


def matmul(a: Array) -> Array:
    return a @ a


def best_times(cases: dict[str, Case], repeats: int) -> dict[str, dict[str, float]]:
    """Compiles all cases, then runs them in turn; seconds of compilation and of the best run."""
    times: dict[str, dict[str, float]] = {}
    compiled = {}
    for name, (function, arguments) in cases.items():
        start = time.perf_counter()
        compiled[name] = jax.jit(function).lower(*arguments).compile()
        times[name] = {"compile": time.perf_counter() - start, "run": float("inf")}
    for _ in range(repeats + 1):
        for name, (_, arguments) in cases.items():
            start = time.perf_counter()
            jax.block_until_ready(compiled[name](*arguments))
            times[name]["run"] = min(times[name]["run"], time.perf_counter() - start)
    return times


def images(count: int) -> tuple[Array, Array]:
    x = jax.random.normal(jax.random.key(1), (count, 32, 32, 3))
    return x, jnp.arange(count) % 10


def training_cases(args: argparse.Namespace) -> dict[str, Case]:
    params = init(jax.random.key(0), args.training_width)
    operands = (params, *images(args.batch))
    cases = {}
    for name, conv in CONVOLUTIONS.items():
        for form, loop in (("scan", True), ("unrolled", False)):
            run = functools.partial(train, conv=conv, steps=args.steps, loop=loop)
            cases[f"{name}, {form}"] = run, operands
    return cases


def streaming_cases(args: argparse.Namespace) -> dict[str, Case]:
    operands = (init(jax.random.key(0), args.width), *images(args.images))
    return {
        f"{name}, micro-batch {micro}": (
            functools.partial(stream, conv=CONVOLUTIONS[name], micro=micro),
            operands,
        )
        for micro in args.micro_batches
        for name in ("loop_safe", "winograd")
    }


def matching_cases(args: argparse.Namespace) -> dict[str, Case]:
    params = init(jax.random.key(0), args.width)
    cases = {}
    for ipc in args.ipc:
        x, y = images(2 * ipc)
        operands = params, x.reshape(2, ipc, *x.shape[1:]), y.reshape(2, ipc)
        for name in ("loop_safe", "winograd"):
            run = functools.partial(match, conv=CONVOLUTIONS[name])
            cases[f"{name}, {ipc} images per class"] = run, operands
    return cases


TABLES = {"training": training_cases, "streaming": streaming_cases, "matching": matching_cases}


def show(title: str, times: dict[str, dict[str, float]]) -> None:
    rate = 2 * MATMUL_SIZE**3 / times["matmul"]["run"] / 1e9
    print(f"\n{title} (matrix product: {rate:.0f} GFLOP/s)")
    print(f"{'':36}{'run, ms':>10}{'of best':>10}{'compile, s':>12}")
    rows = {name: row for name, row in times.items() if name != "matmul"}
    fastest = min(row["run"] for row in rows.values())
    for name, row in rows.items():
        run = row["run"]
        print(f"{name:36}{run * 1e3:10.1f}{run / fastest:10.2f}{row['compile']:12.1f}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--repeats", type=int, default=5, help="rounds over all alternatives")
    parser.add_argument("--steps", type=int, default=4, help="SGD steps (training)")
    parser.add_argument("--batch", type=int, default=20, help="images per SGD step (training)")
    parser.add_argument("--training-width", type=int, default=32, help="channels (training)")
    parser.add_argument("--width", type=int, default=128, help="channels (streaming, matching)")
    parser.add_argument("--images", type=int, default=64, help="size of the real batch (streaming)")
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10], help="(matching)")
    parser.add_argument("--out", help="JSON file for all times in seconds")
    args = parser.parse_args()
    for micro in args.micro_batches:
        if args.images % micro:
            parser.error(f"micro-batch {micro} does not divide the {args.images} images")
    return args


def main() -> None:
    args = arguments()
    results = {}
    for title in args.tables:
        product: dict[str, Case] = {"matmul": (matmul, (jnp.ones((MATMUL_SIZE, MATMUL_SIZE)),))}
        results[title] = best_times(product | TABLES[title](args), args.repeats)
        show(title, results[title])
    command = "python experiments/benchmarks/convolution.py " + " ".join(sys.argv[1:])
    settings = {k: v for k, v in vars(args).items() if k != "out"}
    write(args.out, command, {"settings": settings, "seconds": results})


if __name__ == "__main__":
    main()
