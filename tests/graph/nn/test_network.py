"""Networks by PyG and DGL: the same numbers of the same weights, and the same bytes twice."""

import pytest
import torch

from graph.nn.gatv2 import GATv2
from graph.nn.hgt import HGT
from graph.nn.sage import GraphSAGE
from tests.graph.nn.graphs import RELATIONS, SIZES, two_layers, two_typed_layers

NETWORKS = ["sage", "sage residual", "gatv2", "gatv2 residual", "hgt"]


def make(name, backend, dropout=0.0):
    """The network, and its input."""
    if name == "hgt":
        return HGT(SIZES, RELATIONS, "user", 16, 3, backend=backend), two_typed_layers()
    kind = GraphSAGE if name.startswith("sage") else GATv2
    options = {"attention_dropout": dropout} if kind is GATv2 else {}
    network = kind(6, 16, 3, residual=name.endswith("residual"), dropout=dropout, backend=backend, **options)
    return network, (torch.randn(20, 6, generator=torch.Generator().manual_seed(5)), two_layers())


@pytest.mark.parametrize("name", NETWORKS)
def test_pyg_and_dgl_give_the_same_numbers_of_the_same_weights(name):
    torch.manual_seed(1)
    (pyg, x), (dgl, y) = make(name, "pyg"), make(name, "dgl")
    assert list(pyg.state_dict()) == list(dgl.state_dict())
    assert (pyg(*x) - dgl(*y)).abs().max() > 1e-3
    dgl.load_state_dict(pyg.state_dict())
    outs = [network(*given) for network, given in ((pyg, x), (dgl, y))]
    assert outs[0].shape == (6, 3)
    assert (outs[0] - outs[1]).abs().max() <= 1e-5
    for out in outs:
        out.pow(2).sum().backward()
    for (parameter, one), other in zip(pyg.named_parameters(), dgl.parameters(), strict=True):
        if one.grad is None:  # of HGT's last layer what leads to other types than the one asked for
            assert (name, other.grad) == ("hgt", None), parameter
        else:
            assert (one.grad - other.grad).abs().max() <= 1e-4, parameter


def trained(name, backend):
    """The bytes of the weights after ten steps."""
    torch.manual_seed(2)
    network, given = make(name, backend, dropout=0.3)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(10):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(*given), torch.arange(6) % 3).backward()
        optimiser.step()
    return b"".join(weight.numpy().tobytes() for weight in network.state_dict().values())


@pytest.mark.parametrize("backend", ["pyg", "dgl"])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_twice_gives_the_same_bytes(name, backend):
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        assert trained(name, backend) == trained(name, backend)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_target_is_told_nothing_by_those_who_are_not_its_neighbours(name):
    """Node 19 is in no layer's path to it unless by an edge: what it is changes only whom it reaches."""
    network, (x, layers) = make(name, "pyg")
    before = network(x, layers)
    rows = x["user"] if name == "hgt" else x
    typed = [layer.relations[RELATIONS[2]] if name == "hgt" else layer for layer in layers]
    hidden = set(typed[0].targets[typed[0].sources == 19].tolist())
    if name == "hgt":
        first = layers[0].relations[RELATIONS[0]]
        shops = set(first.targets[first.sources == 19].tolist())
        owned = layers[1].relations[RELATIONS[1]]
    reached = {t for s, t in zip(typed[1].sources.tolist(), typed[1].targets.tolist(), strict=True) if s in hidden}
    reached |= {row for row in hidden if row < 6}
    if name == "hgt":
        reached |= {t for s, t in zip(owned.sources.tolist(), owned.targets.tolist(), strict=True) if s in shops}
    rows[19] += 5
    changed = (network(x, layers) - before).abs().sum(1) > 0
    assert set(changed.nonzero().flatten().tolist()) == reached != set(range(6))


@pytest.mark.parametrize("residual", [False, True])
def test_as_many_layers_of_edges_as_the_network_has(residual):
    network = GraphSAGE(6, 16, 3, residual=residual)
    for layers in (two_layers()[:1], [*two_layers(), two_layers()[1]]):
        with pytest.raises(ValueError, match="zip"):
            network(torch.randn(20, 6), layers)
