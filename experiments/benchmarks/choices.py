"""The figures behind smaller choices, listed in docs/performance-choices.md.

    python experiments/benchmarks/choices.py --out experiments/results/benchmarks/choices.json

- switch: six DSA ops, siamese, ten keys and ten batches of 256 images of 32x32x3, forward and gradient, with
  `affine_switch` and with `lax.switch`, mapped and vmapped; milliseconds per batch and MB of temporaries.
- ops: each op on 256 images, forward and transpose, one parameter for all and one per image; milliseconds.
- draw: 256 of 6000 images of ten classes, by top_k of random floats and by a full sort; milliseconds.
- small_maps: forward convolutions of 32 maps that are about as small as the kernel, by XLA and loop-safe; milliseconds.
- convolution: error of a second derivative (the gradient of synthetic images) against float64, with a smooth
  activation, by convolution; largest difference relative to the largest entry.
- passes: the image gradient of DREAM+'s objective, ConvNet-3 of width 32, one class of 8 synthetic and 12 real
  images: gradients alone, with embeddings from the same pass, and with embeddings from a second pass;
  milliseconds, and GFLOP as the compiler counts them.

Everything runs in a loop on the device; alternatives take turns and each counts by its best round.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import common
import jax
import jax.numpy as jnp
import script
from jax import Array, lax
from tyro.conf import arg

from jdd import losses, nn
from jdd.augment import ops
from jdd.augment.affine_switch import affine_switch
from jdd.augment.dsa import OPS, parameters
from jdd.cli.options import option
from jdd.matching import (
    Batch,
    Context,
    Pair,
    Stage,
    add,
    batch_mean,
    chain,
    convolutions_only,
    embeddings,
    gradients,
    gradients_and_embeddings,
    on_embeddings,
    on_gradients,
    squared_error,
    value_of,
)

REPEATS = 10
SIDE = 32
Name = Literal["switch", "ops", "draw", "small_maps", "convolution", "passes"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(common.Options):
    """Options of the benchmark."""

    tables: Annotated[tuple[Name, ...], arg(help="Which tables.")] = (
        *("switch", "ops", "draw", "small_maps", "convolution", "passes"),
    )
    rounds: Annotated[int, option("N", "Rounds; each alternative counts by its best.")] = 10


def benchmark(options: Options, command: str) -> None:
    """Makes the tables."""
    began = time.perf_counter()
    tables: dict[Name, Callable[[int], dict[str, Any]]] = {
        "switch": switch,
        "ops": each_op,
        "draw": draw,
        "small_maps": small_maps,
        "convolution": convolution,
        "passes": passes,
    }
    result = {}
    for name in options.tables:
        result[name] = tables[name](options.rounds)
        print(name)
        for row, values in result[name].items():
            print(f"  {row:40s} {values}", flush=True)
    common.write(result, options, command, began)


def timed(rounds: int, cases: dict[str, common.Case]) -> dict[str, Any]:
    """Milliseconds per repetition and megabytes of temporaries of each case."""
    return {
        name: {
            "milliseconds": round(1e3 * seconds / REPEATS, 2),
            "temporaries_mb": round(program.temporaries_mb, 1),
        }
        for name, (program, seconds) in common.measured(rounds, cases).items()
    }


def switch(rounds: int) -> dict[str, Any]:
    """affine_switch against lax.switch."""
    batches = jax.random.normal(jax.random.key(0), (REPEATS, 256, SIDE, SIDE, 3))
    index = jnp.arange(REPEATS) % len(OPS)
    draws = jax.random.uniform(jax.random.key(1), (REPEATS, 4))
    branches = [functools.partial(_op, name) for name in OPS]
    choices = {
        "affine_switch": affine_switch(branches),
        "lax.switch": lambda index, u, x: lax.switch(index, branches, u, x),
    }
    cases = {}
    for name, choice in choices.items():

        def value(index: Array, u: Array, x: Array, choice: Any = choice) -> Array:
            return jnp.sum(jnp.square(choice(index, u, x)))

        for kind, one in (("forward", choice), ("gradient", jax.grad(value, argnums=2))):
            operands = (index, draws, batches)
            cases[f"{name}, map, {kind}"] = (_map(one), operands)
            cases[f"{name}, vmap, {kind}"] = (jax.vmap(one), operands)
    return timed(rounds, cases)


def _op(name: str, u: Array, x: Array) -> Array:
    return getattr(ops, name)(x, **parameters(name, u, SIDE))


def _map(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: lax.map(lambda x: function(*x), xs)


def each_op(rounds: int) -> dict[str, Any]:
    """Every op, forward and transpose."""
    batches = jax.random.normal(jax.random.key(0), (REPEATS, 256, SIDE, SIDE, 3))
    cases: dict[str, Any] = {"copy": (_map(lambda x: x + 1), (batches,))}
    for name in OPS:
        for kind, shape in (("shared", (4,)), ("per image", (4, 256))):
            draws = jax.random.uniform(jax.random.key(1), (REPEATS, *shape))

            def forward(u: Array, x: Array, name: str = name) -> Array:
                return _op(name, u, x)

            def transpose(u: Array, x: Array, forward: Any = forward) -> Array:
                return jax.vjp(functools.partial(forward, u), x)[1](x)[0]

            cases[f"{name}, {kind}, forward"] = (_map(forward), (draws, batches))
            cases[f"{name}, {kind}, transpose"] = (_map(transpose), (draws, batches))
    return timed(rounds, cases)


def draw(rounds: int) -> dict[str, Any]:
    """Drawing 256 of 6000, for ten classes."""
    keys = jax.random.split(jax.random.key(0), (REPEATS, 10))

    def uniform(key: Array) -> Array:
        return jax.random.uniform(key, (6000,))

    alternatives = {
        "top_k of floats": lambda key: lax.top_k(uniform(key), 256)[1],
        "full sort": lambda key: jnp.argsort(uniform(key))[:256],
    }
    return timed(rounds, {name: (_map(_map_keys(f)), (keys,)) for name, f in alternatives.items()})


def _map_keys(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda keys: lax.map(function, keys)


def small_maps(rounds: int) -> dict[str, Any]:
    """XLA's convolution and the loop-safe one, with kernels larger than the maps and slightly smaller."""
    rows = {}
    for side, kernel, channels, out in ((2, 3, 512, 512), (4, 3, 512, 512), (4, 5, 192, 256)):
        x = jax.random.normal(jax.random.key(0), (REPEATS, 32, side, side, channels))
        w = jax.random.normal(jax.random.key(1), (kernel, kernel, channels, out))

        def of(conv: nn.Convolution, x: Array, w: Array) -> Array:
            return lax.map(lambda one: conv(one, w, w.shape[0] // 2), x)

        forms = {"lax": nn.lax_conv, "loop_safe": nn.loop_safe_conv}
        cases = {name: (functools.partial(of, conv), (x, w)) for name, conv in forms.items()}
        for name, row in timed(rounds, cases).items():
            rows[f"{side}x{side}, {channels} to {out}, kernel {kernel}, {name}"] = row
    return rows


def convolution(rounds: int) -> dict[str, Any]:
    """Accuracy of the gradient of images through both gradients, against float64."""
    del rounds
    images = jax.random.normal(jax.random.key(0), (10, SIDE, SIDE, 3))
    labels = jnp.arange(10)

    def gradient(conv: nn.Convolution, dtype: Any) -> Array:
        model = nn.convnet(10, (SIDE, SIDE, 3), activation="swish", conv=conv)
        variables = model.init(jax.random.key(1))
        params = jax.tree.map(lambda p: p.astype(dtype), variables["params"])

        def loss(params: Any, x: Array) -> Array:
            return jnp.mean(losses.cross_entropy(model.apply({"params": params}, x), labels))

        real = jax.grad(loss)(params, jnp.flip(images, 1).astype(dtype))

        def distance(x: Array) -> Array:
            return losses.layerwise_cosine(jax.grad(loss)(params, x), real)

        return jax.jit(jax.grad(distance))(images.astype(dtype))

    forms = {"lax": nn.lax_conv, "loop_safe": nn.loop_safe_conv, "winograd": nn.winograd_conv}
    with jax.enable_x64(True):
        exact = gradient(nn.lax_conv, jnp.float64)
        gradients = {name: gradient(conv, jnp.float32) for name, conv in forms.items()}
        return {
            name: {"relative_error": float(jnp.abs(value - exact).max() / jnp.abs(exact).max())}
            for name, value in gradients.items()
        }


def passes(rounds: int) -> dict[str, Any]:
    """Gradients and embeddings from one pass and from two."""
    model = nn.convnet(10, (SIDE, SIDE, 3), width=32)
    context = Context(*model.network(model.init(jax.random.key(0))), jax.random.key(0))
    sides = (jax.random.normal(jax.random.key(n), (n, SIDE, SIDE, 3)) for n in (8, 12))
    synthetic, real = (Batch(images, jnp.zeros(len(images), jnp.int32)) for images in sides)
    kernels = chain(convolutions_only(), squared_error())
    means = chain(batch_mean(), squared_error())
    objectives = {
        "gradients alone": chain(gradients(), kernels),
        "one pass": chain(
            gradients_and_embeddings(), add(on_gradients(kernels), on_embeddings(means))
        ),
        "two passes": add(chain(gradients(), kernels), chain(embeddings(), means)),
    }

    def gradient_of(objective: Stage) -> Callable[[Array], Array]:
        def value(images: Array) -> Array:
            return value_of(objective, Pair(synthetic._replace(images=images), real), context)

        return jax.grad(value)

    cases = {name: (gradient_of(stage), (synthetic.images,)) for name, stage in objectives.items()}
    rows = {}
    for name, (program, seconds) in common.measured(rounds, cases).items():
        analysis: Any = program.call.cost_analysis()  # pyright: ignore[reportFunctionMemberAccess]
        rows[name] = {
            "milliseconds": round(1e3 * seconds, 2),
            "gflop": round(analysis["flops"] / 1e9, 4),
        }
    return rows


if __name__ == "__main__":
    sys.exit(script.main(__file__, __doc__, Options, benchmark))
