"""HaBa's adversary beside an objective: the original's order, its own optimiser, resuming, what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jdd import choice, losses, matching, methods, nn
from jdd.augment import cutmix_augmentation, no_augmentation
from jdd.data import Batch
from jdd.matching import Context, Pair, Task, Views, bound
from jdd.methods import paper_adversary, released_adversary, view_similarity
from jdd.synthetic import flat, hallucinated
from tests.methods.small_runs import build, data, resumed, run, same, small, small_model

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

OPTIMIZER = methods.by_group(bases=methods.sgd(0.1), hallucinators=methods.sgd(0.01))
TASK = Task(small_model(), "hallucinated(2)", 2)


def recipe_with(objective: matching.Stage, **changes) -> methods.Recipe:
    usual = {"synthetic": hallucinated(2), "optimizer": OPTIMIZER, "objective": objective}
    return small("dm", **usual | changes)


BESIDE = matching.add(methods.class_embeddings(), matching.scale(0.1, view_similarity()))


def test_it_learns_beside_an_objective_and_resumes_bit_for_bit():
    recipe = recipe_with(BESIDE, networks=2)
    start = build(recipe).init(jax.random.key(0), data())
    state, values = run(recipe)
    assert np.isfinite(values).all()
    before, after = (s.objective[1] for s in (start, state))
    assert int(before["steps"]) == 0 and int(after["steps"]) == 4
    kernels = [x["variables"]["params"]["conv0"]["kernel"] for x in (before, after)]
    assert (kernels[0] != kernels[1]).any()
    assert same(state, resumed(recipe, 1, 2, 1))
    assert methods.Recipe.from_json(recipe.to_json()) == recipe
    text = "add(class_embeddings, scale(0.1, view_similarity))"
    assert choice.parse(text) == BESIDE


def by_hand(variables, optimizer, batches, similarity_of):
    """One step of the adversary on one batch (none for None), then the similarity on another."""
    model, (learned, seen) = small_model(), batches

    def outputs(params, images):
        output, _ = model.forward({"params": params}, images.reshape(-1, 8, 8, 1))
        n = len(images)
        assert output.embedding is not None
        return output.embedding.reshape(n, 2, -1), output.logits.reshape(n, 2, -1)

    params = variables["params"]
    if learned is not None:
        images, labels = learned
        gradient = jax.grad(
            lambda params: losses.released_adversary(*outputs(params, images), labels)
        )(params)
        updates, optimizer = optax.sgd(0.001, 0.9).update(gradient, optimizer, params)
        params = optax.apply_updates(params, updates)
    return params, optimizer, similarity_of(outputs(params, seen[0])[0])


def test_it_learns_after_the_set_and_the_set_descends_its_similarity():
    """Two steps of the stage by hand: no learning before the first; constant images in the second."""
    stage = bound(view_similarity(augment=no_augmentation()), TASK)
    images = jax.random.normal(jax.random.key(1), (2, 3, 2, 8, 8, 1))  # [V, C, n, ...]
    state = stage.init(jax.random.key(0))

    def decode(images, variant):
        return Batch(images[variant], jnp.tile(jnp.arange(3)[:, None], (1, 2)))

    def value(images, state, step):
        views = Views(jax.tree_util.Partial(decode, images), 2)
        context = Context(lambda p, x: x, {}, jax.random.key(step), step, views=views)
        return stage.apply(None, state, context)

    of_both = flat(Batch(jnp.moveaxis(images, 0, 2), jnp.tile(jnp.arange(3)[:, None], (1, 2))))
    batch = (of_both.images, of_both.labels)
    descend = jax.jit(jax.value_and_grad(value, has_aux=True), static_argnums=2)
    expected = state["variables"], state["optimizer"]
    for step in range(2):
        (similarity, state), gradient = descend(images, state, step)
        params, optimizer, want = by_hand(
            *expected, (batch if step else None, batch), losses.view_similarity
        )
        # Which of the two variants comes first changes no loss.
        np.testing.assert_allclose(similarity, want, rtol=1e-5)
        for got, by_us in zip(
            jax.tree.leaves((state["variables"]["params"], state["optimizer"])),
            jax.tree.leaves((params, optimizer)),
            strict=True,
        ):
            np.testing.assert_allclose(got, by_us, rtol=1e-3, atol=1e-6)
        expected = {"params": params}, optimizer

        def of_images(images, params=params):
            pair = jnp.moveaxis(images, 0, 2).reshape(6, 2, 8, 8, 1)
            embedding = small_model().features({"params": params}, pair.reshape(-1, 8, 8, 1))[1]
            return losses.view_similarity(embedding.reshape(6, 2, -1))

        want = jax.grad(of_images)(images)  # nothing through the adversary's learning
        np.testing.assert_allclose(gradient, want, rtol=1e-3, atol=1e-7)


def test_a_network_of_its_own_and_the_papers_losses():
    stage = view_similarity(paper_adversary("convnetd1", optimizer=methods.adam(0.01)), images=4)
    stage = bound(stage, Task(small_model(), "hallucinated(3)", 3))
    state = stage.init(jax.random.key(0))
    model = nn.network("convnetd1").model(3, (8, 8, 1))
    want = jax.tree.map(jnp.shape, model.init(jax.random.key(0)))
    assert jax.tree.map(jnp.shape, state["variables"]) == want
    images = jax.random.normal(jax.random.key(1), (3, 3, 2, 8, 8, 1))
    views = Views(jax.tree_util.Partial(lambda x, v: Batch(x[v], jnp.zeros((3, 2))), images), 3)
    context = Context(lambda p, x: x, {}, jax.random.key(2), views=views)
    value, after = jax.eval_shape(lambda s: stage.apply(None, s, context), state)
    assert value.shape == () and jax.tree.structure(after) == jax.tree.structure(state)
    assert str(view_similarity(paper_adversary(contrast=1.0))) == (
        "view_similarity(paper_adversary(contrast=1.0))"
    )


@pytest.mark.parametrize(
    "stage",
    [
        matching.scale(2.0, view_similarity()),
        matching.add(view_similarity(), matching.scale(0.5, view_similarity())),
        matching.switch(lambda step: step >= 2, view_similarity(), view_similarity()),
        matching.when_coupled(view_similarity(), view_similarity()),
        matching.chain(matching.stateless(lambda value, context: value), view_similarity()),
    ],
    ids=["scale", "add", "switch", "when_coupled", "chain"],
)
def test_combinators_bind_it(stage):
    assert stage.bind is not None
    whole = bound(stage, TASK)
    assert whole.bind is None
    assert jax.tree.leaves(jax.eval_shape(lambda: whole.init(jax.random.key(0))))


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"synthetic hallucinated\(1\) has one alone"):
        build(recipe_with(BESIDE, synthetic=hallucinated(1)))
    with pytest.raises(ValueError, match="per_class needs a stage without state"):
        matching.per_class(view_similarity())
    with pytest.raises(ValueError, match="over_networks needs a stage without state"):
        build(recipe_with(BESIDE, networks_per_update=2, updates=1, motion=methods.never()))
    with pytest.raises(ValueError, match="needs an adversary, got 3"):
        view_similarity(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown network 'convnet33'"):
        released_adversary("convnet33")
    with pytest.raises(ValueError, match="optimizer must be of kind Optimizer or None"):
        released_adversary(optimizer=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images must be at least 1"):
        view_similarity(images=0)
    with pytest.raises(ValueError, match="build binds it to the classes and images"):
        matching.value_of(
            view_similarity(), Pair(0, 0), Context(lambda p, x: x, {}, jax.random.key(0))
        )
    mixing = recipe_with(matching.scale(0.1, view_similarity(augment=cutmix_augmentation())))
    state = jax.eval_shape(build(mixing).init, jax.random.key(0), data())
    with pytest.raises(ValueError, match="needs images of one class each"):
        jax.eval_shape(build(mixing).step, state, data())
    stage = bound(view_similarity(), TASK)
    with pytest.raises(ValueError, match="must stand beside an objective"):
        matching.value_of(stage, None, Context(lambda p, x: x, {}, jax.random.key(0)))
