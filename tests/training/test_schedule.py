"""The learning rate's factor, beside torch's own schedulers."""

import pytest

from training.config import Schedule
from training.schedule import factor


def test_warm_up_is_linear_and_then_constant():
    assert [factor(Schedule(warm_up=4), step, 0) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_and_step_are_torchs():
    torch = pytest.importorskip("torch")

    def theirs(make, steps):
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
        scheduler, found = make(optimiser), []
        for _ in range(steps):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            scheduler.step()
        return found

    cosine = Schedule(kind="cosine", floor=0.1)
    wanted = theirs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 50, eta_min=0.1), 50)
    assert [factor(cosine, step, 50) for step in range(50)] == pytest.approx(wanted)
    steps = Schedule(kind="step", every=7, gamma=0.5)
    wanted = theirs(lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.5), 30)
    assert [factor(steps, step, 30) for step in range(30)] == pytest.approx(wanted)


def test_cosine_counts_from_the_end_of_the_warm_up_and_stays_where_no_end_is_known():
    schedule = Schedule(kind="cosine", warm_up=10)
    assert factor(schedule, 10, 110) == 1.0 and factor(schedule, 60, 110) == pytest.approx(0.5)
    assert factor(schedule, 110, 110) == 0.0 and factor(schedule, 10_000, 0) == 1.0
