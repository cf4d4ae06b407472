"""Weights and optimiser states as bytes: there and back, canonical, and another network's refused."""

import pytest

torch = pytest.importorskip("torch")

from tidemill.errors import IncompatibleError, MalformedError  # noqa: E402
from training.tensors import (  # noqa: E402
    from_bytes,
    load_optimiser,
    load_weights,
    optimiser_state,
    to_bytes,
    weights_of,
)


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))


def stepped(model, optimiser, steps):
    for i in range(steps):
        optimiser.zero_grad()
        model(torch.full((5, 4), float(i)) + torch.arange(5.0)[:, None]).square().mean().backward()
        optimiser.step()


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_a_network_goes_on_from_bytes_as_if_it_had_not_stopped(kind):
    def optimiser(model):
        more = {"momentum": 0.9} if kind == "SGD" else {}
        return getattr(torch.optim, kind)(model.parameters(), lr=0.1, **more)

    whole, cut, again = network(), network(), network()
    first, second, third = optimiser(whole), optimiser(cut), optimiser(again)
    stepped(whole, first, 3)
    stepped(cut, second, 3)
    tensors, plain = optimiser_state(second)
    load_weights(again, from_bytes(to_bytes(weights_of(cut))))
    load_optimiser(third, from_bytes(to_bytes(tensors)), plain)
    stepped(whole, first, 4)
    stepped(again, third, 4)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(whole).values(), weights_of(again).values(), strict=True))


def test_equal_tensors_give_equal_bytes():
    a, b = torch.arange(3.0), torch.ones(2, 2)
    assert to_bytes({"a": a, "b": b}) == to_bytes({"b": b.t().contiguous().t(), "a": a.clone()})
    tied = {"a": a, "same": a}
    assert from_bytes(to_bytes(tied))["same"].tolist() == [0, 1, 2]


def test_what_is_no_safetensors_or_another_networks_is_refused():
    with pytest.raises(MalformedError):
        from_bytes(b"\x80\x04K\x01.")
    other = weights_of(torch.nn.Sequential(torch.nn.Linear(4, 9)))
    with pytest.raises(IncompatibleError, match=r"another network's.*0.bias"):
        load_weights(network(), other)
