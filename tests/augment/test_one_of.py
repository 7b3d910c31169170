"""The switch that stays a switch: values and gradients under every transformation, and what it executes."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jdd.augment.one_of import one_of

MATRIX = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4)), jnp.float32)
RAN: Counter[str] = Counter()


def count(name: str) -> None:
    jax.debug.callback(lambda: RAN.update([name]))


def shift(p: dict[str, Array], x: Array) -> Array:
    count("shift")
    return x + p["a"]


def stretch(p: dict[str, Array], x: Array) -> Array:
    count("stretch")
    return x * p["a"] + p["b"]


def mix(p: dict[str, Array], x: Array) -> Array:
    count("mix")
    return x @ MATRIX + p["b"]


OPS = (shift, stretch, mix)
CHOOSE = one_of(OPS)


def loss(index: Array, p: dict[str, Array], x: Array) -> Array:
    return jnp.sum(jnp.sin(CHOOSE(index, p, x)))


def gradient(index: Array, p: dict[str, Array], x: Array) -> Array:
    return jax.grad(loss, argnums=2)(index, p, x)


def second(index: Array, p: dict[str, Array], x: Array) -> Array:
    return jax.grad(lambda x: jnp.sum(jnp.cos(gradient(index, p, x))))(x)


def third(index: Array, p: dict[str, Array], x: Array) -> Array:
    return jax.grad(lambda x: jnp.sum(jnp.cos(second(index, p, x))))(x)


def plain(order: int, op: int, p: dict[str, Array], x: Array) -> Array:
    """The same derivatives of the chosen op itself."""
    functions = [lambda x: OPS[op](p, x)]
    functions.append(jax.grad(lambda x: jnp.sum(jnp.sin(functions[0](x)))))
    functions.append(jax.grad(lambda x: jnp.sum(jnp.cos(functions[1](x)))))
    functions.append(jax.grad(lambda x: jnp.sum(jnp.cos(functions[2](x)))))
    return functions[order](x)


ORDERS = (CHOOSE, gradient, second, third)
INDEX = jnp.asarray([2, 0, 1, 1, 2])
PARAMETERS = {"a": jnp.linspace(0.5, 1.5, 5), "b": jnp.linspace(-1.0, 1.0, 5)}
X = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3, 4)), jnp.float32)
EXPECTED = [
    jnp.stack(
        [
            plain(order, int(INDEX[i]), {k: v[i] for k, v in PARAMETERS.items()}, X[i])
            for i in range(5)
        ]
    )
    for order in range(4)
]


@pytest.mark.parametrize("order", range(4))
def test_loop_vmap_and_scan_agree_with_the_op_itself(order: int) -> None:
    f = ORDERS[order]
    looped = [f(INDEX[i], {k: v[i] for k, v in PARAMETERS.items()}, X[i]) for i in range(5)]
    np.testing.assert_allclose(jnp.stack(looped), EXPECTED[order], atol=1e-5)
    for transformed in (jax.vmap(f), lambda *args: jax.lax.map(lambda a: f(*a), args)):
        np.testing.assert_allclose(transformed(INDEX, PARAMETERS, X), EXPECTED[order], atol=1e-5)
        np.testing.assert_allclose(
            jax.jit(transformed)(INDEX, PARAMETERS, X), EXPECTED[order], atol=1e-5
        )


def test_gradient_of_a_vmap_and_of_a_scan() -> None:
    def mapped(x: Array) -> Array:
        return jnp.sum(jax.vmap(loss)(INDEX, PARAMETERS, x))

    def scanned(x: Array) -> Array:
        return jnp.sum(jax.lax.map(lambda a: loss(*a), (INDEX, PARAMETERS, x)))

    for f in (mapped, scanned):
        np.testing.assert_allclose(jax.grad(f)(X), EXPECTED[1], atol=1e-5)
        twice = jax.grad(lambda x, f=f: jnp.sum(jnp.cos(jax.grad(f)(x))))(X)
        np.testing.assert_allclose(twice, EXPECTED[2], atol=1e-5)


@pytest.mark.parametrize("order", range(3))
def test_batching_of_some_arguments_only(order: int) -> None:
    f, p = ORDERS[order], {k: v[0] for k, v in PARAMETERS.items()}
    images_only = jax.vmap(f, in_axes=(None, None, 0))
    np.testing.assert_allclose(
        images_only(INDEX[0], p, X),
        jnp.stack([plain(order, 2, p, X[i]) for i in range(5)]),
        atol=1e-5,
    )
    index_only = jax.vmap(f, in_axes=(0, None, None))
    np.testing.assert_allclose(
        index_only(INDEX, p, X[0]),
        jnp.stack([plain(order, int(i), p, X[0]) for i in INDEX]),
        atol=1e-5,
    )
    nested = jax.vmap(images_only, in_axes=(0, None, None))(INDEX, p, X)
    for i in range(5):
        np.testing.assert_allclose(nested[i], images_only(INDEX[i], p, X), atol=1e-5)


def executed(f, *args) -> Counter[str]:
    compiled = jax.jit(f).lower(*args).compile()
    RAN.clear()
    jax.block_until_ready(compiled(*args))
    jax.effects_barrier()
    return Counter(RAN)


CHOSEN = Counter({"mix": 2, "stretch": 2, "shift": 1})


def test_only_the_chosen_ops_run() -> None:
    def scanned(f):
        return lambda *args: jax.lax.map(lambda a: f(*a), args)

    assert executed(jax.vmap(CHOOSE), INDEX, PARAMETERS, X) == CHOSEN
    assert executed(scanned(CHOOSE), INDEX, PARAMETERS, X) == CHOSEN
    # Once forwards and once to be transposed; with the second order, once more for each of the two passes.
    twice = Counter({name: 2 * n for name, n in CHOSEN.items()})
    assert executed(jax.vmap(gradient), INDEX, PARAMETERS, X) == twice
    assert executed(scanned(gradient), INDEX, PARAMETERS, X) == twice
    for transformed in (jax.vmap(second), scanned(second)):
        ran = executed(transformed, INDEX, PARAMETERS, X)
        assert {ran[name] / n for name, n in CHOSEN.items()} <= {3, 4}
        assert len({ran[name] / n for name, n in CHOSEN.items()}) == 1


def test_the_count_sees_a_select() -> None:
    # The same count on a bare switch, to know that it would notice: vmap runs every op for every row.
    def bare(index: Array, p: dict[str, Array], x: Array) -> Array:
        return jax.lax.switch(index, OPS, p, x)

    assert sum(executed(jax.vmap(bare), INDEX, PARAMETERS, X).values()) == 15


def test_one_op_needs_no_switch() -> None:
    p = {k: v[0] for k, v in PARAMETERS.items()}
    np.testing.assert_array_equal(one_of([mix])(jnp.int32(0), p, X), mix(p, X))
