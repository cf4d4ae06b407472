"""A network of links, learned edge by edge: scored before it is learned, by the weights it is given."""

import numpy as np
import pytest
import torch

from graph.nn.network_links import NetworkLinks, exactly, load_weights, made, with_weights
from tests.graph.nn.test_network_job import SMALL
from tidemill.errors import IncompatibleError
from tidemill.state import encode


@pytest.mark.parametrize("network", ["tgn", "graph_mixer"])
def test_each_edge_is_scored_before_it_is_learned(network):
    model = NetworkLinks(network=network, settings={**SMALL, "negatives": 4, "seed": 3})
    rng = np.random.default_rng(0)
    src, dst = rng.integers(0, 12, (2, 60))
    for i in range(60):
        before = encode(model.state())
        seen = model.network.score([src[i]], [[dst[i], *range(12)]], [float(i)])[0]
        assert encode(model.state()) == before
        candidates = np.array([dst[i], 1, 2, 3, 4])
        followed = NetworkLinks(network=network, settings=model.settings)
        followed.load_state(model.state())
        scores = followed.network.follow(int(src[i]), candidates, float(i))
        # Sums of matrices of other shapes may differ in the last bits.
        assert np.abs(scores - seen[[0, 2, 3, 4, 5]]).max() < 1e-5
        model.follow(src[i : i + 1], dst[i : i + 1], [float(i)])


def test_a_network_learns_what_recurs():
    """Each answers whoever wrote to it last: the network comes to know, as it learns."""
    rng = np.random.default_rng(1)
    src, dst = rng.integers(0, 30, (2, 2_000))
    src[1::2], dst[1::2] = dst[0::2], src[0::2]
    model = NetworkLinks(network="graph_mixer", settings={"negatives": 5})
    told = model.follow(src, dst, np.arange(2_000.0))
    answers = 1.0 / told.rank[1::2]
    assert answers[:100].mean() + 0.2 < answers[-100:].mean() > 0.9


def test_a_network_is_asked_with_the_weights_of_another_and_keeps_its_own():
    model = NetworkLinks(network="tgn", settings=SMALL)
    model.follow(np.arange(20) % 5, np.arange(20) % 7, np.arange(20.0))
    other = made("tgn", {**SMALL, "seed": 9})
    load_weights(other, {name: np.ones_like(value) for name, value in model.weights().items()})
    before = encode(model.state())
    asked = [one.score([1], [[2, 3]], [30.0]).tolist() for one in (model.network, with_weights(model.network, other))]
    assert asked[0] != asked[1] and encode(model.state()) == before
    load_weights(other, model.weights())
    assert with_weights(model.network, other).score([1], [[2, 3]], [30.0]).tolist() == asked[0]


def test_a_state_that_is_none_is_refused():
    with pytest.raises(IncompatibleError, match="not a state of this model"):
        NetworkLinks(network="tgn", settings=SMALL).load_state({})


def test_exactness_is_left_as_it_was():
    torch.set_num_threads(2)
    with exactly():
        assert torch.get_num_threads() == 1 and torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 2 and not torch.are_deterministic_algorithms_enabled()
