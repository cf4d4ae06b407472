"""Means over examples, the machine's figures, and forgetting by its formula."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.measure import Forgetting, Machine, Means  # noqa: E402
from training.parallel import Alone  # noqa: E402


def test_means_are_weighted_by_examples_and_begin_anew():
    means = Means()
    means.add({"loss": 1.0}, 30)
    means.add({"loss": 4.0}, 10)
    assert means.take()["train.loss"] == pytest.approx(1.75)
    means.add({"loss": 3.0}, 5)
    assert means.take()["train.loss"] == pytest.approx(3.0)


def test_the_machine_tells_what_is_taken():
    figures = Machine(torch.device("cpu")).figures()
    assert figures["system.memory_mib"] > 10 and figures["system.cpus"] >= 0


def test_what_is_taken_is_added_up_over_the_workers():
    class Three(Alone):
        def gather(self, rows):
            return np.concatenate([rows, rows + 500, rows + 1500])

    machine = Machine(torch.device("cpu"))
    machine.figures = lambda: {"system.cpus": 0.5, "system.memory_mib": 100.25}
    assert machine.of_all(Alone()) == {"system.cpus": 0.5, "system.memory_mib": 100.25}
    assert machine.of_all(Three()) == {"system.cpus": 3.5, "system.memory_mib": 302.75}


def test_forgetting_is_the_mean_over_classes_of_best_before_minus_now():
    forgetting = Forgetting("accuracy", higher=True)
    assert forgetting.add({"accuracy": 0.5, "recall.a": 0.9, "recall.b": 0.2}) == {"forgetting": 0.0}
    assert forgetting.add({"accuracy": 0.5, "recall.a": 0.5, "recall.b": 0.8})["forgetting"] == pytest.approx(0.2)
    assert forgetting.add({"accuracy": 0.5, "recall.a": 0.7, "recall.b": 0.7})["forgetting"] == pytest.approx(0.15)


def test_without_classes_it_is_of_the_watched_figure():
    lower = Forgetting("loss", higher=False)
    assert [lower.add({"loss": x})["forgetting"] for x in (2.0, 1.0, 1.5)] == pytest.approx([0, 0, 0.5])
    assert lower.add({"other": 1.0}) == {}
