"""The learned model of links: it beats the baselines, sees no future, and is the same bytes every time."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from graph.baselines import EdgeBank, RecencyMix
from graph.evaluate import Quality, evaluate
from graph.link_model import STRANGER, LinkModel, Told
from tests.graph.link_reference import drawn, rank, share
from tidemill.errors import ConfigError, IncompatibleError
from tidemill.state import decode, encode

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "bitcoin_otc" / "soc-sign-bitcoinotc.csv.gz"


def conversations(n: int = 1_500, nodes: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every other edge answers the one before; the others are chance."""
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, nodes, (2, n))
    src[1::2], dst[1::2] = dst[0::2], src[0::2]
    return src, dst, np.cumsum(rng.integers(1, 600, n)).astype(float)


def visits(n: int, users: int = 40, shops: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of many users to few shops, which have numbers of their own; everyone has a shop of theirs, mostly."""
    rng = np.random.default_rng(1)
    src, dst = rng.integers(0, users, n), rng.integers(0, shops, n)
    dst = np.where(rng.random(n) < 0.7, src % shops, dst)
    return 2 * src, 2 * dst + 1, 60.0 * np.arange(n)


def test_between_two_types_it_is_held_against_targets_alone() -> None:
    """By chance the rank is 3 of 5 shops; against users, which are never a target, anyone would be first."""
    rng = np.random.default_rng(2)
    src, dst, time = 2 * rng.integers(0, 200, 2_000), 2 * rng.integers(0, 5, 2_000) + 1, np.arange(2_000.0)
    told = LinkModel(negatives=4, strangers=0.0, bipartite=True).follow(src, dst, time)
    assert told.rank[1_000:].mean() == pytest.approx(3.0, abs=0.15)
    assert LinkModel(negatives=4, strangers=0.0).follow(src, dst, time).rank[1_000:].mean() < 1.5
    followed = LinkModel(bipartite=True)
    assert followed.follow(*visits(2_000)).share[1_500:].mean() > 0.15, "of 21 candidates from 5 shops"
    again = LinkModel(**followed.params())
    again.load_state(decode(encode(followed.state()), dict))
    more = [column[-50:] for column in visits(2_050)]
    assert (again.follow(*more).share == followed.follow(*more).share).all()


def test_it_learns_what_answers_what() -> None:
    found = evaluate([("model", LinkModel)], *conversations(), kinds=("seeded",))
    mrr = {q.protocol: q.mrr for q in found}
    assert mrr["causal"] > 0.45
    assert mrr["stale"] < 0.25, "what answers is in the same block, and the stale protocol does not show it"


def test_it_learns_nothing_where_there_is_nothing() -> None:
    src, dst = np.random.default_rng(5).integers(0, 40, (2, 1_200))
    found = evaluate([("model", LinkModel)], src, dst, np.arange(1_200.0), kinds=("seeded",))
    assert max(q.mrr for q in found) < 0.052 + 0.06


@pytest.mark.parametrize("block", [1, 200])
def test_the_same_input_and_seed_give_the_same_bytes(block: int) -> None:
    states = []
    for seed in (3, 3, 4):
        model = LinkModel(seed=seed)
        model.fit(*conversations(400), block=block, passes=2)
        states.append(encode(model.state()))
    assert states[0] == states[1] != states[2]


def test_learning_a_block_at_a_time_is_fitting_in_blocks() -> None:
    rows = conversations(400)
    fitted, learned = LinkModel(historical=5), LinkModel(historical=5, rate=0.002)
    fitted.fit(*rows, block=7, passes=1)
    for at in range(0, 400, 7):
        learned.learn(*(column[at : at + 7] for column in rows))
    assert encode(fitted.state()) == encode(learned.state())


def test_a_restored_model_goes_on_as_the_first() -> None:
    rows, more = conversations(300), conversations(334, seed=1)
    first = LinkModel()
    first.fit(*rows, block=1, passes=1)
    second = LinkModel(**first.params())
    second.load_state(decode(encode(first.state()), dict))
    for model in (first, second):
        model.learn(*more)
    assert encode(first.state()) == encode(second.state())
    asked = (np.arange(60), np.tile(np.arange(70), (60, 1)), np.full(60, 1e6))
    assert (first.score(*asked) == second.score(*asked)).all()


def test_a_frozen_model_keeps_its_weights_and_not_its_past() -> None:
    model = LinkModel(frozen=True)
    model.fit(*conversations(300), block=1, passes=1)
    before = model.state()
    model.learn([1], [2], [1e6])
    after = model.state()
    assert (before["weights"] == after["weights"]).all()
    assert after["size"][2] == before["size"][2] + 1


def test_scores_do_not_depend_on_the_place_of_a_candidate_or_on_the_others() -> None:
    model = LinkModel()
    model.fit(*conversations(300), block=1, passes=1)
    together = model.score([3], [np.arange(60)], [1e6])[0]
    assert (model.score([3], [np.arange(60)[::-1]], [1e6])[0][::-1] == together).all()
    assert [model.score([3], [[c]], [1e6])[0, 0] for c in range(60)] == together.tolist()


def test_nodes_never_seen_tie() -> None:
    model = LinkModel()
    model.fit(*conversations(300), block=1, passes=1)
    scores = model.score([3, 999], [[777, STRANGER], [777, 778]], [1e6, 1e6])
    assert (scores[:, 0] == scores[:, 1]).all()


@pytest.mark.parametrize("historical", [0, 4])
def test_following_is_learning_edge_by_edge(historical: int) -> None:
    src, dst, time = conversations(200)
    followed, learned = LinkModel(historical=historical), LinkModel(historical=historical)
    followed.follow(src, dst, time)
    for i in range(200):
        learned.learn(src[i : i + 1], dst[i : i + 1], time[i : i + 1])
    assert encode(followed.state()) == encode(learned.state())


def test_following_is_the_same_however_the_stream_is_cut() -> None:
    rows = conversations(200)
    whole, cut = LinkModel(), LinkModel()
    told, parts, at = whole.follow(*rows), [], 0
    for size in (1, 16, 7, 100, 0, 76):
        parts.append(cut.follow(*(column[at : at + size] for column in rows)))
        at += size
    assert at == 200
    for name in Told._fields:
        together = np.concatenate([getattr(part, name) for part in parts])
        assert (together == getattr(told, name)).all() and len(set(together.tolist())) > (
            5 if name == "bank_rank" else 20
        )
    assert encode(whole.state()) == encode(cut.state())


@pytest.mark.parametrize(
    ("historical", "strangers", "bipartite"), [(0, 0.1, False), (3, 0.5, False), (0, 0.1, True), (3, 0.1, True)]
)
def test_what_is_told_of_an_edge_is_what_model_and_mix_say_before_it(
    historical: int, strangers: float, bipartite: bool
) -> None:
    model = LinkModel(negatives=6, historical=historical, strangers=strangers, seed=2, bipartite=bipartite)
    mix, bank = RecencyMix(), EdgeBank()
    rows = visits(150) if bipartite else conversations(150)
    for i, (src, dst, time) in enumerate(zip(*(column.tolist() for column in rows), strict=True)):
        others = drawn(model.past, src, dst, 2, i, 6, historical, strangers)
        scores = model.score([src], [[dst, *others]], [time])[0]
        mixed = mix.score([src], [[dst, *others]], [time])[0]
        told = model.follow([src], [dst], [time])
        assert told.share[0] == pytest.approx(share(scores), rel=1e-6)
        met = bank.score([src], [[dst, *others]], [time])[0]
        ranks = rank(scores.tolist()), rank(mixed.tolist()), rank(met.tolist())
        assert (told.rank[0], told.mix_rank[0], told.bank_rank[0]) == ranks
        mix.learn([src], [dst], [time])
        bank.learn([src], [dst], [time])


def test_the_first_edge_ties_with_strangers() -> None:
    told = LinkModel(negatives=4).follow([1], [2], [0.0])
    assert told.share.tolist() == [pytest.approx(1 / 5)]
    assert told.rank.tolist() == told.mix_rank.tolist() == told.bank_rank.tolist() == [3.0]
    assert [column.shape for column in LinkModel().follow([], [], [])] == [(0,)] * 4


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ConfigError):
        LinkModel(negatives=3, historical=4)
    with pytest.raises(ConfigError):
        LinkModel(rate=0.0)
    with pytest.raises(IncompatibleError):
        LinkModel().load_state(LinkModel(scales=[60.0]).state())


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs bitcoin_otc in TIDEMILL_DATA")
def test_it_beats_the_mix_on_bitcoin_otc() -> None:
    with gzip.open(DATA, "rt") as lines:
        rows = np.array([(row[0], row[1], row[3]) for row in list(csv.reader(lines))[1:]], float)
    rows = rows[np.argsort(rows[:, 2], kind="stable")]
    models = [("mix", RecencyMix), ("model", LinkModel)]
    found = evaluate(models, *rows.T.copy(), kinds=("seeded",))

    def mrr(model: str, protocol: str) -> float:
        return next(q.mrr for q in found if _is(q, model, protocol))

    for protocol in ("causal", "stale"):
        assert mrr("model", protocol) > mrr("mix", protocol) + 0.03


def _is(q: Quality, model: str, protocol: str) -> bool:
    return (q.model, q.protocol) == (model, protocol)
