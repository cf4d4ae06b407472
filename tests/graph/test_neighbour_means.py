import os
from pathlib import Path

import numpy as np
import pytest

from graph.csr import CSRGraph
from graph.neighbour_means import label_shares, means
from tidemill.errors import UserError

DATA = Path(os.environ.get("TIDEMILL_DATA", "../shared/data")) / "tolokers" / "tolokers.npz"


def some(seed=0, n=40, edges=120):
    ends = np.random.default_rng(seed).integers(0, n - 1, (edges, 2))  # the last node has no neighbour
    return CSRGraph.from_edges(*ends.T, n, undirected=True)


def around(graph, node):
    return graph.neighbours[graph.offsets[node] : graph.offsets[node + 1]]


def test_means_are_those_of_the_neighbours_hop_by_hop():
    graph, rng = some(), np.random.default_rng(1)
    x = rng.normal(size=(40, 3))
    out = means(graph, x)
    assert out.shape == (40, 3 + 2 + 6)
    one = np.array([x[around(graph, v)].mean(0) if len(around(graph, v)) else np.zeros(3) for v in range(40)])
    logs = np.array([np.log1p(len(around(graph, v))) for v in range(40)])
    for v in range(40):
        near = around(graph, v)
        wanted = [*x[v], logs[v], logs[near].mean() if len(near) else 0.0, *one[v]]
        wanted += [*one[near].mean(0)] if len(near) else [0.0] * 3
        np.testing.assert_allclose(out[v], wanted, atol=1e-12)
    assert means(graph, x, hops=0).shape == (40, 5)


def test_shares_are_of_known_labels_and_never_of_one_s_own():
    graph, rng = some(2), np.random.default_rng(3)
    y, known = rng.integers(0, 2, 40), rng.random(40) < 0.5
    out = label_shares(graph, y, known)
    base = y[known].mean()
    for v in range(40):
        near = around(graph, v)[known[around(graph, v)]]
        assert out[v, 0] == pytest.approx((y[near].sum() + 4 * base) / (len(near) + 4))
        assert out[v, 1] == pytest.approx(np.log1p(len(near)))
    hidden = np.where(known, y, 1 - y)
    np.testing.assert_array_equal(label_shares(graph, hidden, known), out)
    with pytest.raises(UserError, match="not a row for each node"):
        means(graph, np.zeros((39, 2)))


def test_banned_tolokers_are_found_better_with_the_graph():
    if not DATA.is_file():
        pytest.skip("no tolokers here: set TIDEMILL_DATA")
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    with np.load(DATA) as data:
        x, y, edges = data["node_features"], data["node_labels"], data["edges"]
        train, test = data["train_masks"][0], data["test_masks"][0]
    graph = CSRGraph.from_edges(*edges.T, len(y), undirected=True)
    scores = []
    for columns in (x, np.hstack([means(graph, x), label_shares(graph, y, train)])):
        scaled = StandardScaler().fit(columns[train]).transform(columns)
        model = LogisticRegression(max_iter=2_000).fit(scaled[train], y[train])
        scores.append(roc_auc_score(y[test], model.predict_proba(scaled[test])[:, 1]))
    assert scores[0] < 0.74 and scores[1] > 0.79
