"""What one edge counts: forgetting it is never having seen it, in all that one edge can be taken out of."""

import numpy as np
import pytest

from graph.link_features import LinkFeatures
from graph.link_influence import forget, influences
from graph.link_model import LinkModel
from graph.table import find
from tidemill.state import encode

STAY = ("factor", "met_", "replies", "age", "events_ago", "known")
"""Of what many edges made together; and a node that lost its only edge is known all the same."""


def edges(n=90, nodes=9, seed=0):
    rng = np.random.default_rng(seed)
    return (*rng.integers(0, nodes, (2, n)), np.cumsum(rng.integers(60, 90_000, n)).astype(float))


def rows_of(past, src, dst):
    h = past.arrays
    a, b = (find(h.node_table, h.node_id, node)[0] for node in (src, dst))
    return a, b, *(find(h.pair_table, h.pair_key, key)[0] for key in ((a << 32) | b, (b << 32) | a))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_forgotten_edge_is_one_that_never_came(seed):
    src, dst, time = edges(seed=seed)
    names = LinkFeatures().names
    kept = [i for i, name in enumerate(names) if not any(word in name for word in STAY)]
    when = time[-1] + 1_000.0
    for gone in [*range(0, 88, 7), 86, 87, 88, 89]:
        rest = np.arange(len(src)) != gone
        never, past = LinkFeatures(), LinkFeatures()
        never.update(src[rest], dst[rest], time[rest])
        past.update(src, dst, time)
        asked = (int(src[gone]), int(dst[(gone + 1) % 90])), (int(src[gone]), int(dst[gone])), (3, int(dst[gone]))
        for a, b in asked:
            again = LinkFeatures()
            again.load_state(past.state())
            x, y, own, _ = rows_of(again, src[gone], dst[gone])
            _, _, there, back = rows_of(again, a, b)
            assert forget(again.arrays, x, y, time[gone], np.array([own, there, back]))
            found, wanted = (p.features([a], [[b]], [when])[0, 0][kept] for p in (again, never))
            apart = [names[kept[i]] for i in np.flatnonzero(np.abs(found - wanted) > 2e-3)]
            assert not apart, (gone, a, b, apart)


def test_what_counts_most_is_what_the_score_falls_without():
    """Everyone goes on to where they went last: that edge is the one of most influence."""
    rng, last, rows = np.random.default_rng(0), {}, []
    for i in range(3_000):
        who = int(rng.integers(30))
        last[who] = last[who] if who in last and rng.random() < 0.8 else int(rng.integers(100, 120))
        rows.append((who, last[who], 60.0 * i))
    model = LinkModel()
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    model.follow(*columns)
    before, first = encode(model.state()), 0
    for who in range(30):
        mine = np.flatnonzero(columns[0] == who)[-10:]
        others = np.flatnonzero((columns[1] == last[who]) & (columns[0] != who))[-5:]
        told = np.concatenate([mine, others, [0]])
        arguments = [column[told] for column in columns]
        arguments[0] = arguments[0].copy()
        arguments[0][-1] = 999  # nobody
        found = influences(model.past.arrays, who, last[who], 200_000.0, *arguments, model.weights)
        assert found.any() and found[-1] == 0.0
        first += int(np.argmax(found)) == len(mine) - 1
    assert first > 20, "of 30"
    assert encode(model.state()) == before and not model.past.arrays.stamp.any()


def test_of_an_end_of_many_edges_the_last_are_remembered():
    src, dst, time = np.zeros(60, np.int64), np.arange(60) % 7 + 1, np.arange(60) * 500.0
    model = LinkModel()
    model.follow(src, dst, time)
    found = influences(model.past.arrays, 0, 3, 31_000.0, src, dst, time, model.weights)
    assert np.isfinite(found).all() and found[-30:].all()
    model.past.update([0], [9], [30_500.0])
    one = influences(model.past.arrays, 0, 9, 31_000.0, *(np.array([x]) for x in (0, 9, 30_500.0)), model.weights)
    assert one[0] != 0.0 and np.isfinite(one).all()
