"""Both backends answer alike, and as plain sums do; who has none is told."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from graph.nn.backend import Edges, load
from tests.graph.nn.graphs import edges
from tidemill.errors import UserError

S, T, H, C = 7, 5, 2, 3


def values():
    torch.manual_seed(0)
    return torch.randn(S, H, C), torch.randn(T, H, C), torch.randn(len(edges(S, T).sources), H)


@pytest.mark.parametrize("name", ["pyg", "dgl"])
def test_operations_are_the_plain_sums(name):
    backend, e, (x, y, scores) = load(name), edges(S, T), values()
    pairs = list(zip(e.sources.tolist(), e.targets.tolist(), strict=True))
    to = [[i for i, (_, t) in enumerate(pairs) if t == target] for target in range(T)]
    assert not to[T - 1], "a target without messages"
    zero = torch.zeros(H, C)
    assert backend.name == name
    same(backend.add(x, y, e), torch.stack([x[s] + y[t] for s, t in pairs]))
    same(backend.dot(x, y, e), torch.stack([(x[s] * y[t]).sum(-1) for s, t in pairs]))
    weights = backend.softmax(scores, e)
    same(weights, torch.stack([scores[i].exp() / scores[to[t]].exp().sum(0) for i, (_, t) in enumerate(pairs)]))
    mean = [torch.stack([x[pairs[i][0]] for i in rows]).mean(0) if rows else zero for rows in to]
    same(backend.mean(x.flatten(1), e), torch.stack(mean).flatten(1))
    total = [sum((x[pairs[i][0]] * weights[i][:, None] for i in rows), zero) for rows in to]
    same(backend.weigh(x, weights, e), torch.stack(total))


def same(found, wanted):
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_loops_are_added_once():
    e = Edges(torch.tensor([2]), torch.tensor([0]), 3, 2)
    assert e.with_loops() is e.with_loops()
    assert (e.with_loops().sources.tolist(), e.with_loops().targets.tolist()) == ([2, 0, 1], [0, 0, 1])


def test_an_unknown_backend_is_refused():
    with pytest.raises(UserError, match="wanted pyg or dgl; got 'jax'"):
        load("jax")


@pytest.mark.parametrize(("library", "name"), [("dgl", "dgl"), ("torch_geometric", "pyg")])
def test_who_lacks_a_library_is_told_what_to_do(library, name):
    """In a process that cannot import it."""
    program = f"import sys; sys.modules[{library!r}] = None\nfrom graph.nn.backend import load\nload({name!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    last = done.stderr.splitlines()[-1]
    assert "cannot be loaded" in last and f"backend {name}" in last and "make torch" in last


def test_dgl_is_loaded_without_a_word_and_without_a_file_at_home(tmp_path):
    program = "from graph.nn.backend import load\nprint(load('dgl').name)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"HOME": str(tmp_path), "PATH": ""},
    )
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("dgl\n", "", [])
