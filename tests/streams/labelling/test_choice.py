"""A choice is of the most wanted, within budget, caps and shares, and depends on no order."""

import numpy as np
import pytest

from streams.labelling.choice import STRATEGIES, Pool, choose, quotas
from streams.labelling.uncertainty import disagreement, entropy, least_confidence, margin
from tidemill.errors import ConfigError


def pool(n=60, seed=0):
    rng = np.random.default_rng(seed)
    P = rng.dirichlet(np.ones(4), n)
    versions = [rng.dirichlet(np.ones(4), 1 + i % 3) for i in range(n)]
    return Pool(
        ids=[f"i{i}" for i in rng.permutation(n)],
        P=P,
        versions=versions,
        embeddings=rng.normal(size=(n, 3)),
        groups=[f"g{i % 5}" for i in range(n)],
        rise=np.where(np.arange(n) % 4 == 0, 0.2, 0.0),
    )


def ids(pool, picks):
    return [pool.ids[p.at] for p in picks]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_within_budget_once_each_and_in_any_order(strategy):
    there = pool()
    picks = choose(there, {strategy: 1}, 12, seed=3)
    assert len({p.at for p in picks}) == 12 and all(0 <= p.score <= 1 for p in picks)
    order = np.random.default_rng(1).permutation(60)
    other = Pool(
        [there.ids[i] for i in order],
        there.P[order],
        [there.versions[i] for i in order],
        there.embeddings[order],
        [there.groups[i] for i in order],
        there.rise[order],
    )
    assert ids(other, choose(other, {strategy: 1}, 12, seed=3)) == ids(there, picks)
    capped = choose(there, {strategy: 1}, 30, seed=3, per_group=2)
    assert len(capped) == 10 and {g: [there.groups[p.at] for p in capped].count(g) for g in there.groups} == {
        f"g{i}": 2 for i in range(5)
    }


@pytest.mark.parametrize(
    ("strategy", "measure"), [("entropy", entropy), ("margin", margin), ("least_confidence", least_confidence)]
)
def test_the_most_unsure(strategy, measure):
    there = pool()
    want = np.argsort(-measure(there.P))[:9].tolist()
    assert [p.at for p in choose(there, {strategy: 1}, 9)] == want


def test_disagreement_and_drift_take_only_what_they_have():
    there = pool()
    apart = np.array([disagreement(v) for v in there.versions])
    assert [p.at for p in choose(there, {"disagreement": 1}, 5)] == np.argsort(-apart)[:5].tolist()
    picks = choose(there, {"drift": 1}, 20)
    assert [p.strategy for p in picks] == ["drift"] * 15 + ["margin"] * 5
    assert all(there.rise[p.at] > 0 for p in picks[:15])
    plain = Pool(there.ids, there.P)
    assert {p.strategy for p in choose(plain, {"drift": 1, "disagreement": 1, "k_centre": 1}, 9)} == {"margin"}


def test_random_is_by_the_seed_and_touches_all_alike():
    there = pool()
    assert ids(there, choose(there, {"random": 1}, 9, seed=1)) != ids(there, choose(there, {"random": 1}, 9, seed=2))
    counts = np.bincount(
        [p.at for seed in range(400) for p in choose(there, {"random": 1}, 6, seed=seed)], minlength=60
    )
    assert counts.min() > 15 and counts.max() < 70  # 40 expected


def test_a_mixture_gives_each_its_share():
    picks = choose(pool(), {"entropy": 0.5, "clusters": 0.3, "random": 0.2}, 10)
    assert [p.strategy for p in picks] == ["entropy"] * 5 + ["clusters"] * 3 + ["random"] * 2
    assert quotas({"a": 1, "b": 1, "c": 1}, 10) == {"a": 4, "b": 3, "c": 3}
    assert quotas({"a": 0.9, "b": 0.1}, 3) == {"a": 3, "b": 0}


def test_small_pools():
    there = pool()
    few = Pool(there.ids[:2], there.P[:2], there.versions[:2], there.embeddings[:2])
    for strategy in STRATEGIES:
        assert len(choose(few, {strategy: 1}, 5)) == 2
        assert choose(Pool([], np.zeros((0, 2))), {strategy: 1}, 5) == []


@pytest.mark.parametrize("shares", [{}, {"gut feeling": 1}, {"margin": 0}, {"margin": float("nan")}])
def test_what_is_no_mixture_is_refused(shares):
    with pytest.raises(ConfigError):
        choose(pool(), shares, 3)
