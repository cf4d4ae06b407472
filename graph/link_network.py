"""A small ranking network in plain arrays: two hidden layers, softmax over one true candidate and its negatives, Adam.

Source: Kingma and Ba, *Adam: a method for stochastic optimization*, ICLR 2015; the decoupled decay is that of
Loshchilov and Hutter, *Decoupled weight decay regularization*, ICLR 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
HIDDEN, SECOND = 32, 16


def initial(features: int, seed: int) -> F32:
    """Weights before anything is learned, as one vector."""
    rng = np.random.default_rng(seed)
    layers = (
        rng.normal(size=features * HIDDEN) * np.sqrt(2.0 / features),
        np.zeros(HIDDEN),
        rng.normal(size=HIDDEN * SECOND) * np.sqrt(2.0 / HIDDEN),
        np.zeros(SECOND),
        rng.normal(size=SECOND) * np.sqrt(1.0 / SECOND),
    )
    return np.concatenate(layers).astype(np.float32)


@njit(cache=True)
def layers(w: F32, features: int) -> Any:
    """Views of the vector: W1 (features × hidden), b1, W2 (hidden × second), b2, w3."""
    a = features * HIDDEN
    b = a + HIDDEN
    c = b + HIDDEN * SECOND
    d = c + SECOND
    return w[:a].reshape(features, HIDDEN), w[a:b], w[b:c].reshape(HIDDEN, SECOND), w[c:d], w[d:]


@njit(cache=True)
def forward(w: F32, X: F32, first: F32, second: F32, out: F32) -> None:
    """Scores of the rows of `X` into `out`; what the hidden layers gave into `first` and `second`."""
    W1, b1, W2, b2, w3 = layers(w, X.shape[1])
    for i in range(X.shape[0]):
        a, c = first[i], second[i]
        a[:] = b1
        for f in range(X.shape[1]):
            x = X[i, f]
            if x != 0.0:
                for j in range(HIDDEN):
                    a[j] += x * W1[f, j]
        c[:] = b2
        for j in range(HIDDEN):
            a[j] = max(a[j], np.float32(0.0))
            if a[j] > 0.0:
                for k in range(SECOND):
                    c[k] += a[j] * W2[j, k]
        total = np.float32(0.0)
        for k in range(SECOND):
            c[k] = max(c[k], np.float32(0.0))
            total += c[k] * w3[k]
        out[i] = total


@njit(cache=True)
def backward(w: F32, grad: F32, X: F32, first: F32, second: F32, slope: F32) -> None:
    """Add to `grad` the gradient of the rows whose scores have the slopes `slope`."""
    _, _, W2, _, w3 = layers(w, X.shape[1])
    gW1, gb1, gW2, gb2, gw3 = layers(grad, X.shape[1])
    d1, d2 = np.zeros(HIDDEN, np.float32), np.zeros(SECOND, np.float32)
    for i in range(X.shape[0]):
        for k in range(SECOND):
            gw3[k] += slope[i] * second[i, k]
            d2[k] = slope[i] * w3[k] if second[i, k] > 0.0 else np.float32(0.0)
            gb2[k] += d2[k]
        for j in range(HIDDEN):
            d1[j] = 0.0
            if first[i, j] > 0.0:
                for k in range(SECOND):
                    d1[j] += W2[j, k] * d2[k]
                    gW2[j, k] += first[i, j] * d2[k]
            gb1[j] += d1[j]
        for f in range(X.shape[1]):
            x = X[i, f]
            if x != 0.0:
                for j in range(HIDDEN):
                    gW1[f, j] += x * d1[j]


@njit(cache=True)
def softmax_slope(scores: F32) -> Any:
    """The slope of −log softmax of the first score."""
    odds = np.exp(scores - scores.max())
    slope = (odds / odds.sum()).astype(np.float32)
    slope[0] -= np.float32(1.0)
    return slope


@njit(cache=True)
def adam(w: F32, grad: F32, mean: F32, square: F32, step: int, rate: float, decay: float) -> None:
    """One step with the summed gradient, which is set to 0."""
    c1, c2 = 1.0 - 0.9**step, 1.0 - 0.999**step
    for i in range(w.size):
        g = grad[i]
        mean[i] = 0.9 * mean[i] + 0.1 * g
        square[i] = 0.999 * square[i] + 0.001 * g * g
        w[i] -= rate * (mean[i] / c1 / (np.sqrt(square[i] / c2) + 1e-8) + decay * w[i])
        grad[i] = 0.0
