"""What a convolution costs inside a loop, by algorithm and by micro-batch size.

    python experiments/benchmarks/convolution.py --out convolution.json

Three tables, for ConvNet-3 on 32x32 colour images:

- training: SGD steps on one batch, as a `lax.scan` and unrolled. With a loop-safe convolution both
  cost the same; with XLA's the weight gradient inside the loop is many times slower.
- streaming: gradient of a real batch, summed over micro-batches by `lax.scan`.
- matching: gradient in the images of a distance between two weight gradients (second order).

All alternatives of a table are compiled first and then timed in turn, each by its best round, so that
other load on the machine falls on all alike. The rate of a plain matrix product, timed in the same
rounds, shows how much of the machine was free. `--tables streaming` runs one table.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
from typing import Annotated, Any, Literal

import common
import jax
import jax.numpy as jnp
import script
from jax import Array
from tyro.conf import arg

from jdd import losses, nn
from jdd.cli.options import option
from jdd.nn import Convolution

CONVOLUTIONS: dict[str, Convolution] = {
    "lax": nn.lax_conv,
    "loop_safe": nn.loop_safe_conv,
    "winograd": nn.winograd_conv,
}
Params = dict[str, Any]
Name = Literal["training", "streaming", "matching"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.Options):
    """Options of the benchmark."""

    tables: Annotated[tuple[Name, ...], arg(help="Which tables.")] = (
        *("training", "streaming", "matching"),
    )
    rounds: Annotated[int, option("N", "Rounds over all alternatives.")] = 6
    steps: Annotated[int, option("N", "SGD steps (training).")] = 4
    batch: Annotated[int, option("N", "Images per SGD step (training).")] = 20
    training_width: Annotated[int, option("CHANNELS", "Of the ConvNet (training).")] = 32
    width: Annotated[int, option("CHANNELS", "Of the ConvNet (streaming, matching).")] = 128
    images: Annotated[int, option("N", "Size of the real batch (streaming).")] = 64
    micro_batches: Annotated[tuple[int, ...], option("N", "Their sizes (streaming).")] = (
        *(4, 8, 16, 32),
    )
    ipc: Annotated[tuple[int, ...], option("N", "Images per class (matching).")] = (1, 10)


def network(conv: Convolution, width: int) -> nn.Model:
    """The ConvNet."""
    return nn.convnet(10, (32, 32, 3), width=width, conv=conv)


def init(key: Array, width: int) -> Params:
    """Its variables; the same for every convolution."""
    return dict(network(nn.lax_conv, width).init(key))


def loss(params: Params, x: Array, y: Array, conv: Convolution) -> Array:
    """The loss of a batch, summed."""
    width = params["params"]["conv0"]["kernel"].shape[-1]
    return losses.cross_entropy(network(conv, width).apply(params, x), y).sum()


def train(params: Params, x: Array, y: Array, conv: Convolution, steps: int, loop: bool) -> Params:
    """SGD steps on one batch."""

    def step(params: Params, _: None) -> tuple[Params, None]:
        grads = jax.grad(loss)(params, x, y, conv)
        return jax.tree.map(lambda p, g: p - 1e-4 * g, params, grads), None

    if loop:
        return jax.lax.scan(step, params, length=steps)[0]
    for _ in range(steps):
        params, _none = step(params, None)
    return params


def stream(params: Params, x: Array, y: Array, conv: Convolution, micro: int) -> Params:
    """The gradient of a batch, summed over micro-batches."""

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


def images(count: int) -> tuple[Array, Array]:
    """Random images and labels."""
    x = jax.random.normal(jax.random.key(1), (count, 32, 32, 3))
    return x, jnp.arange(count) % 10


def training_cases(options: Options) -> dict[str, common.Case]:
    """The alternatives of the table training."""
    params = init(jax.random.key(0), options.training_width)
    operands = (params, *images(options.batch))
    cases = {}
    for name, conv in CONVOLUTIONS.items():
        for form, loop in (("scan", True), ("unrolled", False)):
            run = functools.partial(train, conv=conv, steps=options.steps, loop=loop)
            cases[f"{name}, {form}"] = run, operands
    return cases


def streaming_cases(options: Options) -> dict[str, common.Case]:
    """The alternatives of the table streaming."""
    operands = (init(jax.random.key(0), options.width), *images(options.images))
    return {
        f"{name}, micro-batch {micro}": (
            functools.partial(stream, conv=CONVOLUTIONS[name], micro=micro),
            operands,
        )
        for micro in options.micro_batches
        for name in ("loop_safe", "winograd")
    }


def matching_cases(options: Options) -> dict[str, common.Case]:
    """The alternatives of the table matching."""
    params = init(jax.random.key(0), options.width)
    cases = {}
    for ipc in options.ipc:
        x, y = images(2 * ipc)
        operands = params, x.reshape(2, ipc, *x.shape[1:]), y.reshape(2, ipc)
        for name in ("loop_safe", "winograd"):
            run = functools.partial(match, conv=CONVOLUTIONS[name])
            cases[f"{name}, {ipc} images per class"] = run, operands
    return cases


TABLES = {"training": training_cases, "streaming": streaming_cases, "matching": matching_cases}


def show(title: str, rows: dict[str, dict[str, float]], rate: float) -> None:
    """Prints a table."""
    print(f"\n{title} (matrix product: {rate:.0f} GFLOP/s)")
    print(f"{'':36}{'run, ms':>10}{'of best':>10}{'compile, s':>12}")
    fastest = min(row["run"] for row in rows.values())
    for name, row in rows.items():
        run = row["run"]
        print(f"{name:36}{run * 1e3:10.1f}{run / fastest:10.2f}{row['compile']:12.1f}", flush=True)


def benchmark(options: Options, command: str) -> None:
    """Makes the tables."""
    began = time.perf_counter()
    for micro in options.micro_batches:
        if micro < 1 or options.images % micro:
            raise ValueError(
                f"--micro-batches must divide the {options.images} images, got {micro}"
            )
    tables, rates = {}, {}
    for title in options.tables:
        product, gflop = common.matrix_product()
        cases = TABLES[title](options) | {"matrix product": product}
        measured = common.measured(options.rounds, cases)
        rates[title] = gflop / measured.pop("matrix product")[1]
        tables[title] = {
            name: {"compile": program.compile_seconds, "run": seconds}
            for name, (program, seconds) in measured.items()
        }
        show(title, tables[title], rates[title])
    settings = {name: x for name, x in dataclasses.asdict(options).items() if name != "out"}
    result = {"settings": settings, "tables": tables, "matrix_product_gflops": rates}
    common.write(result, options, command, began)


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
