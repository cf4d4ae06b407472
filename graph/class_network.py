"""A network for the class of an event, from its own numbers and from what is around its seed nodes, in plain arrays.

Of an edge e of view v: hₑ = relu(xₑ Aᵥ + aᵥ). Each view is a layer of GraphSAGE with mean aggregation, and the views
are summed, as of several relations:

    u = relu(f B₀ + Σᵥ (mean over e of hₑ) Bᵥ + b),    t = relu(u C + c),    logit = f · s + t · w + w₀

A row's numbers do not depend on the rows beside it. Sources: Hamilton, Ying and Leskovec, *Inductive representation
learning on large graphs*, NeurIPS 2017; the sum over relations is that of Schlichtkrull et al., *Modeling relational
data with graph convolutional networks*, ESWC 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from graph.adjacency import Int
from graph.neighbourhood import F32

EDGE, EVENT, LAST = 16, 32, 16
"""Units of an edge, of the event, and of the last layer."""


def size(own: int, widths: Int) -> int:
    """How many weights there are, for `own` numbers of an event and edges of these widths."""
    views = int((widths + 1).sum()) * EDGE + len(widths) * EDGE * EVENT
    return views + (own + 1) * EVENT + (EVENT + 1) * LAST + own + LAST + 1


def initial(own: int, widths: Int, seed: int) -> F32:
    """Weights before anything is learned, as one vector; see `parts`."""
    rng = np.random.default_rng(seed)
    w = np.zeros(size(own, widths), np.float32)
    A, _, _, rest = parts(w, own, widths)  # the Bs stay 0: it begins as a network without neighbourhoods
    B0, _, C, _, _, last = rest
    for v, wide in enumerate(widths.tolist()):
        A[v][:] = rng.normal(size=A[v].shape) * np.sqrt(2.0 / wide)
    B0[:] = rng.normal(size=B0.shape) * np.sqrt(1.0 / own)
    C[:] = rng.normal(size=C.shape) * np.sqrt(2.0 / EVENT)
    last[:LAST] = rng.normal(size=LAST) * np.sqrt(1.0 / LAST)
    return w


def parts(w: F32, own: int, widths: Int) -> tuple[list[F32], list[F32], list[F32], tuple[F32, ...]]:
    """Views of the vector: A, a and B of each view; and B₀, b, C, c, s, and w with w₀ behind it."""
    A, a, B, at = [], [], [], 0

    def take(*shape: int) -> F32:
        nonlocal at
        many = int(np.prod(shape))
        at += many
        return w[at - many : at].reshape(shape)

    for wide in widths.tolist():
        A.append(take(wide, EDGE))
        a.append(take(EDGE))
        B.append(take(EDGE, EVENT))
    return A, a, B, (take(own, EVENT), take(EVENT), take(EVENT, LAST), take(LAST), take(own), take(LAST + 1))


@njit(cache=True, nogil=True)
def _edge(w: F32, at: int, wide: int, x: F32, out: F32) -> None:
    bias = at + wide * EDGE
    for j in range(EDGE):
        out[j] = w[bias + j]
    for d in range(wide):
        if x[d] != 0.0:
            row = at + d * EDGE
            for j in range(EDGE):
                out[j] += x[d] * w[row + j]
    for j in range(EDGE):
        out[j] = max(out[j], np.float32(0.0))


@njit(cache=True, nogil=True)
def _dense(w: F32, at: int, x: F32, out: F32) -> None:
    """out += x W, for W (len(x), len(out)) at place `at`."""
    m = len(out)
    for i in range(len(x)):
        if x[i] != 0.0:
            row = at + i * m
            for j in range(m):
                out[j] += x[i] * w[row + j]


@njit(cache=True, nogil=True)
def _back(w: F32, grad: F32, at: int, x: F32, slope: F32, dx: F32) -> None:
    """The gradient of `_dense`, added to `grad`; the slopes of `x` into `dx`, where it is as long."""
    m = len(slope)
    for i in range(len(x)):
        row = at + i * m
        total = np.float32(0.0)
        for j in range(m):
            grad[row + j] += x[i] * slope[j]
            total += w[row + j] * slope[j]
        if len(dx) == len(x):
            dx[i] = total


@njit(cache=True, nogil=True)
def _logit(w: F32, widths: Int, f: F32, edges: F32, counts: Int, h: F32, pooled: F32, u: F32, t: F32) -> Any:
    own, at = len(f), 0
    u[:] = 0.0
    for v in range(len(widths)):
        g = pooled[v]
        g[:] = 0.0
        for e in range(counts[v]):
            _edge(w, at, widths[v], edges[v, e], h)
            for j in range(EDGE):
                g[j] += h[j]
        at += (widths[v] + 1) * EDGE
        if counts[v] > 0:
            for j in range(EDGE):
                g[j] /= np.float32(counts[v])
            _dense(w, at, g, u)
        at += EDGE * EVENT
    _dense(w, at, f, u)
    at += own * EVENT
    for j in range(EVENT):
        u[j] = max(u[j] + w[at + j], np.float32(0.0))
    at += EVENT
    t[:] = w[at + EVENT * LAST : at + EVENT * LAST + LAST]
    _dense(w, at, u, t)
    at += (EVENT + 1) * LAST
    out = w[at + own + LAST]
    for i in range(own):
        out += f[i] * w[at + i]
    at += own
    for j in range(LAST):
        t[j] = max(t[j], np.float32(0.0))
        out += t[j] * w[at + j]
    return out


@njit(cache=True, nogil=True)
def forward(w: F32, widths: Int, own: F32, edges: F32, counts: Int, out: F32) -> None:
    """Logits of rows: own (n, numbers), edges (n, views, k, widest), counts (n, views)."""
    h, pooled = np.zeros(EDGE, np.float32), np.zeros((max(len(widths), 1), EDGE), np.float32)
    u, t = np.zeros(EVENT, np.float32), np.zeros(LAST, np.float32)
    for i in range(len(own)):
        out[i] = _logit(w, widths, own[i], edges[i], counts[i], h, pooled, u, t)


@njit(cache=True, nogil=True)
def backward(w: F32, grad: F32, widths: Int, own: F32, edges: F32, counts: Int, y: F32) -> Any:
    """Add the gradient of the mean log loss of rows with labels `y` (0 or 1) to `grad`; that loss."""
    h, pooled = np.zeros(EDGE, np.float32), np.zeros((max(len(widths), 1), EDGE), np.float32)
    u, t = np.zeros(EVENT, np.float32), np.zeros(LAST, np.float32)
    du, dt, dg = np.zeros(EVENT, np.float32), np.zeros(LAST, np.float32), np.zeros(EDGE, np.float32)
    none = np.zeros(0, np.float32)
    n, loss = len(own), 0.0
    for i in range(n):
        z = _logit(w, widths, own[i], edges[i], counts[i], h, pooled, u, t)
        loss += max(z, 0.0) - z * y[i] + np.log1p(np.exp(-abs(z)))
        slope = np.float32((1.0 / (1.0 + np.exp(-np.float64(z))) - y[i]) / n)
        at = len(w) - LAST - 1
        grad[at + LAST] += slope
        for j in range(LAST):
            grad[at + j] += slope * t[j]
            dt[j] = slope * w[at + j] if t[j] > 0.0 else np.float32(0.0)
        at -= len(own[i])
        for j in range(len(own[i])):
            grad[at + j] += slope * own[i, j]
        at -= LAST
        for j in range(LAST):
            grad[at + j] += dt[j]
        at -= EVENT * LAST
        _back(w, grad, at, u, dt, du)
        at -= EVENT
        for j in range(EVENT):
            if u[j] <= 0.0:
                du[j] = 0.0
            grad[at + j] += du[j]
        at -= len(own[i]) * EVENT
        _back(w, grad, at, own[i], du, none)
        for v in range(len(widths) - 1, -1, -1):
            at -= EDGE * EVENT
            if counts[i, v] > 0:
                _back(w, grad, at, pooled[v], du, dg)
            at -= (widths[v] + 1) * EDGE
            for e in range(counts[i, v]):
                _edge(w, at, widths[v], edges[i, v, e], h)
                for j in range(EDGE):
                    h[j] = dg[j] / np.float32(counts[i, v]) if h[j] > 0.0 else np.float32(0.0)
                    grad[at + widths[v] * EDGE + j] += h[j]
                for d in range(widths[v]):
                    x = edges[i, v, e, d]
                    if x != 0.0:
                        for j in range(EDGE):
                            grad[at + d * EDGE + j] += x * h[j]
    return loss / max(n, 1)
