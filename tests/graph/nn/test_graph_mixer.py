"""GraphMixer's parts beside the paper's formulas, and a past that is the graph alone."""

import numpy as np
import pytest
import torch

from graph.nn.graph_mixer import FixedTimeEncoding, GraphMixer, MixerLayer
from graph.nn.recent_links import signs
from tests.graph.nn.test_link_stream import SMALL, cut, links


@pytest.mark.parametrize("log", [True, False])
def test_time_is_encoded_by_rates_that_are_not_learned(log):
    encoding = FixedTimeEncoding(16, log)
    assert not list(encoding.parameters())
    rates = [(i - 1) * np.pi / 20 if log else 4.0 ** (-(i - 1) / 4.0) for i in range(1, 17)]
    wanted = [[np.cos((np.log1p(ago) if log else ago) * rate) for rate in rates] for ago in (0.0, 2.5, 900.0)]
    np.testing.assert_allclose(encoding(torch.tensor([0.0, 2.5, 900.0])), wanted, atol=1e-4)


def test_a_layer_mixes_links_and_then_channels():
    torch.manual_seed(0)
    layer, x = MixerLayer(6, 4), torch.randn(6, 4)

    def norm(of, values):
        return (values - values.mean()) / (values.var(correction=0) + of.eps).sqrt() * of.weight + of.bias

    def through(mlp, values):
        hidden = torch.nn.functional.gelu(mlp[0].weight @ values + mlp[0].bias)
        return mlp[2].weight @ hidden + mlp[2].bias

    with torch.no_grad():
        normed = torch.stack([norm(layer.links, row) for row in x])
        first = torch.stack([x[:, c] + through(layer.across, normed[:, c]) for c in range(4)], 1)
        wanted = torch.stack([row + through(layer.within, norm(layer.channels, row)) for row in first])
        assert (layer(x[None])[0] - wanted).abs().max() < 1e-5


def test_the_node_encoder_is_the_mean_of_those_it_had_links_with():
    """Without mixed links: vᵢ and the mean of vⱼ of the links that are there, one never seen without any."""
    model, rows = GraphMixer(**SMALL, frozen=True), links(60)
    model.learn(*rows)
    network, kept = model.network, []
    network.decoder.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    with torch.no_grad():
        network.mixed.weight.zero_()
        asked, at = np.array([[3, 7, 99]]), 1e4
        network(model._tensors(model.around(model.past.numbers(asked), np.array([at]))))
        for j, node in enumerate(asked[0]):
            seen = [e for e in range(60) if rows[2][e] < at and node in (rows[0][e], rows[1][e])][-5:]
            others = np.array([rows[1][e] if rows[0][e] == node else rows[0][e] for e in seen], np.int64)
            v = torch.from_numpy(signs(model.past.numbers(others), model.features, model.seed))
            own = torch.from_numpy(signs(model.past.numbers(np.array([node])), model.features, model.seed))[0]
            wanted = network.own(own) + (network.near.weight @ v.mean(0) if seen else 0.0)
            assert (kept[0][0, j] - wanted).abs().max() < 1e-5


def test_a_score_is_the_same_whenever_it_is_asked():
    """What was learned at the time asked about or after it, of nodes that were known before, changes nothing."""
    model, rows = GraphMixer(**SMALL), links(300)
    model.fit(*rows, block=25, passes=1)
    model.frozen = True
    last = rows[2][-1]
    asked = (np.arange(40), np.tile(np.arange(40), (40, 1)), np.full(40, last + 5.0))
    before = model.score(*asked)
    model.learn(*cut(links(200, seed=4), 0, 100)[:2], np.full(100, last + 5.0))
    assert (model.score(*asked) == before).all()
    model.learn([3], [8], [last + 4.0])
    assert (model.score(*asked) != before).any()
