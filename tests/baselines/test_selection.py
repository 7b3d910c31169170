"""Herding and k-centre against plain loops in float64, ties, rows that are no samples, and bounds."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.baselines import herding, k_centre


def plain_herding(features: np.ndarray, n: int) -> list[int]:
    """Algorithm 4 of iCaRL, as it is written there."""
    mean, picked = features.mean(0), []
    for k in range(1, n + 1):
        total = features[picked].sum(0)
        error = [np.linalg.norm(mean - (x + total) / k) for x in features]
        picked.append(
            min((i for i in range(len(features)) if i not in picked), key=error.__getitem__)
        )
    return picked


def plain_k_centre(features: np.ndarray, n: int) -> list[int]:
    mean = features.mean(0)
    picked = [min(range(len(features)), key=lambda i: np.linalg.norm(features[i] - mean))]
    while len(picked) < n:
        nearest = [min(np.linalg.norm(x - features[p]) for p in picked) for x in features]
        picked.append(
            max((i for i in range(len(features)) if i not in picked), key=nearest.__getitem__)
        )
    return picked


BOTH = pytest.mark.parametrize(
    ("select", "plain"),
    [(herding, plain_herding), (k_centre, plain_k_centre)],
    ids=["herding", "k"],
)


@pytest.fixture(params=[0, 1, 2])
def features(request) -> np.ndarray:
    """As embeddings are: not centred, not negative, of unequal scale, some of them far away."""
    rng = np.random.default_rng(request.param)
    features = np.abs(rng.normal(size=(41, 6)) + 3) * rng.gamma(1, size=(41, 1)) * np.arange(1, 7)
    return features.astype(np.float32)


@BOTH
def test_as_the_plain_loop(select, plain, features):
    expected = plain(features.astype(np.float64), 12)
    picked_rows = select(features, 12)
    assert picked_rows.dtype == jnp.int32 and picked_rows.tolist() == expected
    assert select(features, 5).tolist() == expected[:5]
    assert sorted(select(features, 41).tolist()) == list(range(41))


@BOTH
def test_rows_that_are_no_samples_change_nothing(select, plain, features):
    valid = np.random.default_rng(5).random(41) < 0.6
    rows = np.flatnonzero(valid)
    expected = rows[plain(features[rows].astype(np.float64), 8)].tolist()
    for other in (0.0, 1e6, np.inf, np.nan):
        spoilt = np.where(valid[:, None], features, np.float32(other))
        assert select(spoilt, 8, valid=jnp.asarray(valid)).tolist() == expected


@BOTH
def test_of_equals_the_first_and_none_twice(select, plain):
    assert select(np.ones((6, 3), np.float32), 6).tolist() == list(range(6))
    twins = np.repeat(np.array([[0.0], [4.0], [9.0]], np.float32), 2, axis=0)
    # both begin with the 4 (the mean is 4.33), of which there are two
    assert select(twins, 6).tolist() == plain(twins.astype(np.float64), 6)
    assert select(twins, 2)[0] == 2 and sorted(select(twins, 6).tolist()) == list(range(6))


@BOTH
def test_under_jit_vmap_and_low_precision(select, plain, features):
    stacked = jnp.stack([features, features[::-1]])
    picked_rows = jax.jit(jax.vmap(lambda x: select(x, 4)))(stacked)
    assert picked_rows.tolist() == [
        select(features, 4).tolist(),
        select(features[::-1], 4).tolist(),
    ]
    rounded = jnp.asarray(features, jnp.bfloat16)
    assert select(rounded, 4).tolist() == plain(np.asarray(rounded, np.float64), 4)


def test_herding_keeps_the_mean_and_k_centre_the_extent():
    features = np.random.default_rng(0).gamma(2, size=(16, 5)).astype(np.float32)
    mean = features.mean(0)

    def error(rows) -> float:
        return float(np.linalg.norm(features[np.asarray(rows)].mean(0) - mean))

    def radius(rows) -> float:
        return np.linalg.norm(features[:, None] - features[np.asarray(rows)], axis=-1).min(1).max()

    random = [np.random.default_rng(i).permutation(16)[:4] for i in range(200)]
    assert error(herding(features, 4)) < np.quantile([error(rows) for rows in random], 0.05)
    assert radius(k_centre(features, 4)) < np.quantile([radius(rows) for rows in random], 0.05)
    best = min(radius(rows) for rows in itertools.combinations(range(16), 3))
    assert best <= radius(k_centre(features, 3)) <= 2 * best
    assert herding(features, 1).tolist() == k_centre(features, 1).tolist()


@pytest.mark.parametrize("select", [herding, k_centre])
@pytest.mark.parametrize("n", [0, -1, 5])
def test_refuses(select, n):
    with pytest.raises(ValueError, match=rf"at least n = {n} .*got \(4, 2\)"):
        select(np.zeros((4, 2), np.float32), n)
    with pytest.raises(ValueError, match="features must be"):
        select(np.zeros(4, np.float32), 1)
