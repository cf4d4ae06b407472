"""Features of possible links, against a plain reference that looks through the whole list of edges."""

import math
from operator import mul

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.link_factors import NEGATIVES, RATE, SIZE
from graph.link_features import NEVER, LinkFeatures
from graph.link_history import RING, SCALES, STEPS
from tests.graph.link_reference import FULL, mixed
from tidemill.errors import ConfigError

Edge = tuple[int, int, float]


def squash(seconds: float) -> float:
    return math.log1p(seconds / 30) / 13


def of_node(past: list[Edge], node: int, now: float) -> dict[str, float]:
    if not (touching := [e for e in past if node in e[:2]]):
        return {}
    x = {"known": 1.0, "age": squash(now - touching[0][2])}
    for way, end in (("out", 0), ("in", 1)):
        mine = [(i, e) for i, e in enumerate(past) if e[end] == node]
        n = len(mine)
        repeats = sum((e[0], e[1]) in {p[:2] for p in past[:i]} for i, e in mine)
        replies = sum((e[1], e[0]) in {p[:2] for p in past[:i]} for i, e in mine)
        x |= {
            way: math.log1p(n) / 5,
            f"partners_{way}": math.log1p(len({e[1 - end] for _, e in mine})) / 5,
            f"{way}_recency": squash(now - mine[-1][1][2]) if mine else NEVER,
            f"{way}_events_ago": math.log1p(len(past) - 1 - mine[-1][0]) / 12 if mine else NEVER,
            f"repeats_{way}": repeats / (1 + n),
            f"replies_{way}": replies / (1 + n),
        }
        for k, scale in enumerate(SCALES):
            x[f"{way}_decayed_{k}"] = math.log1p(sum(math.exp(-(now - e[2]) / scale) for _, e in mine)) / 3
    return x | of_meetings(past, node, now)


def of_meetings(past: list[Edge], node: int, now: float) -> dict[str, float]:
    """First edges between two, in either direction."""
    x, seen, first = {}, set[frozenset[int]](), list[Edge]()
    for e in past:
        if frozenset(e[:2]) not in seen:
            first.append(e)
            seen.add(frozenset(e[:2]))
    for way, end in (("out", 0), ("in", 1)):
        mine, all_mine = ([e for e in part if e[end] == node] for part in (first, past))
        x |= {
            f"met_{way}": math.log1p(len(mine)) / 5,
            f"met_{way}_recency": squash(now - mine[-1][2]) if mine else NEVER,
            f"met_{way}_share": len(mine) / (1 + len(all_mine)),
            f"met_{way}_last": bool(mine) and mine[-1][2] == all_mine[-1][2],
        }
        for k, scale in enumerate(SCALES):
            x[f"met_{way}_decayed_{k}"] = math.log1p(sum(math.exp(-(now - e[2]) / scale) for e in mine)) / 3
    return x


Factors = tuple[dict[int, list[float]], dict[int, list[float]], dict[int, float]]


def of_factors(past: list[Edge], meetings: bool = False) -> Factors:
    """`u`, `v` and `w` of each node after all edges, in Python's own numbers; with `meetings`, of those by the first
    edges between two, `STEPS` times each way."""
    u, v, w, rows = dict[int, list[float]](), dict[int, list[float]](), dict[int, float](), list[int]()
    met = set[frozenset[int]]()

    def drawn(number: int, draw: int) -> int:
        return mixed((number * 0x9E3779B97F4A7C15 + draw * 0xBF58476D1CE4E5B9) & FULL)

    def start(number: int, way: int) -> list[float]:
        return [(2 * ((drawn(number, 2 * j + way) >> 11) / 2**53) - 1) * 0.15 for j in range(SIZE)]

    def learn(src: int, dst: int, event: int) -> None:
        asked = [dst, *(rows[drawn(event + 1, i) % len(rows)] for i in range(1, NEGATIVES + 1))]
        odds = [math.exp(sum(map(mul, u[src], v[node])) + w[node]) for node in asked]
        odds[1:] = [0.0 if node == dst else one for node, one in zip(asked[1:], odds[1:], strict=True)]
        slope = [one / sum(odds) - (i == 0) for i, one in enumerate(odds)]
        pull = [0.0] * SIZE
        for node, g in zip(asked, slope, strict=True):
            w[node] -= RATE * g
            pull = [p + g * one for p, one in zip(pull, v[node], strict=True)]
            v[node] = [one - RATE * g * mine for one, mine in zip(v[node], u[src], strict=True)]
        u[src] = [one - RATE * p for one, p in zip(u[src], pull, strict=True)]

    for event, (src, dst, _) in enumerate(past):
        for node in (src, dst):
            if node not in u:
                rows.append(node)
                u[node], v[node], w[node] = start(len(rows), 0), start(len(rows), 1), 0.0
        if not meetings:
            learn(src, dst, event)
        elif frozenset((src, dst)) not in met:
            for step in range(STEPS):
                learn(src, dst, 2 * (STEPS * event + step))
                learn(dst, src, 2 * (STEPS * event + step) + 1)
        met.add(frozenset((src, dst)))
    return u, v, w


