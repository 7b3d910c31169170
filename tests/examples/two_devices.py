"""Losses and objectives with the class axis over two devices: a program of its own (see test_shard_map.py).

The number of devices is fixed when JAX starts, and all other tests are to have one. It prints the name
of each check that holds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jdd import losses, matching, methods, nn, training
from jdd.augment import STRATEGY
from jdd.matching import Batch, Context, Pair, value_of
from jdd.streaming import summed

CLASSES, IPC, REAL = 4, 3, 40
SHAPE = (8, 8, 1)
KEY = jax.random.key(2)


def sharded(function: Callable, in_specs: Any, out_specs: Any) -> Callable:
    mesh = jax.make_mesh((2,), ("classes",), axis_types=(AxisType.Auto,))
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs))


def pair() -> Pair:
    def side(i: int, n: int) -> Batch:
        images = jax.random.normal(jax.random.key(i), (CLASSES, n, *SHAPE))
        return Batch(images, jnp.tile(jnp.arange(CLASSES)[:, None], (1, n)))

    return Pair(side(0, IPC), side(1, REAL))


def network() -> tuple[Callable, Any]:
    model = nn.convnet(CLASSES, SHAPE, width=4, depth=1)
    return model.network(model.init(jax.random.key(3)))


NETWORK, PARAMS = network()


def context(params: Any, key: jax.Array) -> Context:
    return Context(NETWORK, params, key)


def same(got: Any, want: Any) -> None:
    """But for the rounding of sums in another order."""
    a, b = (ravel_pytree(tree)[0] for tree in (got, want))
    error = jnp.linalg.norm(a - b) / jnp.linalg.norm(b)
    assert a.shape == b.shape and error <= 1e-5, error


def values_and_gradients(objective: matching.Stage) -> tuple[Any, Any]:
    """With classes over two devices, and on one; each half of the classes has a key of its own."""
    whole = pair()

    def part(images: jax.Array, rest: Any, i: Any) -> jax.Array:
        labels, real, params = rest
        sides = Pair(Batch(images, labels), real)
        return value_of(objective, sides, context(params, jax.random.fold_in(KEY, i)))

    def on_one_of_two(images: jax.Array, rest: Any) -> jax.Array:
        return jax.lax.psum(part(images, rest, jax.lax.axis_index("classes")), "classes")

    specs = (P("classes"), (P("classes"), P("classes"), P()))
    on_two = sharded(on_one_of_two, specs, P())

    def on_one(images: jax.Array, rest: Any) -> Any:
        *both, params = rest
        total = 0.0
        for i in (0, 1):
            half = jax.tree.map(lambda x, i=i: jnp.split(x, 2)[i], (images, *both))
            total += part(half[0], (*half[1:], params), i)
        return total

    images, labels, _ = whole.synthetic
    rest = (labels, whole.real, PARAMS)
    return tuple(jax.jit(jax.value_and_grad(f))(images, rest) for f in (on_two, on_one))


@functools.cache
def whole_value(objective: matching.Stage) -> jax.Array:
    """The value of all classes on one device."""
    of = jax.jit(lambda pair, params: value_of(objective, pair, context(params, KEY)))
    return of(pair(), PARAMS)


def check_losses() -> None:
    a, b = jax.random.normal(jax.random.key(0), (2, CLASSES, 3, 5))
    for loss in (losses.layerwise_cosine, losses.flat_cosine, losses.squared_error):

        def distances(a: jax.Array, b: jax.Array, loss: Callable = loss) -> jax.Array:
            return jax.vmap(lambda a, b: loss([a], [b]))(a, b)

        same(sharded(distances, P("classes"), P("classes"))(a, b), distances(a, b))

    def embedded(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.lax.psum(losses.mean_embedding(a, b), "classes")

    same(sharded(embedded, P("classes"), P())(a, b), losses.mean_embedding(a, b))


def check_sums() -> None:
    """An accumulator starts on every device as what is added to it."""
    x = jnp.arange(8.0)

    def total(x: jax.Array) -> jax.Array:
        return jax.lax.psum(summed(lambda x: {"square": x**2}, x, 2), "classes")["square"]

    same(sharded(total, P("classes"), P())(x), 140.0)


def check_convolutions() -> None:
    """Weights that devices share have the derivative by all images, images that they share by all weights."""
    x = jax.random.normal(KEY, (4, 8, 8, 32))
    w = jax.random.normal(KEY, (4, 3, 3, 32, 32))
    for conv in (nn.loop_safe_conv, nn.winograd_conv):

        def by_weights(x: jax.Array, w: jax.Array, conv: Callable = conv) -> jax.Array:
            return jax.grad(lambda w: jnp.square(conv(x, w, 1)).sum())(w)

        same(sharded(by_weights, (P("classes"), P()), P())(x, w[0]), by_weights(x, w[0]))

        def by_images(x: jax.Array, w: jax.Array, conv: Callable = conv) -> jax.Array:
            return jax.grad(lambda x: sum(jnp.square(conv(x, each, 1)).sum() for each in w))(x)

        got = sharded(by_images, (P(), P("classes")), P())(x, w)
        same(got, by_images(x, w))


def check_training() -> None:
    """Every device trains networks of its own on images that all share."""
    model = nn.convnet(CLASSES, SHAPE, width=4, depth=1)
    images, labels = (x[:, 0] for x in pair().synthetic[:2])

    def trained(keys: jax.Array) -> Any:
        def one(key: jax.Array) -> Any:
            sgd = training.SGD(momentum=0.9, milestones=(1,))
            state = training.TrainingState.begin(model.init(key), sgd)
            state, _ = training.train_epochs(key, model, state, images, labels, sgd, epochs=2)
            return state.variables

        return jax.lax.map(one, keys)

    keys = jax.random.split(KEY, 4)
    same(sharded(trained, P("classes"), P("classes"))(keys), trained(keys))


def check_gradients() -> None:
    """Streamed: a scan with an accumulator, within the map over classes."""
    whole = pair()
    stage = matching.per_class(matching.gradients(real_micro_batch=8, synthetic_micro_batch=2))

    def gradients(pair: Pair, params: Any) -> Pair:
        return value_of(stage, pair, context(params, KEY))

    specs = (P("classes"), P())
    got = sharded(gradients, specs, P("classes"))(whole, PARAMS)
    assert jax.tree.leaves(got)[0].shape[0] == CLASSES
    same(got, gradients(whole, PARAMS))


def check_dc() -> None:
    """Without augmentation the whole set needs no keys: it is the sum of its halves."""
    got, want = values_and_gradients(methods.class_gradients())
    same(got, want)
    same(got[0], whole_value(methods.class_gradients()))


def check_dsa() -> None:
    got, want = values_and_gradients(methods.class_gradients(strategy="crop_cutout"))
    same(got, want)
    plain = whole_value(methods.class_gradients())
    assert abs(got[0] - plain) > 1e-3


def check_dm() -> None:
    """With all ops of the augmentation, which first derivatives make cheap to compile."""
    got, want = values_and_gradients(methods.class_embeddings(strategy=STRATEGY))
    same(got, want)


def check_cafe() -> None:
    """Discrimination is among the classes of a device."""
    got, want = values_and_gradients(methods.layer_features())
    same(got, want)


def main() -> None:
    """Runs every check."""
    assert jax.device_count() == 2
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
            print(name, flush=True)


if __name__ == "__main__":
    main()
