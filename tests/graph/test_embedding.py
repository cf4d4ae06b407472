"""Embeddings follow a stream: the formula, cuts, who is touched, who is near."""

import numpy as np
import pytest

from graph.embedding import RING, Embeddings, random_vector
from tidemill.errors import ConfigError, IncompatibleError


def edges(n=400, nodes=40, seed=5):
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, nodes, (2, n))
    return src, dst, np.sort(rng.random(n) * 1e6)


def made(src, dst, time, **settings):
    out = Embeddings(dims=32, **settings)
    out.learn(src, dst, time)
    return out


def equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def unit(x):
    length = np.linalg.norm(x)
    return x / length if length else x


def reference(src, dst, time, dims, share, fading, seed, directed):
    """The same, by the formula, edge by edge."""
    n = int(max(src.max(), dst.max())) + 1
    profile, out = np.zeros((n, dims)), np.zeros((n, dims))
    count, last, recent = [0] * n, [0.0] * n, [[] for _ in range(n)]

    def touch(v):
        around = sum((unit(profile[u]) for u in recent[v]), np.zeros(dims))
        out[v] = unit((1 - share) * unit(profile[v]) + share * unit(around))

    for a, b, t in zip(src.tolist(), dst.tolist(), time.tolist(), strict=True):
        for v, u, way in ((a, b, 0), (b, a, 1)):
            if count[v]:
                profile[v] *= np.exp(-max(t - last[v], 0) / fading)
            weight = (1 + count[u]) ** -0.5
            profile[v] += weight * random_vector(u, way if directed else 0, dims, seed)
            last[v] = max(t, last[v]) if count[v] else t
        for v, u in ((a, b), (b, a)):
            recent[v] = ([*recent[v], u])[-RING:]
            count[v] += 1
        for v in (a, b):
            for u in recent[v]:
                touch(u)
        for v in (a, b):
            touch(v)
    return out


@pytest.mark.parametrize("directed", [True, False])
def test_they_are_what_the_formula_says(directed):
    src, dst, time = edges(120, 15)
    settings = {"share": 0.6, "fading": 1e5, "seed": 3, "directed": directed}
    got = made(src, dst, time, **settings).vectors(np.arange(15))
    np.testing.assert_allclose(got, reference(src, dst, time, 32, **settings)[:15], atol=2e-5)


def test_they_do_not_hang_on_how_the_stream_is_cut():
    src, dst, time = edges()
    whole, cut = made(src, dst, time), Embeddings(dims=32)
    cut.learn([], [], [])
    for at in range(0, 400, 7):
        few = slice(at, at + 7)
        changes = cut.changes()
        cut.learn(src[few], dst[few], time[few])
        assert cut.changes() == changes + len(src[few])
    assert whole.changes() == cut.changes() == 400
    equal(whole.state(), cut.state())


def test_a_saved_state_goes_on_as_if_nothing_had_been():
    src, dst, time = edges()
    whole, again = made(src, dst, time), Embeddings(dims=32)
    half = made(src[:200], dst[:200], time[:200])
    again.load_state(half.state())
    assert again.params() == half.params() and len(again) == len(half)
    again.learn(src[200:], dst[200:], time[200:])
    equal(whole.state(), again.state())


def test_an_edge_touches_its_ends_and_their_neighbours_alone():
    src, dst, time = edges(300, 60)
    all_of = made(src, dst, time)
    before, since = all_of.vectors(np.arange(60)), all_of.changes()
    near = {7, 9} | {int(v) for e in (7, 9) for v in np.r_[dst[src == e], src[dst == e]]}
    all_of.learn([7], [9], [2e6])
    changed = dict(all_of.changed(since))
    assert {7, 9} <= changed.keys() <= near
    moved = {node for node in range(60) if not np.array_equal(before[node], all_of.vectors(np.array([node]))[0])}
    assert moved <= changed.keys() and moved - {7, 9} and len(near) < 60
    assert dict(all_of.changed(all_of.changes())) == {}


def test_nodes_of_one_neighbourhood_are_near_and_others_are_not():
    rng = np.random.default_rng(2)
    side = rng.integers(0, 2, 600)  # two halves that never meet
    src, dst = rng.integers(0, 20, 600) + 40 * side, rng.integers(20, 40, 600) + 40 * side
    all_of = made(src, dst, np.arange(600.0))
    numbers, similar = all_of.nearest(all_of.vectors(np.array([3])), 10, np.arange(80))
    assert numbers[0, 0] == 3 and similar[0, 0] == pytest.approx(1.0)
    assert (numbers[0] < 40).all() and (np.diff(similar[0]) <= 0).all()


def test_who_is_not_there_is_near_to_nobody():
    all_of = made(np.array([1]), np.array([3]), np.array([0.0]))
    assert not all_of.vectors(np.array([-1, 0, 99])).any()
    numbers, similar = all_of.nearest(all_of.vectors(np.array([1])), 5)
    assert numbers[0].tolist()[0] == 1 and set(numbers[0].tolist()[2:]) == {-1} and similar[0, 2:].tolist() == [0, 0, 0]
    assert all_of.nearest(all_of.vectors(np.array([1])), 2, np.array([0]))[0].tolist() == [[-1, -1]]


def test_what_cannot_be_is_refused():
    for settings in ({"dims": 0}, {"share": 1.5}, {"fading": 0.0}, {"fading": np.inf}):
        with pytest.raises(ConfigError, match="cannot be made so"):
            Embeddings(**settings)
    with pytest.raises(ConfigError, match="no node's number"):
        made(np.array([-1]), np.array([1]), np.array([0.0]))
    with pytest.raises(IncompatibleError, match="not a state of these embeddings"):
        Embeddings(dims=16).load_state(made(*edges(10)).state())
    with pytest.raises(IncompatibleError):
        Embeddings(dims=32).load_state({})
