"""Predictions of links without training: by hand, and restored."""

import math

import numpy as np
import pytest

from graph.baselines import MIXED, EdgeBank, Popularity, RecencyMix, mix_of
from tidemill.errors import ConfigError
from tidemill.state import decode, encode

PAST = ([1, 2, 1], [2, 3, 3], [0.0, 50.0, 100.0])


def test_edgebank_knows_pairs_that_were() -> None:
    bank = EdgeBank()
    bank.learn(*PAST)
    assert bank.score([1, 2], [[2, 3, 4], [1, 3, 9]], [120.0, 120.0]).tolist() == [[1, 1, 0], [0, 1, 0]]


def test_edgebank_forgets_what_is_older_than_its_window() -> None:
    bank = EdgeBank(window=60.0)
    bank.learn(*PAST)
    assert bank.score([1], [[2, 3]], [160.0]).tolist() == [[0, 1]]
    assert bank.score([1], [[2, 3]], [161.0]).tolist() == [[0, 0]]


def test_popularity_counts_edges_in() -> None:
    popular = Popularity()
    popular.learn(*PAST)
    assert popular.score([7], [[1, 2, 3, 9]], [100.0]).tolist() == [[0, 1, 2, 0]]


def test_the_mix_by_hand() -> None:
    mix = RecencyMix(pair=1.0, reverse=2.0, edge_in=3.0, edge_out=4.0, popularity=5.0)
    mix.learn(*PAST)
    r = [math.log1p(seconds / 30) / 13 for seconds in (130, 30, 80)]
    to_two = (1.3 - r[0]) + 3 * (1.2 - r[0]) + 4 * (1.2 - r[2]) + math.log(2)
    to_three = (1.3 - r[1]) + 3 * (1.2 - r[1]) + math.log(3)
    assert mix.score([1], [[2, 3, 9]], [130.0])[0] == pytest.approx([to_two, to_three, 0])
    back = 2 * (1.3 - r[1]) + 4 * (1.2 - r[1])
    assert mix.score([3], [[1]], [130.0])[0] == pytest.approx([back])


def test_the_mix_of_one_pair_is_what_the_model_scores() -> None:
    """By rows of the past, with the weights as they are where none are given, −1 where there is no row."""
    mix = RecencyMix()
    mix.learn(*PAST)
    h = mix.past.arrays
    rows = {name: row for row, name in enumerate(h.node_id[:3].tolist())}
    for src in (1, 2, 3, 9):
        for dst in (1, 2, 3, 9):
            one = mix_of(h, rows.get(src, -1), rows.get(dst, -1), 130.0, np.array(MIXED))
            assert one == mix.score([src], [[dst]], [130.0])[0, 0]
    r = [math.log1p(seconds / 30) / 13 for seconds in (130, 30, 80)]
    by_hand = 2.0 * (1.3 - r[0]) + 1.0 * (1.2 - r[0]) + 0.5 * (1.2 - r[2]) + 0.5 * math.log(2) / 5
    assert mix_of(h, rows[1], rows[2], 130.0, np.array(MIXED)) == pytest.approx(by_hand)
    assert mix.params() == dict(zip(("pair", "reverse", "edge_in", "edge_out", "popularity"), MIXED, strict=True))


@pytest.mark.parametrize("model", [EdgeBank(), EdgeBank(60.0), Popularity(), RecencyMix(pair=3.0)])
def test_blocks_or_one_by_one_and_restored_are_the_same(model: EdgeBank | Popularity | RecencyMix) -> None:
    src, dst = np.random.default_rng(3).integers(0, 9, (2, 200))
    time, asked = np.arange(200.0), np.tile(np.arange(10), (10, 1))
    one, restored = type(model)(**model.params()), type(model)(**model.params())
    model.fit(src, dst, time, block=200)
    for i in range(200):
        one.learn(src[i : i + 1], dst[i : i + 1], time[i : i + 1])
    restored.load_state(decode(encode(model.state()), dict))
    scores = [m.score(np.arange(10), asked, np.full(10, 230.0)) for m in (model, one, restored)]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] == scores[2]).all()


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(ConfigError):
        EdgeBank(window=0.0)
    with pytest.raises(ConfigError):
        RecencyMix(pair=float("nan"))
