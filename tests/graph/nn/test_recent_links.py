"""What networks of links are told is what a plain look through the log says."""

import numpy as np

from graph.nn.recent_links import RecentLinks, join, negatives, signs


def log(n=120, nodes=9, seed=0):
    """Links of few nodes, with equal times, late ones and self loops."""
    rng = np.random.default_rng(seed)
    src, dst = rng.integers(0, nodes, (2, n)) * 10**12
    return src, dst, rng.integers(0, 40, n) / 4


def test_what_is_told_is_what_a_look_through_the_log_finds():
    past, (src, dst, time) = RecentLinks(4), log()
    past.add(src, dst, time)
    asked, at = np.array([[0, 3 * 10**12], [5 * 10**12, 77]]), np.array([5.25, 9.0])
    told = past.around(past.numbers(asked), at)
    ids = np.array([*past.graph.ids("node"), None])[told["rows"]]
    assert ids[0] is None
    for i in range(2):
        for j in range(2):
            # The newest first; of equal times, what came later first.
            seen = [e for e in range(len(src)) if time[e] < at[i] and asked[i, j] in (src[e], dst[e])]
            seen = sorted(seen, key=lambda e: (-time[e], -e))[:4]
            other = [dst[e] if src[e] == asked[i, j] else src[e] for e in seen]
            left = 4 - len(seen)
            assert ids[told["near"][i, j]].tolist() == other + [None] * left
            assert told["ago"][i, j].tolist() == [at[i] - time[e] for e in seen] + [0.0] * left
            assert told["out"][i, j].tolist() == [float(src[e] == asked[i, j]) for e in seen] + [0.0] * left
    assert ids[told["nodes"]].tolist() == [[0, 3 * 10**12], [5 * 10**12, None]]


def test_of_each_link_its_features_are_told():
    past, (src, dst, time) = RecentLinks(4, 2), log()
    said = np.random.default_rng(1).normal(size=(len(src), 2)).astype(np.float32)
    past.add(src, dst, time, said)
    told = past.around(past.numbers(np.array([[0, 77]])), np.array([9.0]))
    seen = [e for e in range(len(src)) if time[e] < 9.0 and 0 in (src[e], dst[e])]
    seen = sorted(seen, key=lambda e: (-time[e], -e))[:4]
    assert told["said"].shape == (1, 2, 4, 2) and (told["said"][0, 0] == said[seen]).all()
    assert (told["said"][0, 1] == 0).all()
    again = RecentLinks(4, 2)
    again.load_state(past.state())
    assert (again.around(again.numbers(np.array([[0, 77]])), np.array([9.0]))["said"] == told["said"]).all()
    assert "said" not in RecentLinks(4).around(np.array([[-1]]), np.zeros(1))


def test_nothing_at_the_time_or_after_it_is_told():
    past = RecentLinks(3)
    past.add(np.array([1, 1, 1]), np.array([2, 3, 4]), np.array([10.0, 20.0, 20.000001]))
    told = past.around(past.numbers(np.array([[1]] * 4)), np.array([10.0, 10.000001, 20.0, 20.000001]))
    assert (told["near"] > 0).sum((1, 2)).tolist() == [0, 1, 1, 2]


def test_of_groups_joined_each_is_told_its_own():
    past, (src, dst, time) = RecentLinks(4), log()
    past.add(src, dst, time)
    groups = [past.around(past.numbers(ids), np.full(len(ids), 8.0)) for ids in (dst[:4].reshape(2, 2), src[:2, None])]
    groups[1] = past.around(past.numbers(src[:6].reshape(3, 2)), np.full(3, 8.0))
    both = join(groups)
    for i, event in ((0, 0), (1, 1)):
        assert (both["rows"][both["near"][i]] == groups[0]["rows"][groups[0]["near"][event]]).all()
    for i in range(3):
        assert (both["rows"][both["nodes"][2 + i]] == groups[1]["rows"][groups[1]["nodes"][i]]).all()
    once = join([join(groups), groups[0]])
    flat = join([*groups, groups[0]])
    assert all((once[name] == flat[name]).all() for name in flat)


def test_signs_are_a_function_of_the_number():
    some, one = signs(np.array([4, -1, 7]), 200, 3), signs(np.array([7]), 200, 3)
    assert (some[2] == one[0]).all()
    assert (some[1] == 0).all()
    assert set(np.abs(some[0])) == {1.0}
    assert abs(some[0] @ some[2]) < 60
    assert (signs(np.array([7]), 200, 4) != one).any()


def test_negatives_are_nodes_seen_or_strangers_and_never_the_true_one():
    dst = np.arange(300) % 5
    drawn = negatives(dst, 5, 20, strangers=0.25, seed=1, event=40)
    assert not (drawn == dst[:, None]).any()
    assert set(np.unique(drawn)) == {-1, 0, 1, 2, 3, 4}
    assert 0.35 < (drawn == -1).mean() < 0.45, "a quarter, and a fifth of the rest, which was the true one"
    assert (negatives(dst[7:], 5, 20, strangers=0.25, seed=1, event=47) == drawn[7:]).all()
    assert (negatives(dst, 0, 3, strangers=0.0, seed=1, event=0) == -1).all()
