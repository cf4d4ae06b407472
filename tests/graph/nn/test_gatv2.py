"""GATv2's layer beside those of PyG and of DGL."""

import pytest
import torch

from graph.nn.backend import Edges, load
from graph.nn.gatv2 import GATv2Conv
from tests.graph.nn.graphs import edges


@pytest.mark.parametrize("backend", ["pyg", "dgl"])
def test_a_layer_that_looks_at_edges_is_that_of_pyg(backend):
    from torch_geometric.nn import GATv2Conv as PyGs

    torch.manual_seed(0)
    ours, x, e = GATv2Conv(5, 8, load(backend), heads=2, edge=3), torch.randn(9, 5), edges(9, 6)
    kept = e.sources != e.targets  # PyG takes loops away
    e = Edges(e.sources[kept], e.targets[kept], 9, 6, torch.randn(int(kept.sum()), 3))
    pyg = PyGs(5, 4, heads=2, edge_dim=3)
    for mine, other in ((ours.source, pyg.lin_l), (ours.target, pyg.lin_r), (ours.edge, pyg.lin_edge)):
        other.load_state_dict(mine.state_dict())
    pyg.att.data, pyg.bias.data = ours.attention.data[None], ours.bias.data
    found = ours(x, e)
    assert (found - pyg((x, x[:6]), torch.stack((e.sources, e.targets)), e.features)).abs().max() < 1e-5
    still = Edges(e.sources, e.targets, 9, 6, torch.zeros_like(e.features))
    assert (found - ours(x, still)).abs().max() > 1e-2


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("backend", ["pyg", "dgl"])
def test_a_layer_is_that_of_both_libraries(backend, average):
    torch.manual_seed(0)
    ours, x, e = GATv2Conv(5, 8, load(backend), heads=2, average=average), torch.randn(9, 5), edges(9, 6)
    e = type(e)(*(part[e.sources != e.targets] for part in (e.sources, e.targets)), 9, 6)  # PyG takes loops away
    torch.nn.init.normal_(ours.bias)
    load("dgl")
    import dgl
    from dgl.nn import GATv2Conv as DGLs
    from torch_geometric.nn import GATv2Conv as PyGs

    pyg, theirs = PyGs(5, ours.size, heads=2, concat=not average), DGLs(5, ours.size, 2)
    for mine, *others in ((ours.source, pyg.lin_l, theirs.fc_src), (ours.target, pyg.lin_r, theirs.fc_dst)):
        for other in others:
            other.load_state_dict(mine.state_dict())
    pyg.att.data = theirs.attn.data = ours.attention.data[None]
    pyg.bias.data = ours.bias.data
    found = ours(x, e)
    assert found.shape == (6, 8)
    assert (found - pyg((x, x[:6]), torch.stack((e.sources, e.targets)))).abs().max() < 1e-5
    loops = e.with_loops()
    block = dgl.create_block((loops.sources, loops.targets), num_src_nodes=9, num_dst_nodes=6)
    out = theirs(block, (x, x[:6]))
    assert (found - (out.mean(1) if average else out.flatten(1)) - ours.bias).abs().max() < 1e-5


def test_heads_that_do_not_share_evenly_are_refused():
    with pytest.raises(ValueError, match="9 outputs are not shared evenly among 2 heads"):
        GATv2Conv(5, 9, load(), heads=2)