def of_pair(past: list[Edge], src: int, dst: int, now: float, ends: tuple[int, int]) -> dict[str, float]:
    """Of src → dst; `ends` are the asked edge's source and destination."""
    at = [i for i, e in enumerate(past) if e[:2] == (src, dst)]
    if not at:
        return {}
    after = past[at[-1] + 1 :]
    side = {src: sum(e[0] == src for e in after), dst: sum(e[1] == dst for e in after)}
    rank = (side[ends[0]], side[ends[1]])
    seconds = now - past[at[-1]][2]
    own = sum(e[0 if src == ends[0] else 1] == ends[0] for e in past)
    x = {
        "known": 1.0,
        "recency": squash(seconds),
        "count": math.log1p(len(at)) / 3,
        "share": len(at) / (own + 1),
        "just_now": math.exp(-seconds / 300),
    }
    for name, since in zip(("src", "dst"), rank, strict=True):
        x |= {f"rank_{name}": math.log1p(since) / 4, f"is_last_{name}": since == 0, f"near_{name}": 1 / (1 + since)}
    for k, scale in enumerate(SCALES):
        x[f"decayed_{k}"] = math.log1p(sum(math.exp(-(now - past[i][2]) / scale) for i in at))
    return x


def recent(past: list[Edge], node: int, end: int) -> dict[int, float]:
    """Neighbours in one direction, among the last edges, with the time of the last."""
    return {e[1 - end]: e[2] for e in [e for e in past if e[end] == node][-RING:]}


def of_hops(past: list[Edge], src: int, dst: int, end: int, now: float) -> dict[str, float]:
    his, x = recent(past, dst, end), {}
    for way, mine in (("out", recent(past, src, 0)), ("in", recent(past, src, 1))):
        common = his.keys() & mine.keys()
        partners = [len({e[1] for e in past if e[0] == n}) + len({e[0] for e in past if e[1] == n}) for n in common]
        x[f"common_{way}"] = math.log1p(len(common))
        x[f"weighted_{way}"] = math.log1p(sum(1 / math.log(2 + n) for n in partners))
        x[f"recency_{way}"] = max((1 - squash(now - min(his[n], mine[n])) for n in common), default=-0.2)
    return x


def of_fellows(past: list[Edge], src: int, dst: int, now: float) -> dict[str, float]:
    """Others with a recent edge to a recent destination of `src`, among the recent sources of `dst`."""

    def rarity(node: int) -> float:
        return 1 / math.log(2 + len({e[1] for e in past if e[0] == node}) + len({e[0] for e in past if e[1] == node}))

    shared = [e for node in recent(past, src, 0) for e in [e for e in past if e[1] == node][-RING:] if e[0] != src]
    his = recent(past, dst, 1)
    edges = [e for e in shared if e[0] in his]
    weight = {fellow: sum(rarity(e[1]) for e in edges if e[0] == fellow) for fellow in his}
    last = {fellow: max(e[2] for e in edges if e[0] == fellow) for fellow, w in weight.items() if w}
    x = {
        "fellows": math.log1p(len(edges)) / 3,
        "fellows_weighted": math.log1p(sum(w * rarity(fellow) for fellow, w in weight.items())) / 2,
    }
    if last:
        x["fellows_recency"] = max(0.0, *(NEVER - squash(now - min(t, his[fellow])) for fellow, t in last.items()))
    if his:
        x["last_fellow"] = math.log1p(weight[next(e[0] for e in reversed(past) if e[1] == dst)])
    return x


def reference(past: list[Edge], src: int, dst: int, now: float, factors: Factors, met: Factors) -> dict[str, float]:
    one, other = of_node(past, src, now), of_node(past, dst, now)
    x = {f"src_{name}": value for name, value in one.items()} | {f"dst_{name}": value for name, value in other.items()}
    x["self_loop"] = src == dst
    if not one or not other:
        return x
    there, back = of_pair(past, src, dst, now, (src, dst)), of_pair(past, dst, src, now, (src, dst))
    if src == dst and back:
        n = sum(e[1] == src for e in past)
        back["share"] = sum(e[:2] == (src, src) for e in past) / (n + 1)
        last = max(i for i, e in enumerate(past) if e[:2] == (src, src))
        after = past[last + 1 :]
        for sides, (a, b) in ((there, (0, 1)), (back, (1, 0))):
            for name, end in (("src", a), ("dst", b)):
                since = sum(e[end] == src for e in after)
                sides[f"rank_{name}"] = math.log1p(since) / 4
                sides[f"is_last_{name}"] = since == 0
                sides[f"near_{name}"] = 1 / (1 + since)
    x |= {f"pair_{name}": value for name, value in there.items()}
    x |= {f"reverse_{name}": value for name, value in back.items()}
    if there and back:
        x["src_spoke_last"] = there["recency"] < back["recency"]
        x["dst_spoke_last"] = there["recency"] > back["recency"]
    for name, end in (("dst_out", 0), ("dst_in", 1)):
        x |= {f"{name}_{k}": value for k, value in of_hops(past, src, dst, end, now).items()}
    x |= of_fellows(past, src, dst, now)
    x["age_apart"] = abs(one["age"] - other["age"])
    out, into = len({e[1] for e in past if e[0] == src}), len({e[0] for e in past if e[1] == dst})
    x["popularity_product"] = math.log1p(out * into) / 10
    u, v, w = factors
    x["factors"], x["factors_reverse"] = sum(map(mul, u[src], v[dst])), sum(map(mul, u[dst], v[src]))
    x["factors_out"], x["factors_in"] = sum(map(mul, u[src], u[dst])), sum(map(mul, v[src], v[dst]))
    x["factor_bias"] = w[dst]
    u, v, _ = met
    x["met_factors"], x["met_factors_reverse"] = sum(map(mul, u[src], v[dst])), sum(map(mul, u[dst], v[src]))
    return x


