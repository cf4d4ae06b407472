"""TGN's memory and embedding beside the paper's formulas, a node and a message at a time."""

import numpy as np
import pytest
import torch

from graph.nn.recent_links import signs
from graph.nn.tgn import TGN, TimeEncoding
from tests.graph.nn.test_link_stream import SMALL, cut, links
from tidemill.errors import ConfigError, IncompatibleError


def plain(model, rows, block):
    """Of each node its memory with the last message taken in, by the formula, from messages kept in a dict."""
    network, number, memory, message, last = model.network, {}, {}, {}, {}
    zero = torch.zeros(model.memory)

    def taken(node):
        """The memory as it is when looked at."""
        if node not in message:
            return memory.get(node, zero)
        other, mate, role, since = message[node]
        v = torch.from_numpy(signs(np.array([number[mate]]), model.features, model.seed))[0]
        phi = torch.cos(torch.tensor(since, dtype=torch.float32).log1p() * network.time.rate + network.time.phase)
        given = torch.cat([other, v, torch.tensor([role]), phi])
        return network.gru(given[None], memory.get(node, zero)[None])[0]

    with torch.no_grad():
        for low in range(0, len(rows[0]), block):
            some = list(zip(*(column[low : low + block].tolist() for column in rows), strict=True))
            for source, target, _ in some:
                for node in (source, target):
                    number.setdefault(node, len(number))
            looked = {node: taken(node) for source, target, _ in some for node in (source, target)}
            memory |= looked
            was = dict(last)
            for source, target, time in some:
                for node, mate, role in ((source, target, 1.0), (target, source, 0.0)):
                    message[node] = (looked[mate], mate, role, time - was[node] if node in was else 0.0)
                    last[node] = time
        return {number[node]: taken(node) for node in number}


@pytest.mark.parametrize("block", [1, 9])
def test_the_memory_is_the_papers(block):
    model, rows = TGN(**SMALL, frozen=True), links(120)
    for low in range(0, 120, block):
        model.learn(*cut(rows, low, low + block))
    wanted = plain(model, rows, block)
    numbers = np.arange(model.past.nodes)
    with torch.no_grad():
        told = model._memories(numbers) | {"rows": numbers}
        found = model.network.memories(model._tensors(told)).numpy()
    assert found.std() > 0.01
    np.testing.assert_allclose(found, np.stack([wanted[i] for i in numbers]), atol=1e-5)


def test_the_embedding_attends_over_the_links_that_are_there():
    """By the formula, a node and a head at a time."""
    model, rows = TGN(**SMALL, frozen=True), links(60)
    model.learn(*rows)
    network, heads, width = model.network, model.heads, model.width
    # Of node 40, a stranger, there is nothing; and the nodes' links are fewer than five early in the stream.
    told = model._tensors(model.around(model.past.numbers(np.array([[3, 7, 99], [8, 3, 5]])), np.array([9e3, 2e4])))
    kept = []
    network.decoder.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    with torch.no_grad():
        network(told)
        x = torch.cat([network.memories(told), told["features"]], 1)
        for i in range(2):
            for j in range(3):
                own = x[told["nodes"][i, j]]
                there = [
                    (m, a, o) for m, a, o in zip(*(told[n][i, j] for n in ("near", "ago", "out")), strict=True) if m
                ]
                attended = torch.zeros(heads, width // heads)
                if there:
                    both = torch.stack(
                        [network.node(x[m]) + network.link(torch.cat([o[None], network.time(a)])) for m, a, o in there]
                    ).view(len(there), 2, heads, -1)
                    q = network.query(own).view(heads, -1)
                    for head in range(heads):
                        alpha = (both[:, 0, head] @ q[head] / (width // heads) ** 0.5).softmax(0)
                        attended[head] = alpha @ both[:, 1, head]
                z = torch.cat([attended.flatten(), own])
                z = network.skip(z) + network.outer(network.inner(z).relu())
                assert (kept[0][i, j] - z).abs().max() < 1e-5


def test_memory_grows_and_is_of_the_log_alone():
    model = TGN(**SMALL)
    model.learn(*links(40))
    assert len(model.state()["node.memory"]) == model.past.nodes
    rng = np.random.default_rng(0)
    model.learn(rng.integers(0, 5_000, 700), rng.integers(0, 5_000, 700), np.arange(1e5, 1e5 + 700))
    after = model.state()
    assert len(after["node.memory"]) == model.past.nodes > 1_000
    assert after["node.fresh"].all()
    told = model.around(np.array([[-1]]), np.array([2e5]))
    assert not told["memory"].any() and not told["fresh"].any(), "one never seen has no memory"


def test_the_loss_moves_the_weights_of_the_memory():
    model = TGN(**SMALL)
    before = model.network.gru.weight_ih.detach().clone()
    rows = links(80)
    for low in (0, 40):
        model.learn(*cut(rows, low, low + 40))
    assert (model.network.gru.weight_ih != before).any()


@pytest.mark.parametrize("log", [True, False])
def test_time_is_encoded_as_cosines(log):
    encoding, ago = TimeEncoding(5, log), np.array([0.0, 1.0, 3e6])
    with torch.no_grad():
        encoding.phase += 0.3
    rates = [i * np.pi / 20 for i in range(5)] if log else [1.0, 1e-2, 1e-4, 1e-6, 1e-8]
    np.testing.assert_allclose(encoding.rate.detach(), rates, rtol=1e-5)
    wanted = np.cos((np.log1p(ago) if log else ago)[:, None] * encoding.rate.detach().numpy().astype(float) + 0.3)
    found = encoding(torch.from_numpy(ago.astype(np.float32))).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4 if log else 0.3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="shared evenly among the heads"):
        TGN(width=15, heads=2)
    model = TGN(**SMALL)
    model.learn(*links(50))
    state = model.state()
    with pytest.raises(IncompatibleError, match=r"wanted node\.since"):
        TGN(**SMALL).load_state({n: a for n, a in state.items() if n != "node.since"})
    with pytest.raises(IncompatibleError, match=r"node\.role: not a memory of its links"):
        TGN(**SMALL).load_state(state | {"node.role": state["node.role"][1:]})
