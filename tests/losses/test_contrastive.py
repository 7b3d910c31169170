"""HaBa's losses on several views of each sample, against the original's and against direct computation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import losses

pytestmark = pytest.mark.slow  # as a whole: it compiles many programs

CASES = ("bpc1", "bpc_many", "chunk")


def views(array):
    """``[2 n, d]``, first the first views, to ``[n, 2, d]``."""
    return jnp.stack(jnp.split(jnp.asarray(array), 2), axis=1)


def rows(array):
    """The inverse of `views`."""
    return np.concatenate([array[:, 0], array[:, 1]])


def close(got, want, tolerance=2e-6):
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_the_original(reference, case):
    arrays = reference("haba_losses")
    embed, logits = views(arrays[f"{case}.embed"]), views(arrays[f"{case}.logits"])
    labels = jnp.asarray(arrays[f"{case}.labels"], jnp.int32)
    supervised = jax.value_and_grad(losses.supervised_contrastive)(embed, labels)
    close(supervised[0], arrays[f"{case}.supcon_f64"])
    close(rows(supervised[1]), arrays[f"{case}.grad_embed_supcon_f64"], 1e-5)
    similarity, gradient = jax.value_and_grad(losses.view_similarity)(embed)
    close(0.1 * similarity, arrays[f"{case}.club_f64"])
    close(rows(0.1 * gradient), arrays[f"{case}.grad_embed_club"], 1e-5)
    whole = jax.value_and_grad(losses.released_adversary, (0, 1))(embed, logits, labels)
    close(whole[0], arrays[f"{case}.sim_f64"])
    close(rows(whole[1][0]), arrays[f"{case}.grad_embed_sim_f64"], 1e-5)
    close(rows(whole[1][1]), arrays[f"{case}.grad_logits_sim"], 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_without_labels_it_is_infonce(reference, case):
    arrays = reference("haba_losses")
    embed = views(arrays[f"{case}.embed"])
    alone = losses.supervised_contrastive(embed, jnp.arange(len(embed)))
    close(alone, arrays[f"{case}.simclr_f64"])


def test_the_papers_losses_are_their_formulae():
    rng = np.random.default_rng(0)
    f = rng.standard_normal((4, 3, 5)).astype(np.float32)
    contrast, similarity = 0.0, 0.0
    for j in range(3):
        for k in set(range(3)) - {j}:
            scores = np.exp(f[:, j] @ f[:, k].T / 0.7)
            contrast -= np.log(np.diag(scores) / scores.sum(1)).sum() / (9 * 4)
            norms = np.linalg.norm(f[:, j], axis=1) * np.linalg.norm(f[:, k], axis=1)
            similarity += ((f[:, j] * f[:, k]).sum(1) / norms).sum() / (9 * 4)
    close(losses.basis_contrastive(jnp.asarray(f), temperature=0.7), contrast)
    close(losses.paper_view_similarity(jnp.asarray(f)), similarity)
    logits, labels = rng.standard_normal((4, 3, 6)).astype(np.float32), np.array([0, 5, 2, 2])
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    task = -np.log(p[np.arange(4), :, labels]).mean()
    both = losses.paper_adversary(
        *map(jnp.asarray, (f, logits, labels)), contrast=0.5, task=2.0, temperature=0.7
    )
    close(both, 0.5 * contrast + 2 * task)
    # All pairs of three views: the mean of what two of them give.
    pairs = [losses.view_similarity(jnp.asarray(f[:, [j, k]])) for j, k in ((0, 1), (0, 2), (1, 2))]
    close(losses.view_similarity(jnp.asarray(f)), np.mean(pairs))


def test_zero_features_have_finite_derivatives():
    zeros = jnp.zeros((3, 2, 4))
    gradients = (
        jax.grad(losses.supervised_contrastive)(zeros, jnp.arange(3)),
        jax.grad(losses.view_similarity)(zeros),
    )
    assert all(np.isfinite(g).all() for g in gradients)
    half = losses.supervised_contrastive(zeros.astype(jnp.bfloat16), jnp.arange(3))
    assert half.dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.view_similarity(jnp.ones((3, 1, 4))), "at least 2 views"),
        (lambda: losses.basis_contrastive(jnp.ones((3, 4))), r"features must be \[n, views, d\]"),
        (
            lambda: losses.supervised_contrastive(jnp.ones((3, 2, 4)), jnp.zeros(2, int)),
            r"labels must be integers \[3\]",
        ),
        (
            lambda: losses.supervised_contrastive(jnp.ones((3, 2, 4)), jnp.zeros(3)),
            "labels must be integers",
        ),
        (
            lambda: losses.released_adversary(
                jnp.ones((3, 2, 4)), jnp.ones((3, 4)), jnp.zeros(3, int)
            ),
            r"logits must be \[n, views, K\]",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
