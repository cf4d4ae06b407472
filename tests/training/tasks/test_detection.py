"""The small detector: its targets, a scene that it learns by heart, and the same boxes exported."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pycocotools")

from connectors import images  # noqa: E402
from connectors.encoded_model import EncodedModel  # noqa: E402
from tests.training.tasks.test_classification import example  # noqa: E402
from tidemill.errors import ConfigError, WrongTypeError  # noqa: E402
from training.augmentation import augmentation, sample_rng  # noqa: E402
from training.task import Task  # noqa: E402
from training.tasks.detection import Detection, corners_of, places, targets  # noqa: E402

TASK = Detection(classes=("square", "bar"), size=64, width=4)


def scene(seed: int):
    """Squares and bars on noise, 128 × 96 pixels, with their boxes."""
    rng = np.random.default_rng(seed)
    image, boxes = rng.integers(0, 60, (96, 128, 3), dtype=np.uint8), []
    for x0 in (4, 66):
        kind = int(rng.integers(0, 2))
        w, h = ((32, 32), (50, 20))[kind]
        x, y = x0 + int(rng.integers(0, 6)), int(rng.integers(2, 60))
        image[y : y + h, x : x + w] = (230, 40, 40) if kind else (40, 230, 40)
        boxes.append([TASK.classes[kind], x, y, w, min(h, 96 - y)])
    return boxes, images.encoded(image)


def test_targets_of_a_box_are_where_it_is():
    middles = places(8)
    heat, cells, owner = targets(torch.tensor([[0.25, 0.25, 0.75, 0.75]]), torch.tensor([1]), 2, middles)
    assert heat.shape == (2, 64) and not heat[0].any()
    assert heat[1].max() == 1 and (heat[1] == 1).sum() == 1
    assert heat[1].argmax() in cells and (owner == 0).all()
    sides = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    assert corners_of(torch.tensor([[0.5, 0.5]]), sides)[0].tolist() == pytest.approx([0.4, 0.3, 0.8, 0.9])
    nothing = targets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 2, middles)
    assert not nothing[0].any() and not len(nothing[1])


def test_scenes_are_learned_and_the_exported_model_finds_the_same_boxes():
    assert isinstance(TASK, Task)
    torch.manual_seed(0)
    model = TASK.model()
    scenes = [scene(i) for i in range(12)]
    batch = TASK.collate([TASK.decode(example(boxes), data, None) for boxes, data in scenes])
    optimiser, losses = torch.optim.Adam(model.parameters(), 0.01), []
    for _ in range(60):
        value, _ = TASK.loss(model.train(), batch)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(float(value.detach()))
    assert losses[-1] < 0.3 * losses[0]
    with torch.inference_mode():
        assert TASK.evaluate(model.eval(), [batch])["map50"] > 0.8
    exported = EncodedModel(TASK.export(model))
    for boxes, data in scenes[:4]:
        found, offline = exported.answer(data), TASK.offline(model, data)
        assert found.shape == offline.shape
        assert found == pytest.approx(offline, abs=1e-2)
        best = {TASK.classes[int(k)] for k in found[found[:, 5] > 0.3][:, 0]}
        assert best == {name for name, *_ in boxes}


def test_boxes_are_moved_with_the_image():
    flipped = Detection(classes=TASK.classes, size=64, augmentation=augmentation(("RandomHorizontalFlip", {"p": 1.0})))
    boxes, data = scene(1)
    plain, moved = (
        TASK.decode(example(boxes), data, None),
        flipped.decode(example(boxes), data, sample_rng(0, "x", 0, 1, 1)),
    )
    assert torch.equal(moved.image, plain.image.flip(2))
    assert moved.boxes[:, 0] == pytest.approx(1 - plain.boxes[:, 2], abs=1e-5)


def test_labels_that_are_no_boxes_are_refused_and_empty_ones_are_dropped():
    _, data = scene(0)
    for label in ([["circle", 1, 2, 3, 4]], [["bar", 1, 2]], [["bar", "x", 1, 1, 1]]):
        with pytest.raises(WrongTypeError):
            TASK.decode(example(label), data, None)
    assert not len(TASK.decode(example([["bar", 500, 500, 10, 10]]), data, None).boxes)
    assert not len(TASK.decode(example(None), data, None).boxes)


def test_a_size_that_does_not_halve_is_refused():
    with pytest.raises(ConfigError):
        Detection(classes=("a", "b"), size=100)
