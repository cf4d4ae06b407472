"""The network's gradient against differences, and rows that do not hang on each other."""

import numpy as np

from graph.class_network import backward, forward, initial, parts, size

WIDTHS = np.array([3, 5], np.int64)
OWN = 4


def example(n=6, seed=0):
    rng = np.random.default_rng(seed)
    w = initial(OWN, WIDTHS, seed) + rng.normal(size=size(OWN, WIDTHS)).astype(np.float32) * 0.1
    own, edges = rng.normal(size=(n, OWN)), rng.normal(size=(n, 2, 3, 5))
    counts = rng.integers(0, 4, (n, 2))
    counts[0] = 0
    labels = rng.integers(0, 2, n)
    return w.astype(np.float32), own.astype(np.float32), edges.astype(np.float32), counts, labels.astype(np.float32)


def loss(w, own, edges, counts, labels):
    """The mean log loss, in the obvious way and in double precision."""
    A, a, B, (B0, b, C, c, s, last) = parts(w.astype(np.float64), OWN, WIDTHS)
    total = 0.0
    for f, rows, many, y in zip(own, edges, counts, labels, strict=True):
        u = f @ B0 + b
        for v, wide in enumerate(WIDTHS):
            if many[v]:
                u = u + np.maximum(rows[v, : many[v], :wide] @ A[v] + a[v], 0).mean(axis=0) @ B[v]
        z = f @ s + np.maximum(np.maximum(u, 0) @ C + c, 0) @ last[:-1] + last[-1]
        total += np.log1p(np.exp(-z if y else z))
    return total / len(labels)


def test_the_gradient_is_that_of_the_log_loss():
    w, *rows = example()
    grad = np.zeros_like(w)
    got = backward(w, grad, WIDTHS, *rows)
    assert abs(got - loss(w, *rows)) < 1e-5
    for i in range(0, len(w), 7):
        step = np.zeros(len(w))
        step[i] = 1e-5
        slope = (loss(w + step, *rows) - loss(w - step, *rows)) / 2e-5
        assert abs(slope - grad[i]) < 1e-4, i
    assert (grad != 0).mean() > 0.5


def test_a_row_is_the_same_alone_and_among_others():
    w, own, edges, counts, _ = example(40)
    every = np.zeros(40, np.float32)
    forward(w, WIDTHS, own, edges, counts, every)
    for i in range(40):
        one = np.zeros(1, np.float32)
        part = slice(i, i + 1)
        forward(w, WIDTHS, own[part], edges[part], counts[part], one)
        assert one.tobytes() == every[part].tobytes()
    assert len(set(every.tolist())) == 40


def test_without_views_only_the_event_counts():
    none = np.zeros(0, np.int64)
    w = initial(OWN, none, 1)
    out = np.zeros(3, np.float32)
    forward(w, none, np.eye(3, OWN, dtype=np.float32), np.zeros((3, 0, 2, 1), np.float32), np.zeros((3, 0), int), out)
    assert len(w) == size(OWN, none) and len(set(out.tolist())) == 3


def test_it_begins_without_neighbourhoods():
    _, own, edges, counts, _ = example()
    w = initial(OWN, WIDTHS, 0)
    with_them, without = np.zeros(6, np.float32), np.zeros(6, np.float32)
    forward(w, WIDTHS, own, edges, counts, with_them)
    forward(w, WIDTHS, own, edges, np.zeros_like(counts), without)
    assert with_them.tobytes() == without.tobytes()
