"""A step's arithmetic: pieces do not change the gradient, random draws are of (seed, step, worker)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.toy import Toy  # noqa: E402
from tests.training.toy_run import configuration, digits, same  # noqa: E402
from tidemill.errors import TidemillError  # noqa: E402
from training.config import Optimiser, Schedule  # noqa: E402
from training.feed import Micro, Step  # noqa: E402
from training.loader import Loader, Request  # noqa: E402
from training.network import Network, seed_all  # noqa: E402
from training.parallel import Alone  # noqa: E402
from training.tensors import weights_of  # noqa: E402


class Plain(Toy):
    """Without dropout."""

    def model(self):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))


def step_of(number=0, cuts=(20,)):
    examples, store = digits(20)
    loader, parts, at = Loader(Plain(), examples, lambda i: store[examples[i].media]), [], 0
    for n in cuts:
        items = list(range(at, at + n))
        parts.append(Micro(np.array([[i, 0] for i in items], np.int32), loader.make(Request(items, 0))))
        at += n
    return Step(number, 0, 20, parts)


def network(**changes):
    settings = {"task": Plain(), "optimiser": Optimiser(name="sgd", rate=0.5, momentum=0.0), "ema": 0.0, "clip": 0.0}
    return Network(configuration(**settings | changes), Alone(), torch.device("cpu"), 10)


def test_a_step_cut_into_pieces_is_the_same_step():
    whole, cut = network(), network()
    figures, _ = whole.step(step_of(), False)
    other, _ = cut.step(step_of(cuts=(7, 12, 1)), False)
    assert figures == pytest.approx(other)
    for a, b in zip(weights_of(whole.model).values(), weights_of(cut.model).values(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_gradient_is_cut_to_its_norm_and_the_rate_follows_the_schedule():
    before = network(clip=0.01)
    was = weights_of(before.model)
    figures, _ = before.step(step_of(), False)
    moved = torch.cat([(a - b).flatten() for a, b in zip(was.values(), weights_of(before.model).values(), strict=True)])
    assert figures["gradient"] > 0.01 and moved.norm().item() == pytest.approx(0.5 * 0.01, rel=1e-3)
    warm = network(schedule=Schedule(warm_up=10))
    assert [warm.step(step_of(i), False)[0]["rate"] for i in (0, 4, 9)] == pytest.approx([0.05, 0.25, 0.5])


def test_random_draws_are_of_seed_step_and_worker():
    def drawn(*place):
        seed_all(*place)
        return torch.rand(3).tolist() + np.random.rand(3).tolist()

    assert drawn(1, 2, 0) == drawn(1, 2, 0)
    assert len({tuple(drawn(*p)) for p in ((1, 2, 0), (2, 2, 0), (1, 3, 0), (1, 2, 1))}) == 4


def test_measuring_takes_the_average_and_puts_the_weights_back():
    one = network(ema=0.99)
    for i in range(3):
        one.step(step_of(i), False)
    weights = weights_of(one.model)
    with one.measured() as model:
        assert not model.training and same(weights_of(model), one.published()) and not same(weights, one.published())
    assert same(weights_of(one.model), weights)


def test_a_loss_that_is_not_finite_ends_the_run():
    class Broken(Plain):
        """Its loss is no number."""

        def loss(self, model, batch):
            loss, more = super().loss(model, batch)
            return loss * float("nan"), more

    with pytest.raises(TidemillError, match=r"not finite.*got nan"):
        network(task=Broken()).step(step_of(), False)


def test_bf16_runs_the_forward_pass_under_autocast():
    one = network(precision="bf16")
    figures, _ = one.step(step_of(), False)
    exact, _ = network().step(step_of(), False)
    assert figures["loss"] == pytest.approx(exact["loss"], rel=0.05) and figures["loss"] != exact["loss"]
    assert next(one.model.parameters()).dtype == torch.float32
