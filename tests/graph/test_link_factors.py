"""Latent factors: pulled together by edges, bounded whatever comes, a function of the order of edges alone."""

import numpy as np

from graph.link_factors import NEGATIVES, SIZE, begin, dot, learn, learn_among


def made(nodes):
    u, v, w = np.zeros((nodes, SIZE)), np.zeros((nodes, SIZE)), np.zeros(nodes)
    for row in range(nodes):
        begin(u, v, row)
    return u, v, w


def test_who_writes_to_a_kind_of_people_is_near_others_of_that_kind_it_never_wrote_to():
    rng = np.random.default_rng(0)
    u, v, w = made(40)
    for event in range(4_000):
        side = rng.integers(2) * 20
        a, b = side + rng.integers(10), side + 10 + rng.integers(10)
        if (a, b) != (0, 10):
            learn(u, v, w, a, b, 40, event)
    near, far = dot(u, 0, v, 10) + w[10], max(dot(u, 0, v, b) + w[b] for b in range(30, 40))
    assert near > far + 2.0


def test_held_against_some_rows_the_others_stay_as_they_are():
    u, v, w = made(50)
    before = v.copy()
    for event in range(20):
        learn_among(u, v, w, 0, 40, np.arange(40, 50), event)
    assert (v[:40] == before[:40]).all() and not w[:40].any() and (w[41:] < 0).all() and w[40] > 0
    everyone, some = made(30), made(30)
    learn(*everyone, 1, 2, 30, 7)
    learn_among(*some, 1, 2, np.arange(30), 7)
    assert all((a == b).all() for a, b in zip(everyone, some, strict=True))


def test_they_stay_bounded_whatever_comes():
    u, v, w = made(3)
    for part in (u, v):
        part[:] = np.where(part > 0, 7.99, -7.99)
    v[1], v[2] = -u[0], u[0]  # the edge that comes is the unlikeliest, so each step is a long one
    for event in range(2_000):
        learn(u, v, w, 0, 1 + event // 20 % 2, 3, event)
    assert max(np.abs(part).max() for part in (u, v, w)) == 8.0


def test_what_is_drawn_is_a_function_of_the_events_number():
    one, other = made(100), made(100)
    for event in range(50):
        learn(*one, event % 7, 50 + event % 11, 100, event)
    for event in range(50):
        learn(*other, event % 7, 50 + event % 11, 100, event)
    assert all((a == b).all() for a, b in zip(one, other, strict=True))
    learn(*one, 1, 2, 100, 50)
    learn(*other, 1, 2, 100, 51)
    moved = [np.flatnonzero(a != b) for a, b in zip(one[2:], other[2:], strict=True)]
    assert len(moved[0]) > NEGATIVES / 2


def test_new_nodes_begin_apart_and_small():
    u, v, w = made(1_000)
    assert len(np.unique(u[:, 0])) == len(np.unique(v[:, 0])) == 1_000 and not w.any()
    assert np.abs(u).max() <= 0.15 and abs(u.mean()) < 0.01 and np.abs(np.corrcoef(u.T) - np.eye(SIZE)).max() < 0.2
