"""GraphSAGE's layer beside those of PyG and of DGL."""

import pytest
import torch

from graph.nn.backend import load
from graph.nn.sage import SAGEConv
from tests.graph.nn.graphs import edges


@pytest.mark.parametrize("backend", ["pyg", "dgl"])
def test_a_layer_is_that_of_both_libraries(backend):
    torch.manual_seed(0)
    ours, x, e = SAGEConv(5, 4, load(backend)), torch.randn(9, 5), edges(9, 6)
    load("dgl")
    import dgl
    from dgl.nn import SAGEConv as DGLs
    from torch_geometric.nn import SAGEConv as PyGs

    pyg, theirs = PyGs(5, 4), DGLs(5, 4, "mean")
    pyg.lin_l.load_state_dict(ours.neighbours.state_dict())
    pyg.lin_r.load_state_dict(ours.own.state_dict())
    theirs.fc_neigh.weight.data, theirs.fc_self.weight.data = ours.neighbours.weight.data, ours.own.weight.data
    theirs.fc_self.bias.data = ours.neighbours.bias.data
    found = ours(x, e)
    assert found.shape == (6, 4)
    assert (found - pyg((x, x[:6]), torch.stack((e.sources, e.targets)))).abs().max() < 1e-5
    block = dgl.create_block((e.sources, e.targets), num_src_nodes=9, num_dst_nodes=6)
    assert (found - theirs(block, x)).abs().max() < 1e-5
