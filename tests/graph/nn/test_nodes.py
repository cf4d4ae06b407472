"""Networks trained in sampled batches, on a graph whose classes only neighbours tell."""

import numpy as np
import pytest
import torch

from graph.csr import ALL, CSRGraph
from graph.nn.gatv2 import GATv2
from graph.nn.nodes import Training, edges_of, fit, outputs
from graph.nn.sage import GraphSAGE
from tidemill.errors import UserError

N = 400


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)


def task(seed=0):
    """Two classes that keep to themselves; a node's own features say little of its class, those around it much."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, N)
    ends = rng.integers(0, N, (N * 40, 2))
    ends = ends[y[ends[:, 0]] == y[ends[:, 1]]]
    x = (rng.normal(size=(N, 4)) + 0.3 * y[:, None]).astype(np.float32)
    return CSRGraph.from_edges(*ends.T, N, undirected=True), x, y, np.arange(0, 200), np.arange(200, 300)


def right(y, out):
    return float(((out[:, 0] > 0) == y).mean() if out.shape[1] == 1 else (out.argmax(1) == y).mean())


@pytest.mark.parametrize("kind", [GraphSAGE, GATv2])
@pytest.mark.parametrize("classes", [1, 2])
def test_a_network_learns_from_neighbours(kind, classes):
    graph, x, y, train, validation = task()
    torch.manual_seed(0)
    network = kind(4, 16, classes, residual=True)
    found = fit(network, graph, x, y, train, validation, right, Training(20, 0.01, batch=64, one_cycle=True))
    out = outputs(network, graph, x)
    assert out.shape == (N, classes)
    assert found.validation == right(y[validation], out[validation]), "the best weights stay"
    assert right(y[300:], out[300:]) > 0.9
    alone = CSRGraph.from_edges(np.empty(0, int), np.empty(0, int), N)
    assert right(y[300:], outputs(network, alone, x)[300:]) < 0.85


@pytest.mark.parametrize("backend", ["pyg", "dgl"])
@pytest.mark.parametrize("kind", [GraphSAGE, GATv2])
def test_training_twice_gives_the_same_bytes_and_no_other_label_is_looked_at(kind, backend):
    graph, x, y, train, validation = task()
    hidden = np.where(np.arange(N) < 300, y, 1 - y)

    def trained(labels, seed=0):
        torch.manual_seed(0)
        network = kind(4, 8, 2, dropout=0.2, backend=backend)
        fit(network, graph, x, labels, train, validation, right, Training(6, 0.01, batch=50, check=2, seed=seed))
        return b"".join(weight.numpy().tobytes() for weight in network.state_dict().values())

    assert trained(y) == trained(y) == trained(hidden)
    assert trained(y) != trained(y, seed=1)


def test_a_batch_with_all_neighbours_says_what_the_whole_graph_says():
    graph, x, *_ = task()
    network = GATv2(4, 16, 3)
    nodes = np.array([7, 3, 250])
    batch = graph.sample(nodes, [ALL, ALL], seed=0)
    whole = outputs(network, graph, x)
    with torch.no_grad():
        some = network(torch.from_numpy(x[batch.nodes]), edges_of(batch)).numpy()
    np.testing.assert_allclose(some, whole[nodes], atol=1e-5)


def test_a_batch_leaves_as_numpy_and_enters_torch_as_the_same_memory():
    graph, *_ = task()
    batch = graph.sample(np.array([1, 2]), [3, 3], seed=0)
    for block, edges in zip(batch.blocks, edges_of(batch), strict=True):
        assert edges.sources.data_ptr() == block.sources.ctypes.data
        assert edges.targets.data_ptr() == block.targets.ctypes.data
    whole = edges_of(graph.whole(3))
    assert whole[0] is whole[1] is whole[2]


@pytest.mark.parametrize("lacking", ["training", "validation"])
def test_nothing_to_train_on_or_to_choose_by_is_refused(lacking):
    graph, x, y, train, validation = task()
    parts = {"training": train, "validation": validation} | {lacking: np.empty(0, np.int64)}
    with pytest.raises(UserError, match=f"no {lacking} nodes"):
        fit(GraphSAGE(4, 8, 2), graph, x, y, *parts.values(), right, Training(1, 0.01))


def test_scores_that_are_no_numbers_are_refused():
    graph, x, y, train, validation = task()
    with pytest.raises(UserError, match="no validation score is a number"):
        fit(GraphSAGE(4, 8, 2), graph, x, y, train, validation, lambda *_: float("nan"), Training(1, 0.01))
