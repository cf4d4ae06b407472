"""HGT's layer beside that of PyG."""

import pytest
import torch

from graph.nn.backend import Edges, load
from graph.nn.hgt import HeteroEdges, HGTConv, name_of
from tests.graph.nn.graphs import RELATIONS, two_typed_layers


@pytest.mark.parametrize("backend", ["pyg", "dgl"])
def test_a_layer_is_that_of_pyg(backend):
    from torch_geometric.nn import HGTConv as PyGs

    torch.manual_seed(0)
    kinds, heads = ["user", "shop"], 2
    ours = HGTConv(8, kinds, RELATIONS, load(backend), heads=heads)
    for parameter in (*ours.prior.values(), *ours.skip.values()):
        torch.nn.init.normal_(parameter)
    pyg = PyGs(8, 8, (kinds, RELATIONS), heads=heads)
    for kind in kinds:
        parts = [layer[name_of(kind)] for layer in (ours.key, ours.query, ours.value)]
        pyg.kqv_lin.lins[kind].weight.data = torch.cat([part.weight.data for part in parts])
        pyg.kqv_lin.lins[kind].bias.data = torch.cat([part.bias.data for part in parts])
        pyg.out_lin.lins[kind].load_state_dict(ours.out[name_of(kind)].state_dict())
        pyg.skip[kind].data = ours.skip[name_of(kind)].data[None]
    for i, relation in enumerate(RELATIONS):
        for head in range(heads):
            at = head * len(RELATIONS) + i
            pyg.k_rel.weight.data[at] = ours.attention[name_of(*relation)].data[head]
            pyg.v_rel.weight.data[at] = ours.message[name_of(*relation)].data[head]
        pyg.p_rel["__".join(relation)].data = ours.prior[name_of(*relation)].data[None]
    (_, (layer, _)) = two_typed_layers()
    x = {"user": torch.randn(20, 8), "shop": torch.randn(15, 8)}
    wanted = pyg(x, {name: torch.stack((e.sources, e.targets)) for name, e in layer.relations.items()})
    found = ours(x, layer)
    for kind, count in layer.n_targets.items():
        assert found[kind].shape == (count, 8)
        # PyG has every node as a target; only the first get messages here.
        assert (found[kind] - wanted[kind][:count]).abs().max() < 1e-5


def test_a_type_that_gets_no_messages_keeps_its_share_of_itself():
    ours = HGTConv(8, ["user", "shop"], RELATIONS[:1], load(), heads=2)
    _, (layer, _) = two_typed_layers()
    layer = type(layer)({RELATIONS[0]: layer.relations[RELATIONS[0]]}, layer.n_targets)
    x = {"user": torch.randn(20, 8), "shop": torch.randn(15, 8)}
    share = ours.skip[name_of("user")].sigmoid()
    wanted = share * ours.out[name_of("user")].bias + (1 - share) * x["user"][:12]
    assert (ours(x, layer)["user"] - wanted).abs().max() < 1e-6


def test_heads_that_do_not_share_evenly_are_refused():
    with pytest.raises(ValueError, match="size 8 is not shared evenly among 3 heads"):
        HGTConv(8, ["user"], [], load(), heads=3)


def test_types_and_relations_may_have_any_names():
    torch.manual_seed(0)
    kinds = ["shop.eu", "shop%2Eeu", "train", "a__b", "a", ""]
    relations = [("shop.eu", "forward", "train"), ("a__b", "c", "train"), ("a", "b__c", "train"), ("", ":", "a")]
    ours = HGTConv(4, kinds, relations, load(), heads=2)
    parts = (ours.key, ours.skip), (ours.attention, ours.prior)
    assert [len(part) for pair in parts for part in pair] == [len(kinds)] * 2 + [len(relations)] * 2
    edges = Edges(torch.tensor([0, 1]), torch.tensor([0, 0]), 2, 2)
    x = {kind: torch.randn(2, 4) for kind in kinds}
    out = ours(x, HeteroEdges(dict.fromkeys(relations, edges), {"train": 2, "a": 2}))
    assert {kind: rows.shape for kind, rows in out.items()} == {"train": (2, 4), "a": (2, 4)}
    again = HGTConv(4, kinds, relations, load(), heads=2)
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again(x, HeteroEdges({relations[3]: edges}, {"a": 2}))["a"], out["a"])
