"""Exported networks answer as they did before, in one graph that takes encoded items."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from connectors.encoded_model import EncodedModel  # noqa: E402
from tests.connectors.test_images import COLOURS  # noqa: E402
from training.export import classifier, detector  # noqa: E402
from training.preparation import ImagePreparation  # noqa: E402


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.zero = torch.nn.Linear(3, 2)  # a name that the preparation has too

    def forward(self, x):
        return self.zero(x.float().mean((2, 3)) / 255)


class Cells(torch.nn.Module):
    """Two cells of an image, one class: the left half with 0.9, and nearly the same with 0.8."""

    def forward(self, x):
        some = x.float().sum() * 0
        corners = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.0, 0.0, 0.55, 1.0], [0.6, 0.0, 1.0, 0.5]]) + some
        return corners, torch.tensor([[0.9, 0.8, 0.7]]) + some


def test_a_classifier_is_one_graph_and_its_bytes_are_always_the_same():
    from connectors.images import encoded

    torch.manual_seed(1)
    network, preparation = Linear(), ImagePreparation(8)
    model = classifier(network, preparation, ("a", "b"))
    assert model == classifier(network, preparation, ("a", "b"))
    item = encoded(COLOURS)
    wanted = torch.softmax(network(torch.from_numpy(preparation.apply(item))[None])[0], 0).detach().numpy()
    assert EncodedModel(model).answer(item) == pytest.approx(wanted, abs=1e-6)


def test_a_detector_keeps_the_best_in_pixels():
    from connectors.images import encoded

    item = encoded(np.zeros((40, 100, 3), np.uint8))
    model = EncodedModel(detector(Cells(), ImagePreparation(32), ("thing",), iou=0.5, least=0.1))
    assert model.answer(item) == pytest.approx(np.array([[0, 0, 0, 50, 40, 0.9], [0, 60, 0, 40, 20, 0.7]]), abs=1e-4)
    sure = EncodedModel(detector(Cells(), ImagePreparation(32), ("thing",), iou=0.5, least=0.8))
    assert len(sure.answer(item)) == 1
