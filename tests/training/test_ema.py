"""The moving average of the weights, beside its formula."""

import pytest

torch = pytest.importorskip("torch")

from training.ema import Ema  # noqa: E402


def test_it_is_the_formula_and_copies_what_is_no_parameter():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    ema, wanted = Ema(model, 0.9), model[0].weight.detach().clone()
    for t in range(1, 120):
        with torch.no_grad():
            model[0].weight += torch.randn(2, 2)
            model[1].running_mean += 1
            model[1].num_batches_tracked += 1
        ema.update(model, t)
        d = min(0.9, (1 + t) / (10 + t))
        wanted = d * wanted + (1 - d) * model[0].weight.detach()
    assert torch.allclose(ema.tensors["0.weight"], wanted, atol=1e-4)
    assert torch.equal(ema.tensors["1.running_mean"], model[1].running_mean)
    assert ema.tensors["1.num_batches_tracked"].item() == 119
    again = Ema(model, 0.9)
    again.load(ema.tensors)
    assert torch.equal(again.tensors["0.weight"], ema.tensors["0.weight"])