histories = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 90_000)), min_size=1, max_size=150)


@settings(deadline=None, max_examples=80)
@given(histories, st.integers(0, 90_000))
def test_features_equal_the_reference_on_any_history(rows: list[tuple[int, int, int]], later: int) -> None:
    past = sorted(((a, b, float(t)) for a, b, t in rows), key=lambda e: e[2])
    now = past[-1][2] + later
    links = LinkFeatures()
    links.update(*map(np.array, zip(*past, strict=True)))
    factors = of_factors(past), of_factors(past, meetings=True)
    for src in (0, 3, 8):
        got = links.features([src], [[*range(8), 3]], [now])[0]
        assert (got[3] == got[8]).all()
        for dst in range(8):
            wanted = reference(past, src, dst, now, *factors)
            assert set(wanted) <= set(links.names)
            exact = np.array([wanted.get(name, 0.0) for name in links.names], float)
            wrong = np.flatnonzero(~np.isclose(got[dst], exact, rtol=1e-5, atol=1e-6))
            assert not len(wrong), [(src, dst, links.names[i], got[dst, i], exact[i]) for i in wrong]


def test_a_conversation_by_hand() -> None:
    links = LinkFeatures()
    links.update([1, 2, 3], [2, 1, 1], [0.0, 60.0, 90.0])
    x = dict(zip(links.names, links.features([1], [[2]], [90.0])[0, 0].tolist(), strict=True))
    assert x["pair_known"] == x["reverse_known"] == x["dst_spoke_last"] == 1.0
    assert x["src_spoke_last"] == 0.0
    assert x["reverse_recency"] == pytest.approx(math.log(2) / 13)
    assert (x["pair_is_last_src"], x["reverse_is_last_src"]) == (1.0, 0.0)
    assert x["reverse_near_src"] == 0.5


def test_a_common_neighbour_by_hand() -> None:
    links = LinkFeatures()
    links.update([1, 4, 4], [3, 3, 3], [0.0, 30.0, 60.0])
    x = dict(zip(links.names, links.features([1], [[4]], [60.0])[0, 0].tolist(), strict=True))
    assert x["dst_out_common_out"] == pytest.approx(math.log(2))
    assert x["dst_out_recency_out"] == pytest.approx(1 - math.log(3) / 13)
    assert x["dst_in_common_out"] == x["dst_out_common_in"] == x["pair_known"] == 0.0


def test_a_fellow_by_hand() -> None:
    """1 and 2 both wrote to 5, and 2 to 6 twice: one fellow by one edge, of rarity 1/log(2 + 2), as is 5's."""
    links = LinkFeatures()
    links.update([1, 2, 2, 2], [5, 5, 6, 6], [0.0, 30.0, 60.0, 90.0])
    x = dict(zip(links.names, links.features([1], [[6]], [90.0])[0, 0].tolist(), strict=True))
    assert x["fellows"] == pytest.approx(math.log(2) / 3)
    assert x["fellows_weighted"] == pytest.approx(math.log1p(1 / math.log(4) ** 2) / 2)
    assert x["fellows_recency"] == pytest.approx(NEVER - math.log(3) / 13)
    assert x["last_fellow"] == pytest.approx(math.log1p(1 / math.log(4)))
    assert not any(x[f"{way}_common_{mine}"] for way in ("dst_out", "dst_in") for mine in ("out", "in"))


def test_asking_leaves_nothing_behind() -> None:
    rng = np.random.default_rng(1)
    src, dst = rng.integers(0, 20, (2, 300))
    links = LinkFeatures()
    links.update(src, dst, np.arange(300.0))
    candidates = np.tile(np.arange(20), (20, 1))
    together = links.features(np.arange(20), candidates, np.full(20, 400.0))
    apart = [links.features([i], candidates[:1], [400.0])[0] for i in reversed(range(20))]
    assert (together == np.array(apart[::-1])).all()


def test_questions_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError):
        LinkFeatures().features([1, 2], [[1, 2]], [0.0, 0.0])
