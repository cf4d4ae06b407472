"""Augmentation applied: the same pixels again, boxes that follow the image, and nobody else's draws changed."""

import pytest

torch = pytest.importorskip("torch")

from tidemill.errors import ConfigError  # noqa: E402
from training.augment import Augmenter  # noqa: E402
from training.augmentation import ALLOWED, augmentation, sample_rng  # noqa: E402

MANY = augmentation(
    ("RandomAffine", {"degrees": 10, "interpolation": "bilinear"}),
    "RandomHorizontalFlip",
    ("RandomErasing", {"p": 0.5}),
)


def image(size=16):
    return torch.arange(3 * size * size, dtype=torch.float32).reshape(3, size, size) / (3 * size * size)


def test_every_transform_that_is_allowed_is_one_of_torchvision():
    from torchvision.transforms import v2

    assert [name for name in ALLOWED if not hasattr(v2, name)] == []


def test_the_same_generator_gives_the_same_pixels_whatever_was_drawn_between():
    augmenter = Augmenter(MANY)
    first = [augmenter.image(sample_rng(0, "data.x", 0, i, 1), image()) for i in range(20)]
    torch.rand(17)
    again = [augmenter.image(sample_rng(0, "data.x", 0, i, 1), image()) for i in reversed(range(20))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({a.sum().item() for a in first}) > 15
    assert any(
        not torch.equal(a, augmenter.image(sample_rng(0, "data.x", 0, i, 2), image())) for i, a in enumerate(first)
    )


def test_draws_of_others_go_on_as_if_nothing_was_augmented():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    Augmenter(MANY).image(sample_rng(0, "data.x", 0, 0, 0), image())
    assert torch.equal(torch.rand(3), wanted)


def test_boxes_go_with_the_image_and_what_is_cut_away_is_gone():
    whole = image()
    boxes, labels = torch.tensor([[1.0, 2.0, 5.0, 6.0], [10.0, 10.0, 16.0, 16.0]]), torch.tensor([3, 4])
    flip = Augmenter(augmentation(("RandomHorizontalFlip", {"p": 1.0})))
    out, where, what = flip.boxes(sample_rng(0, "data.x", 0, 0, 0), whole, boxes, labels)
    assert torch.equal(out, whole.flip(-1)) and what.tolist() == [3, 4]
    assert where.tolist() == [[11, 2, 15, 6], [0, 10, 6, 16]]
    crop = Augmenter(augmentation(("CenterCrop", {"size": 6})))
    _, where, what = crop.boxes(sample_rng(0, "data.x", 0, 0, 0), whole, boxes, labels)
    assert (where.tolist(), what.tolist()) == ([[0, 0, 0, 1], [5, 5, 6, 6]][1:], [4])


def test_an_image_without_boxes_keeps_none():
    flip = Augmenter(augmentation(("RandomHorizontalFlip", {"p": 1.0})))
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    _, where, what = flip.boxes(sample_rng(0, "data.x", 0, 0, 0), image(), *none)
    assert where.shape == (0, 4) and what.shape == (0,)


def test_what_torchvision_refuses_is_named():
    with pytest.raises(ConfigError, match=r"RandomHorizontalFlip.*refuses.*p"):
        Augmenter(augmentation(("RandomHorizontalFlip", {"p": 7})))
    with pytest.raises(ConfigError, match=r"no such interpolation.*bilinear"):
        Augmenter(augmentation(("Resize", {"size": 3, "interpolation": "magic"})))
