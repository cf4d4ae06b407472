"""The network of events' classes is GraphSAGE of graph.nn, relation by relation: numbers and gradient."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; make torch")

from graph.class_network import EDGE, EVENT, backward, forward, initial, parts, size  # noqa: E402
from graph.nn.backend import Edges, load  # noqa: E402
from graph.nn.sage import SAGEConv  # noqa: E402

WIDTHS = np.array([3, 5, 4], np.int64)
OWN, N, K = 6, 20, 4
WIDE = max(OWN, EDGE)


def example():
    rng = np.random.default_rng(5)
    w = (initial(OWN, WIDTHS, 0) + rng.normal(size=size(OWN, WIDTHS)) * 0.1).astype(np.float32)
    own, edges = rng.normal(size=(N, OWN)).astype(np.float32), rng.normal(size=(N, 3, K, 5)).astype(np.float32)
    counts, labels = rng.integers(0, K + 1, (N, 3)), rng.integers(0, 2, N).astype(np.float32)
    return w, own, edges, counts, labels


def padded(x, wide):
    return torch.nn.functional.pad(x, (0, wide - x.shape[1]))


def by_torch(leaves, own, edges, counts):
    """Encoded edges and the events as the rows of one bipartite layer of GraphSAGE a view; the layers are summed."""
    A, a, B, (B0, b, C, c, s, last) = leaves
    f = torch.from_numpy(own)
    u = b.expand(N, EVENT)
    for v, wide in enumerate(WIDTHS.tolist()):
        targets = np.repeat(np.arange(N), counts[:, v])
        rows = np.concatenate([edges[i, v, :many, :wide] for i, many in enumerate(counts[:, v])])
        h = torch.relu(torch.from_numpy(rows) @ A[v] + a[v])
        layer = SAGEConv(WIDE, EVENT, load("pyg"))
        # One root weight is enough where layers are summed.
        root = padded(B0.T, WIDE) if v == 0 else torch.zeros(EVENT, WIDE)
        weights = {
            "own.weight": root,
            "neighbours.weight": padded(B[v].T, WIDE),
            "neighbours.bias": torch.zeros(EVENT),
        }
        x = torch.cat([padded(f, WIDE), padded(h, WIDE)])
        block = Edges(torch.arange(N, N + len(rows)), torch.from_numpy(targets), N + len(rows), N)
        u = u + torch.func.functional_call(layer, weights, (x, block))
    t = torch.relu(torch.relu(u) @ C + c)
    return f @ s + t @ last[:-1] + last[-1]


def test_numbers_and_gradient_are_those_of_graph_nn():
    w, own, edges, counts, labels = example()
    torch.set_num_threads(1)
    whole = torch.from_numpy(w.copy()).requires_grad_()
    # `parts` cuts a vector by slices and reshapes, which torch's has too.
    logits = by_torch(parts(whole, OWN, WIDTHS), own, edges, counts)
    out = np.zeros(N, np.float32)
    forward(w, WIDTHS, own, edges, counts, out)
    np.testing.assert_allclose(out, logits.detach().numpy(), atol=1e-5)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels))
    torch.autograd.backward(loss)
    grad = np.zeros_like(w)
    assert abs(backward(w, grad, WIDTHS, own, edges, counts, labels) - float(loss.detach())) < 1e-5
    np.testing.assert_allclose(grad, whole.grad.numpy(), atol=1e-5)
    assert np.abs(grad).max() > 0.05
