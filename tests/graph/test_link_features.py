"""Features of links equal what a walk over the whole past gives, however links come in blocks."""

from math import exp, log1p, sqrt

import numpy as np
import pytest

from graph.link_features import NAMES, NEVER, RECENT, SCALES, WIDTH, LinkFeatures, _sign
from tidemill.state import encode

PER = ("hour", "day", "weeks")


def links(seed, count=300, nodes=12):
    rng = np.random.default_rng(seed)
    source, target = rng.integers(0, nodes, count), rng.integers(0, nodes, count)
    return source, target, np.cumsum(rng.choice([0.0, 5.0, 900.0, 4_000.0, 90_000.0], count))


def age(now, times):
    return log1p(now - max(times)) if times else NEVER


def cosine(a, b):
    return 3.0 * float(a @ b) / sqrt((float(a @ a) + 1e-9) * (float(b @ b) + 1e-9))


def signs(node):
    return np.array([_sign(node, d) for d in range(WIDTH)])


def faded(partners):
    """The sum of the partners' projections, each later one fading those before."""
    out = np.zeros(WIDTH)
    for vector in partners:
        out = out * 0.95 + vector
    return out


def walked(past, u, v, now):
    """All features of a link from `u` to `v` by the past, a list of (source, target, time)."""
    pair, back = [t for s, d, t in past if (s, d) == (u, v)], [t for s, d, t in past if (s, d) == (v, u)]
    into, out = [(s, t) for s, d, t in past if d == v], [(d, t) for s, d, t in past if s == v]
    mine, got = [(d, t) for s, d, t in past if s == u], [(s, t) for s, d, t in past if d == u]
    met = lambda a, b: [t for s, d, t in past if (s, d) == (a, b)]  # noqa: E731
    partners = lambda n: [d if s == n else s for s, d, t in past for _ in range((s == n) + (d == n)) if n in (s, d)]  # noqa: E731
    recent_u, recent_v = partners(u)[-RECENT:][::-1], partners(v)[-RECENT:][::-1]
    weight = lambda times, q: sum(exp(-(now - t) / SCALES[q]) for t in times)  # noqa: E731
    common = [w for w in recent_u if w != v and (met(w, v) or met(v, w))]
    a, b = max(pair, default=-1.0), max(back, default=-1.0)
    previous = mine[-1][0] if mine else None

    def run(times):
        n = 0
        for i, t in enumerate(times):
            n = n + 1 if i and t - times[i - 1] < 1_800.0 else 1
        return n

    def also():
        """Projections of whom those linked to who linked to `v`, at the time."""
        vector, to = np.zeros(WIDTH), {}
        for s, d, _ in past:
            if d == v:
                vector = vector * 0.95 + to.get(s, np.zeros(WIDTH))
            to[s] = to.get(s, np.zeros(WIDTH)) * 0.95 + signs(d)
        return vector

    to_u, to_v = faded([signs(d) for d, _ in mine]), faded([signs(d) for d, _ in out])
    from_u, from_v = faded([signs(s) for s, _ in got]), faded([signs(s) for s, _ in into])
    first = [t for s, d, t in past if v in (s, d)][:1]
    values = {
        "pair_age": age(now, pair),
        "reverse_age": age(now, back),
        "pair_seen": float(bool(pair)),
        "reverse_seen": float(bool(back)),
        "pair_count": log1p(len(pair)),
        "reverse_count": log1p(len(back)),
        "target_in_age": age(now, [t for _, t in into]),
        "target_out_age": age(now, [t for _, t in out]),
        "target_in": log1p(len(into)),
        "target_out": log1p(len(out)),
        "target_known": float(bool(into)),
        "source_out_age": age(now, [t for _, t in mine]),
        "source_out": log1p(len(mine)),
        "source_in": log1p(len(got)),
        **{f"target_in_{name}": log1p(10 * weight([t for _, t in into], q)) for q, name in enumerate(PER)},
        **{f"target_out_{name}": log1p(10 * weight([t for _, t in out], q)) for q, name in enumerate(PER)},
        "target_rank": (recent_u.index(v) if v in recent_u else RECENT) / 4,
        "source_rank": (recent_v.index(u) if u in recent_v else RECENT) / 4,
        "common": log1p(len(common)),
        "common_age": min([age(now, met(w, v) + met(v, w)) for w in common], default=NEVER),
        "target_first_age": age(now, first),
        "source_in_age": age(now, [t for _, t in got]),
        "target_new_in": log1p(len({s for s, _ in into})),
        "target_new_out": log1p(len({d for d, _ in out})),
        "source_new_out": log1p(len({d for d, _ in mine})),
        "through_targets": log1p(sum(bool(met(d, v)) for d, _ in mine[-RECENT:])),
        "through_recent": log1p(sum(bool(met(u, w) or met(w, u)) for w in recent_v)),
        "pair_share": 5 * len(pair) / (len(mine) + 1),
        "reverse_share": 5 * len(back) / (len(out) + 1),
        "pair_weeks": min(2.0, (now - a) / 604_800) if pair else 2.0,
        "reverse_weeks": min(2.0, (now - b) / 604_800) if back else 2.0,
        "alike_targets": cosine(to_u, also()),
        "alike_sources": cosine(from_u, from_v),
        "alike_out": cosine(to_u, to_v),
        "alike_reply": cosine(to_u, from_v),
        "previous_distance": 8.0 if previous is None or not first else log1p(abs(previous - v)),
        "previous_is_target": float(previous == v),
        "previous_knows": 0.0 if previous is None else float(bool(met(previous, v))) + float(bool(met(v, previous))),
        "unanswered": float(bool(back) and b > a),
        "either_age": age(now, pair + back),
        "source_run": log1p(run([t for _, t in mine])),
        "target_run": log1p(run([t for _, t in out])),
        "target_age": age(now, [t for _, t in into + out]),
        "last_partner": float(bool(recent_u) and recent_u[0] == v),
    }
    assert tuple(values) == NAMES
    return np.array(list(values.values()), np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_features_are_what_the_past_says(seed):
    source, target, time = links(seed)
    rng = np.random.default_rng(seed + 100)
    features = LinkFeatures()
    for i in range(len(time)):
        if i % 7 == 0:
            now = float(time[i])
            u, v = rng.integers(0, 14, 2).tolist()  # some that have not come
            got = features.rows(np.array([u]), np.array([[v, -1]]), np.array([now]))[0]
            past = list(zip(source[:i].tolist(), target[:i].tolist(), time[:i].tolist(), strict=True))
            wanted = walked(past, u, v, now)
            wrong = [n for n, a, b in zip(NAMES, got[0], wanted, strict=True) if abs(a - b) > 1e-4]
            assert not wrong, (i, u, v, wrong)
        features.take(source[i : i + 1], target[i : i + 1], time[i : i + 1])


@pytest.mark.parametrize("cut", [1, 13, 300])
def test_blocks_of_any_size_give_the_same_bytes(cut):
    source, target, time = links(9)
    candidates = np.random.default_rng(1).integers(-1, 20, (300, 5))  # some never come
    whole, cut_up, taken = LinkFeatures(), LinkFeatures(), LinkFeatures()
    rows = whole.rows_and_take(source, target, candidates, time)
    for i in range(0, 300, cut):
        part = slice(i, i + cut)
        np.testing.assert_array_equal(
            cut_up.rows_and_take(source[part], target[part], candidates[part], time[part]), rows[part]
        )
        taken.take(source[part], target[part], time[part])
    assert encode(whole.state()) == encode(cut_up.state()) == encode(taken.state())


def test_a_restored_state_goes_on_alike_with_many_nodes():
    source, target, time = links(2, count=4_000, nodes=900)
    whole, first = LinkFeatures(), LinkFeatures()
    whole.take(source, target, time)
    first.take(source[:1_500], target[:1_500], time[:1_500])
    second = LinkFeatures()
    second.load_state(first.state())
    second.take(source[1_500:], target[1_500:], time[1_500:])
    assert encode(second.state()) == encode(whole.state())


def test_rows_change_nothing_and_see_nothing_of_their_own_link():
    source, target, time = links(3)
    features = LinkFeatures()
    features.take(source[:200], target[:200], time[:200])
    before = encode(features.state())
    rows = features.rows(source[200:201], target[200:201, None], time[200:201])
    assert encode(features.state()) == before
    np.testing.assert_array_equal(
        features.rows_and_take(source[200:201], target[200:201], target[200:201, None], time[200:201]), rows
    )
