"""The ranking network: its gradient against finite differences, and that it learns an order."""

import numpy as np
import pytest

from graph.link_network import HIDDEN, SECOND, adam, backward, forward, initial, layers, softmax_slope


def run(w: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = len(X)
    first, second = np.zeros((n, HIDDEN), np.float32), np.zeros((n, SECOND), np.float32)
    out = np.zeros(n, np.float32)
    forward(w, X, first, second, out)
    return first, second, out


def loss(w: np.ndarray, X: np.ndarray) -> float:
    W1, b1, W2, b2, w3 = (part.astype(np.float64) for part in layers(w, X.shape[1]))
    scores = np.maximum(np.maximum(X @ W1 + b1, 0) @ W2 + b2, 0) @ w3
    return float(np.log(np.exp(scores - scores[0]).sum()))


def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    w = initial(5, seed=1) + rng.normal(size=len(initial(5, seed=1))).astype(np.float32) * np.float32(0.1)
    return w, rng.normal(size=(7, 5)).astype(np.float32)


def test_scores_are_those_of_two_hidden_layers() -> None:
    w, X = drawn()
    W1, b1, W2, b2, w3 = layers(w, 5)
    wanted = np.maximum(np.maximum(X @ W1 + b1, 0) @ W2 + b2, 0) @ w3
    assert run(w, X)[2] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_the_gradient_equals_finite_differences() -> None:
    w, X = drawn()
    first, second, out = run(w, X)
    grad = np.zeros_like(w)
    backward(w, grad, X, first, second, softmax_slope(out))
    wide = w.astype(np.float64)
    for i in np.random.default_rng(2).choice(len(w), 150, replace=False):
        step = np.zeros(len(w))
        step[i] = 1e-6
        assert grad[i] == pytest.approx((loss(wide + step, X) - loss(wide - step, X)) / 2e-6, rel=1e-3, abs=1e-4)


def test_one_step_of_adam_by_hand() -> None:
    w, grad = np.array([1.0, 2.0], np.float32), np.array([0.5, -3.0], np.float32)
    mean, square = np.zeros(2, np.float32), np.zeros(2, np.float32)
    adam(w, grad, mean, square, 1, 0.1, 0.01)
    assert w == pytest.approx([1 - 0.1 * (1 + 0.01), 2 - 0.1 * (-1 + 0.02)], rel=1e-5)
    assert mean == pytest.approx([0.05, -0.3])
    assert grad.tolist() == [0, 0]


def test_it_learns_to_rank_by_a_product_no_sum_can_tell() -> None:
    rng = np.random.default_rng(0)
    w = initial(2, seed=0)
    grad, mean, square = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    right = 0
    for step in range(1, 2_501):
        X = rng.uniform(-1, 1, (5, 2)).astype(np.float32)
        best = int(np.argmax(X[:, 0] * X[:, 1]))
        X[[0, best]] = X[[best, 0]]
        first, second, out = run(w, X)
        right += step > 2_000 and int(np.argmax(out)) == 0
        backward(w, grad, X, first, second, softmax_slope(out))
        adam(w, grad, mean, square, step, 0.01, 0.0)
    assert right > 400
